//! The parser of `/proc/stat`: the times of the CPUs, and counts since boot. The file has a line for all CPUs together, a
//! line for each online CPU, a line with the count of every interrupt, which may be longer than the rest of the file, and
//! a few short lines. Documentation/filesystems/proc.rst, "Miscellaneous kernel statistics".

use super::super::bounds::{EVENTS, MAX_CPUS};
use crate::procfs::{
    NO_LINE, NOT_A_NUMBER, ONLY_THE_LINE, Oddities, Oddity, TWICE, is_key, keyed_line, split_line, split_number,
    split_word, whole_number,
};

/// The number of modes; the constants below are places in the kernel's order. `user` and `nice` include `guest` and
/// `guest_nice`.
pub(super) const MODES: usize = 10;
pub(super) const IDLE: usize = 3;
pub(super) const IOWAIT: usize = 4;
pub(super) const GUEST: usize = 8;

/// The losses by lines and columns that cannot be read.
const TOTAL_TIMES: Losses = Losses { line: "times and percentages of all CPUs", column: "a column of all CPUs" };
const CPU_TIMES: Losses = Losses { line: "times and percentages of a CPU", column: "a column of a CPU" };

#[derive(Debug, Clone, Copy)]
struct Losses {
    line: &'static str,
    /// And the percentages, which need all columns.
    column: &'static str,
}

/// The clock ticks spent in each mode.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Times {
    /// None if the kernel is too old to count it, or if it cannot be read.
    pub(super) ticks: [Option<u64>; MODES],
    /// Whether all modes that the kernel has and that make up the time, those before [`GUEST`], could be read.
    pub(super) is_whole: bool,
}

/// The content of the file.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Stat {
    /// All CPUs together.
    pub(super) total: Option<Times>,
    /// The numbers of the online CPUs, sorted.
    pub(super) online: Vec<u32>,
    /// The lines of CPUs, also those without a number: it is known of them that there is one more CPU.
    pub(super) cpu_lines: u32,
    /// The online CPUs, sorted by number. Empty with [`Detail::Total`].
    pub(super) cpus: Vec<(u32, Times)>,
    pub(super) ctx_switches: Option<u64>,
    pub(super) interrupts: Option<u64>,
    pub(super) soft_interrupts: Option<u64>,
}

/// The CPUs whose times are parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Only the total.
    Total,
    /// The total and each CPU.
    PerCore,
}

