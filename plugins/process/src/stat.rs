//! The parser for the measured columns of `/proc/<pid>/stat`.

use gauged_plugin::kernel::{self, File};

/// The measured fields of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat<'a> {
    /// The name: at most 15 bytes, of any kind.
    pub(crate) name: &'a str,
    pub(crate) state: State,
    /// CPU time in user and in kernel mode, in ticks.
    pub(crate) cpu_ticks: u64,
    pub(crate) threads: u64,
    /// The start time in ticks since boot.
    pub(crate) start_ticks: u64,
    pub(crate) virtual_bytes: u64,
}

/// The state of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Sleeping,
    Uninterruptible,
    Stopped,
    Traced,
    Zombie,
    Idle,
    /// Parked, dead, or a state of later kernels.
    Other,
}

impl State {
    pub(crate) const ALL: [Self; 8] = [
        Self::Running,
        Self::Sleeping,
        Self::Uninterruptible,
        Self::Stopped,
        Self::Traced,
        Self::Zombie,
        Self::Idle,
        Self::Other,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::Uninterruptible => "uninterruptible",
            Self::Stopped => "stopped",
            Self::Traced => "traced",
            Self::Zombie => "zombie",
            Self::Idle => "idle",
            Self::Other => "other",
        }
    }

    fn from_letter(letter: &str) -> Self {
        match letter {
            "R" => Self::Running,
            "S" => Self::Sleeping,
            "D" => Self::Uninterruptible,
            "T" => Self::Stopped,
            "t" => Self::Traced,
            "Z" => Self::Zombie,
            "I" => Self::Idle,
            _ => Self::Other,
        }
    }
}

/// Parses `814 (nginx: worker (1)) S 812 …`. The name ends at the last closing parenthesis.
pub(crate) fn parse(file: &File) -> Result<Stat<'_>, kernel::Error> {
    let named = file.text().split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
    let (name, rest) = named.ok_or_else(|| file.error("has no name in parentheses"))?;
    let rest = File::new(file.path(), rest);
    let mut fields = rest.fields();
    let state = State::from_letter(fields.word("the state")?);
    let skip = |fields: &mut kernel::Fields<'_>, count: usize| fields.nth(count - 1).map(drop);
    // Skip the parent to the page faults.
    skip(&mut fields, 10);
    let [user, system] = fields.numbers::<u64, 2>("the CPU time")?;
    // Skip the children's CPU time and priorities.
    skip(&mut fields, 4);
    let threads = fields.number("the number of threads")?;
    skip(&mut fields, 1);
    let start_ticks = fields.number("the start time")?;
    let virtual_bytes = fields.number("the virtual memory size")?;
    Ok(Stat { name, state, cpu_ticks: user.saturating_add(system), threads, start_ticks, virtual_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(text: &str) -> File {
        File::new("/proc/814/stat", text)
    }

    #[test]
    fn process_name_may_have_any_characters() {
        let rest =
            "S 812 812 812 0 -1 4194624 120 0 3 0 150 50 7 9 20 0 4 0 2125 63844352 1612 18446744073709551615 1 1";
        for name in ["nginx", "a b", "tricky) S 1 (x", ")", "(", "", "new\nline", "ü"] {
            let file = stat(&format!("814 ({name}) {rest}\n"));
            let stat = parse(&file).expect(name);
            assert_eq!((stat.name, stat.state), (name, State::Sleeping));
            assert_eq!(
                (stat.cpu_ticks, stat.threads, stat.start_ticks, stat.virtual_bytes),
                (200, 4, 2125, 63_844_352)
            );
        }
    }

    #[test]
    fn malformed_stat_is_an_error() {
        for (text, why) in [
            ("", "has no name in parentheses"),
            ("814 nginx S 1", "has no name in parentheses"),
            ("814 (nginx)", "missing the state"),
            ("814 (nginx) S 812 812 812 0 -1", "missing the CPU time"),
            ("814 (nginx) S 1 2 3 4 5 6 7 8 9 10 x 1", "x is not a number (the CPU time)"),
            ("814 (nginx) S 1 2 3 4 5 6 7 8 9 10 1 1 0 0 20 0 1 0 99", "missing the virtual memory size"),
        ] {
            let error = parse(&stat(text)).expect_err(text).to_string();
            assert_eq!(error, format!("/proc/814/stat: {why}"), "{text:?}");
        }
    }

    #[test]
    fn process_states_have_distinct_names() {
        let states = ["R", "S", "D", "T", "t", "Z", "I", "P"].map(State::from_letter);
        assert_eq!(states, State::ALL);
        for (at, state) in State::ALL.iter().enumerate() {
            assert!(State::ALL[..at].iter().all(|other| other.name() != state.name()));
        }
    }
}
