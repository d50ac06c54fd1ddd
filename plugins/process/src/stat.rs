//! The parser for the measured columns of `/proc/<pid>/stat`.

use gauged_plugin::service::figure;

/// The measured fields of a process. `None` is a column that is missing, as in zones that emulate Linux, or malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat<'a> {
    /// The name: at most 15 bytes, of any kind.
    pub(crate) name: &'a str,
    pub(crate) state: Option<State>,
    /// CPU time in user and in kernel mode, in ticks.
    pub(crate) cpu_ticks: Option<u64>,
    pub(crate) threads: Option<u64>,
    /// The start time in ticks since boot.
    pub(crate) start_ticks: Option<u64>,
    pub(crate) virtual_bytes: Option<u64>,
    /// The first column that is there, but malformed. Those that are missing at the end are expected: zones have less.
    pub(crate) malformed: Option<&'static str>,
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
    /// The state could not be read.
    Unknown,
}

/// All states in the order of their declaration, with their letters in the file and their names.
pub(crate) const STATES: [(State, &str, &str); 9] = [
    (State::Running, "R", "running"),
    (State::Sleeping, "S", "sleeping"),
    (State::Uninterruptible, "D", "uninterruptible"),
    (State::Stopped, "T", "stopped"),
    (State::Traced, "t", "traced"),
    (State::Zombie, "Z", "zombie"),
    (State::Idle, "I", "idle"),
    (State::Other, "", "other"),
    (State::Unknown, "", "unknown"),
];

impl State {
    fn from_letter(letter: &str) -> Self {
        STATES.into_iter().find(|(_, known, _)| *known == letter).map_or(Self::Other, |(state, ..)| state)
    }
}

/// The columns with numbers, and their names in reports.
const COLUMNS: [(usize, &str); 5] =
    [(14, "CPU time"), (15, "CPU time"), (20, "threads"), (22, "the start time"), (LAST_COLUMN, "the address space")];

/// The last column that is measured.
const LAST_COLUMN: usize = 23;

/// Parses `814 (nginx: worker (1)) S 812 …`. The name ends at the last closing parenthesis. `None` without a name.
pub(crate) fn parse(text: &str) -> Option<Stat<'_>> {
    let (name, rest) = text.split_once('(')?.1.rsplit_once(')')?;
    let (mut numbers, mut state, mut malformed) = ([None; COLUMNS.len()], None, None);
    // The columns of proc(5), less the two before the state.
    for (column, word) in (3..=LAST_COLUMN).zip(rest.split_ascii_whitespace()) {
        if column == 3 {
            state = Some(State::from_letter(word));
        } else if let Some(at) = COLUMNS.iter().position(|(number, _)| *number == column) {
            numbers[at] = figure::count(word);
            if numbers[at].is_none() {
                malformed = malformed.or(Some(COLUMNS[at].1));
            }
        }
    }
    let [user, system, threads, start_ticks, virtual_bytes] = numbers;
    let cpu_ticks = user.zip(system).map(|(user, system)| user.saturating_add(system));
    Some(Stat { name, state, cpu_ticks, threads, start_ticks, virtual_bytes, malformed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_name_may_have_any_characters() {
        let rest =
            "S 812 812 812 0 -1 4194624 120 0 3 0 150 50 7 9 20 0 4 0 2125 63844352 1612 18446744073709551615 1 1";
        for name in ["nginx", "a b", "tricky) S 1 (x", ")", "(", "", "new\nline", "ü"] {
            let text = format!("814 ({name}) {rest}\n");
            let stat = parse(&text).expect(name);
            assert_eq!((stat.name, stat.state), (name, Some(State::Sleeping)));
            assert_eq!(
                (stat.cpu_ticks, stat.threads, stat.start_ticks, stat.virtual_bytes),
                (Some(200), Some(4), Some(2125), Some(63_844_352))
            );
        }
    }

    #[test]
    fn missing_column_costs_only_itself() {
        for text in ["", "814 nginx S 1", "814 (nginx S 1", "814 nginx) S 1", "\0\u{fffd}"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        let known = |stat: Stat<'_>| {
            let numbers = [stat.cpu_ticks, stat.threads, stat.start_ticks, stat.virtual_bytes].map(|one| one.is_some());
            (stat.state.is_some(), numbers)
        };
        for (text, expected) in [
            ("814 (nginx)", (false, [false; 4])),
            ("814 (nginx) S 812 812 812 0 -1", (true, [false; 4])),
            ("814 (nginx) S 1 2 3 4 5 6 7 8 9 10 x 1 0 0 20 0 1 0 99 4096", (true, [false, true, true, true])),
            ("814 (nginx) S 1 2 3 4 5 6 7 8 9 10 1 1 0 0 20 0 1 0 99", (true, [true, true, true, false])),
            // A zone of Triton has 20 columns less.
            ("814 (nginx) S 1 2 3 4 5 6 7 8 9 10 1 1 0 0 20 0 -1", (true, [true, false, false, false])),
        ] {
            let stat = parse(text).expect(text);
            assert_eq!((stat.name, known(stat)), ("nginx", expected), "{text}");
        }
    }

    #[test]
    fn malformed_column_differs_from_a_missing_one() {
        for (text, expected) in [
            ("814 (nginx) S 1 2 3 4 5 6 7 8 9 10 1 1 0 0 20 0 1 0 99 4096", None),
            ("814 (nginx) S 1 2 3 4 5 6 7 8 9 10 1 1 0 0 20 0", None),
            ("814 (nginx) S 1 2 3 4 5 6 7 8 9 10 x 1 0 0 20 0 1 0 99 4096", Some("CPU time")),
            ("814 (nginx) S 1 2 3 4 5 6 7 8 9 10 1 1 0 0 20 0 -1 0 99 4096", Some("threads")),
            ("814 (nginx) S 1 2 3 4 5 6 7 8 9 10 1 1 0 0 20 0 1 0 18446744073709551615 1", Some("the start time")),
        ] {
            assert_eq!(parse(text).expect(text).malformed, expected, "{text}");
        }
    }

    #[test]
    fn process_states_have_distinct_names() {
        let states = ["R", "S", "D", "T", "t", "Z", "I", "P"].map(State::from_letter);
        for (at, (state, _, name)) in STATES.iter().enumerate() {
            assert_eq!((*state as usize, states.get(at).unwrap_or(&State::Unknown)), (at, state));
            assert!(STATES[..at].iter().all(|(.., other)| other != name));
        }
    }
}