impl Stat {
    /// Replaces the content by another file's. The memory is used again. Fails only if the file has none of the lines.
    pub(super) fn parse(&mut self, stat: &[u8], detail: Detail, odd: &mut Oddities) -> Result<(), &'static str> {
        self.online.clear();
        self.cpus.clear();
        (self.total, self.cpu_lines) = (None, 0);
        (self.interrupts, self.ctx_switches, self.soft_interrupts) = (None, None, None);
        let (mut rest, mut has_counts, mut is_sorted) = (stat, false, true);
        while !rest.is_empty() {
            let line;
            (line, rest) = split_line(rest);
            if let Some(cpu) = line.strip_prefix(b"cpu") {
                self.parse_cpu(cpu, detail, &mut is_sorted, odd);
                continue;
            }
            let (key, value) = keyed_line(line);
            let (count, left_out) = match key {
                b"intr" => (&mut self.interrupts, "cpu.interrupts"),
                b"ctxt" => (&mut self.ctx_switches, "cpu.ctx_switches"),
                b"softirq" => (&mut self.soft_interrupts, "cpu.soft_interrupts"),
                _ if is_key(key) => continue,
                _ => {
                    odd.note(line, NO_LINE, ONLY_THE_LINE);
                    continue;
                }
            };
            has_counts = true;
            if count.is_some() {
                odd.note(key, TWICE, ONLY_THE_LINE);
                continue;
            }
            // The first number is the total.
            let (word, _) = split_word(value);
            match whole_number(word) {
                Some(number) if EVENTS.holds(number as f64) => *count = Some(number),
                Some(_) => odd.note(word, EVENTS.reason, left_out),
                None if word.is_empty() => odd.note(line, "has no number", left_out),
                None => odd.note(word, NOT_A_NUMBER, left_out),
            }
        }
        if self.cpu_lines == 0 && self.total.is_none() && !has_counts {
            return Err("it has none of the lines that are expected");
        }
        if self.total.is_none() {
            odd.note_missing(Oddity::new("no line begins with \"cpu \" and can be read", TOTAL_TIMES.line));
        }
        if !is_sorted {
            self.sort(odd);
        }
        Ok(())
    }

    /// Parses a line that begins with `cpu`; `line` is the rest of it.
    fn parse_cpu(&mut self, line: &[u8], detail: Detail, is_sorted: &mut bool, odd: &mut Oddities) {
        if line.first().is_none_or(u8::is_ascii_whitespace) {
            if self.total.is_some() {
                return odd.note(line, TWICE, ONLY_THE_LINE);
            }
            self.total = parse_times(line, TOTAL_TIMES, odd);
            return;
        }
        self.cpu_lines = self.cpu_lines.saturating_add(1);
        let (word, columns) = split_word(line);
        let number = whole_number(word).and_then(|number| u32::try_from(number).ok());
        let Some(number) = number.filter(|&number| number < MAX_CPUS) else {
            return odd.note(word, "is no number of a CPU", ONLY_THE_LINE);
        };
        *is_sorted &= self.online.last().is_none_or(|&last| last < number);
        self.online.push(number);
        if detail == Detail::PerCore {
            self.cpus.push((number, parse_times(columns, CPU_TIMES, odd).unwrap_or_default()));
        }
    }

    /// Sorts the CPUs, which the kernel does, and leaves out those that are there twice: they would become duplicate metrics.
    fn sort(&mut self, odd: &mut Oddities) {
        let lines = self.online.len();
        self.online.sort_unstable();
        self.online.dedup();
        // A stable sort: the first line of each counts.
        self.cpus.sort_by_key(|&(number, _)| number);
        self.cpus.dedup_by_key(|&mut (number, _)| number);
        if self.online.len() < lines {
            odd.note_missing(Oddity::new("a CPU is there twice", "all lines of the CPU but the first"));
        }
    }

    /// The times of one CPU, by its number.
    pub(super) fn times_of(&self, number: u32) -> Option<&Times> {
        let at = self.cpus.binary_search_by_key(&number, |&(number, _)| number).ok()?;
        Some(&self.cpus[at].1)
    }
}

/// None if there are too few columns: then it is not known what the others are.
fn parse_times(columns: &[u8], losses: Losses, odd: &mut Oddities) -> Option<Times> {
    let mut times = Times { is_whole: true, ..Times::default() };
    let mut rest = columns.trim_ascii_start();
    for (mode, time) in times.ticks.iter_mut().enumerate() {
        if rest.is_empty() {
            // Linux 2.6 has the columns up to iowait.
            if mode <= IOWAIT {
                odd.note(columns, "has too few columns", losses.line);
                return None;
            }
            break;
        }
        match split_number(rest) {
            Some((ticks, after)) if after.first().is_none_or(u8::is_ascii_whitespace) => {
                *time = Some(ticks);
                rest = after;
            }
            _ => {
                let word;
                (word, rest) = split_word(rest);
                odd.note(word, NOT_A_NUMBER, losses.column);
                times.is_whole &= mode >= GUEST;
            }
        }
        rest = rest.trim_ascii_start();
    }
    Some(times)
}

/// The fuzz target: compares the parser with one that splits lines into words.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let parse = |stat: &mut Stat, detail| {
        let mut odd = Oddities::default();
        odd.begin_text(bytes);
        (stat.parse(bytes, detail, &mut odd), odd.count())
    };
    let (mut total, mut each) = (Stat::default(), Stat::default());
    let (read_total, read_each) = (parse(&mut total, Detail::Total), parse(&mut each, Detail::PerCore));
    assert_eq!(read_total.0, read_each.0, "details make no file useless");
    assert!(read_total.1 <= read_each.1, "what is odd without details is odd with them");
    if read_each.0.is_err() {
        return;
    }
    assert!(each.online.is_sorted_by(|one, next| one < next), "each CPU is there once");
    assert!(each.online.iter().eq(each.cpus.iter().map(|(number, _)| number)));
    assert!(each.cpus.iter().all(|(number, times)| each.times_of(*number) == Some(times)), "each CPU is found");
    assert!(each.online.len() <= each.cpu_lines as usize);
    assert_eq!(total, Stat { cpus: Vec::new(), ..each.clone() });
    let mut again = each.clone();
    assert_eq!(parse(&mut again, Detail::PerCore), read_each);
    assert_eq!(again, each, "the previous content makes no difference");

    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    let number = |word: &[u8]| -> Option<u64> {
        let is_plain = word.iter().all(u8::is_ascii_digit);
        str::from_utf8(word).ok().filter(|_| is_plain)?.parse().ok()
    };
    let words = |line: &[u8]| -> Vec<Vec<u8>> {
        let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.map(<[u8]>::to_vec).collect()
    };
    let times = |line: &[u8]| -> Option<[Option<u64>; MODES]> {
        let words = words(line);
        (words.len() > 5).then(|| std::array::from_fn(|mode| number(words.get(mode + 1)?)))
    };
    let is_total =
        |line: &&&[u8]| line.strip_prefix(b"cpu").is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace));
    let expected = lines.iter().filter(is_total).find_map(|line| times(line));
    assert_eq!(each.total.map(|times| times.ticks), expected);
    let count = |key: &str| {
        let values = lines.iter().filter_map(|line| {
            let rest = line.strip_prefix(key.as_bytes())?;
            let word = words(rest.strip_prefix(b" ").or(rest.strip_prefix(b"\t")).or(rest.strip_prefix(b":"))?);
            number(word.first()?).filter(|&number| EVENTS.holds(number as f64))
        });
        values.into_iter().next()
    };
    let counts = [each.interrupts, each.ctx_switches, each.soft_interrupts];
    assert_eq!(counts, ["intr", "ctxt", "softirq"].map(count));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(stat: &[u8], detail: Detail) -> Result<Stat, &'static str> {
        parse_noting(stat, detail).map(|(stat, _)| stat)
    }

    /// The parsed file, and the words and losses of what was odd.
    type Parsed = (Stat, Vec<(String, &'static str)>);

    fn parse_noting(stat: &[u8], detail: Detail) -> Result<Parsed, &'static str> {
        let mut parsed = Stat::default();
        let (read, noted) = Oddities::noted(stat, |text, odd| parsed.parse(text, detail, odd));
        read.map(|()| (parsed, noted))
    }

    fn times(columns: &[u64]) -> Times {
        let mut times = Times { is_whole: true, ..Times::default() };
        for (time, &column) in times.ticks.iter_mut().zip(columns) {
            *time = Some(column);
        }
        times
    }

    const STAT: &[u8] = b"cpu  10 20 30 40 50 60 70 80 90 100\n\
        cpu0 1 2 3 4 5 6 7 8 9 10\n\
        cpu3 2 3 4 5 6 7 8 9 10 11\n\
        intr 300 1 0 2\n\
        ctxt 400\nbtime 1\nprocesses 2\nprocs_running 1\nprocs_blocked 0\n\
        softirq 500 1 2 3\n";

    #[test]
    fn totals_and_counts_are_parsed() {
        let (stat, noted) = parse_noting(STAT, Detail::Total).expect("parses");
        assert_eq!(stat.total, Some(times(&[10, 20, 30, 40, 50, 60, 70, 80, 90, 100])));
        assert_eq!((&*stat.online, stat.cpu_lines, stat.cpus.len()), (&[0, 3][..], 2, 0));
        let counts = (stat.interrupts, stat.ctx_switches, stat.soft_interrupts);
        assert_eq!((counts, noted), ((Some(300), Some(400), Some(500)), vec![]));
    }

    #[test]
    fn cpus_are_parsed_with_their_numbers() {
        let stat = parse(STAT, Detail::PerCore).expect("parses");
        assert_eq!(stat.cpus.len(), 2);
        assert_eq!(stat.cpus[1], (3, times(&[2, 3, 4, 5, 6, 7, 8, 9, 10, 11])));
    }

    #[test]
    fn old_kernels_have_fewer_columns_and_lines() {
        let (stat, noted) = parse_noting(b"cpu 1 2 3 4 5 6 7\nctxt 9\n", Detail::Total).expect("parses");
        assert_eq!(stat.total, Some(times(&[1, 2, 3, 4, 5, 6, 7])), "no steal and guest");
        assert_eq!((stat.interrupts, stat.ctx_switches, stat.soft_interrupts), (None, Some(9), None));
        assert_eq!(noted, [], "they are no oddity");
        let later = b"cpu 1 2 3 4 5 6 7 8 9 10 11 12\ncpu0 1 2 3 4 5 6 7 8 9 10 11 12\nlatency 1 2\n";
        let (stat, noted) = parse_noting(later, Detail::PerCore).expect("parses");
        assert_eq!((stat.total, noted), (Some(times(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10])), vec![]), "nor are later ones");
    }

    #[test]
    fn odd_lines_cost_only_their_own_metrics() {
        // The line that is odd, and the word and the loss that are noted.
        for (line, word, left_out) in [
            ("intr -8", "-8", "cpu.interrupts"),
            ("intr", "intr", "cpu.interrupts"),
            ("intr ", "intr", "cpu.interrupts"),
            ("intr 98446744073709551616 1", "98446744073709551616", "cpu.interrupts"),
            ("softirq 1.5 1", "1.5", "cpu.soft_interrupts"),
            ("softirq 9223372036854775808", "9223372036854775808", "cpu.soft_interrupts"),
            ("softirq 7\0", "7\0", "cpu.soft_interrupts"),
            ("\0\0\0", "\0\0\0", ONLY_THE_LINE),
            ("12 34", "12 34", ONLY_THE_LINE),
            ("ctxt 7", "ctxt", ONLY_THE_LINE),
            ("cpu 1 2 3 4 5 6 7 8 9 10", "1 2 3 4 5 6 7 8 9 10", ONLY_THE_LINE),
            ("cpux 1 2 3 4 5", "x", ONLY_THE_LINE),
            ("cpu65536 1 2 3 4 5", "65536", ONLY_THE_LINE),
            ("cpu99999999999999999999 1 2 3 4 5", "99999999999999999999", ONLY_THE_LINE),
            ("cpu4 1 2 3", "1 2 3", CPU_TIMES.line),
            ("cpu4", "", CPU_TIMES.line),
            ("cpu4 1 2 -3 4 5", "-3", CPU_TIMES.column),
        ] {
            let text = format!("cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 2 3 4 5\nctxt 400\n{line}\nbtime 7\n");
            let (stat, noted) = parse_noting(text.as_bytes(), Detail::PerCore).expect(line);
            assert_eq!(stat.total, Some(times(&[10, 20, 30, 40, 50, 60, 70, 80, 90, 100])), "{line}");
            assert_eq!((stat.times_of(0), stat.ctx_switches), (Some(&times(&[1, 2, 3, 4, 5])), Some(400)), "{line}");
            assert_eq!((stat.interrupts, stat.soft_interrupts), (None, None), "{line}");
            assert_eq!(noted, [(word.to_owned(), left_out)], "{line}");
        }
    }

    #[test]
    fn odd_columns_cost_their_mode_and_the_percentages() {
        let (stat, noted) = parse_noting(b"cpu 1 x 3 4 5 6 7 8 -9 10\n", Detail::Total).expect("parses");
        let total = stat.total.expect("it is there");
        let expected = [Some(1), None, Some(3), Some(4), Some(5), Some(6), Some(7), Some(8), None, Some(10)];
        assert_eq!((total.ticks, total.is_whole), (expected, false));
        assert_eq!(noted, [("x".to_owned(), TOTAL_TIMES.column)], "the second is of the same kind");
        let stat = parse(b"cpu 1 2 3 4 5 6 7 8 -9 10\n", Detail::Total).expect("parses");
        assert!(stat.total.expect("it is there").is_whole, "guest time is part of user time");
        let (stat, noted) = parse_noting(b"cpu 1 2 3\ncpu0 1 2 3 4 5\n", Detail::Total).expect("parses");
        assert_eq!((stat.total, &*stat.online, noted.len()), (None, &[0][..], 2));
    }

    #[test]
    fn line_ends_make_no_difference() {
        let stat = parse(STAT, Detail::PerCore);
        let text = String::from_utf8(STAT.to_vec()).expect("text");
        assert_eq!(parse(text.replace('\n', "\r\n").as_bytes(), Detail::PerCore), stat);
        assert_eq!(parse(text.trim_end().as_bytes(), Detail::PerCore), stat);
        assert_eq!(parse(text.replace('\n', "\n\n").as_bytes(), Detail::PerCore), stat);
    }

    #[test]
    fn order_and_duplicates_of_cpus_make_no_difference() {
        let stat = parse(STAT, Detail::PerCore).expect("parses");
        let doubled = parse_noting(&[STAT, STAT].concat(), Detail::PerCore).expect("parses");
        assert_eq!(Stat { cpu_lines: 2, ..doubled.0 }, stat);
        assert!(!doubled.1.is_empty());
        let reversed: Vec<&[u8]> = STAT.split_inclusive(|&byte| byte == b'\n').rev().collect();
        assert_eq!(parse_noting(&reversed.concat(), Detail::PerCore), Ok((stat, vec![])));
    }

    #[test]
    fn file_without_a_known_line_is_an_error() {
        for wrong in [&b""[..], b"\n", b"nonsense", b"\0\0", b"btime 1\n", b"# not found\n"] {
            assert!(parse(wrong, Detail::PerCore).is_err(), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn a_long_interrupt_line_is_parsed() {
        let long = [b"cpu 1 2 3 4 5\nintr 7", &b" 0".repeat(50_000)[..], b"\nctxt 8\nsoftirq 9 1\n"].concat();
        let stat = parse(&long, Detail::Total).expect("parses");
        assert_eq!((stat.interrupts, stat.ctx_switches, stat.soft_interrupts), (Some(7), Some(8), Some(9)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(
            bytes in any::<Vec<u8>>(),
            text in "(cpu[0-9]? ?|intr |ctxt[ :]|softirq |[0-9]{1,22}|[ x\n\r\0+-]){0,40}",
        ) {
            fuzz(&bytes);
            fuzz(text.as_bytes());
        }

        #[test]
        fn written_values_are_parsed_back(
            total in prop::array::uniform10(any::<u64>()),
            cpus in prop::collection::vec(prop::array::uniform10(any::<u64>()), 0..20),
            counts in prop::array::uniform3(0..1_u64 << 62),
            interrupts in prop::collection::vec(any::<u16>(), 0..300),
        ) {
            let join = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
            let each: Vec<String> =
                cpus.iter().enumerate().map(|(number, cpu)| format!("cpu{number} {}\n", join(cpu))).collect();
            let interrupts: Vec<u64> = interrupts.into_iter().map(u64::from).collect();
            let (each, total_line, interrupts) = (each.concat(), join(&total), join(&interrupts));
            let [intr, ctxt, softirq] = counts;
            let text = format!("cpu  {total_line}\n{each}intr {intr} {interrupts}\nctxt {ctxt}\nbtime 1\nsoftirq {softirq} 1 2\n");
            let (stat, noted) = parse_noting(text.as_bytes(), Detail::PerCore).expect("parses");
            prop_assert_eq!(stat.total, Some(times(&total)));
            let each: Vec<(u32, Times)> = cpus.iter().zip(0..).map(|(cpu, number)| (number, times(cpu))).collect();
            prop_assert_eq!(stat.cpus, each);
            prop_assert_eq!([stat.interrupts, stat.ctx_switches, stat.soft_interrupts], counts.map(Some));
            prop_assert_eq!(noted, vec![]);
        }
    }
}
