//! The parser of `/proc/stat`: the times of the CPUs, and counts since boot. The file has a line for all CPUs together, a
//! line for each online CPU, a line with the count of every interrupt, which may be longer than the rest of the file, and
//! a few short lines. Documentation/filesystems/proc.rst, "Miscellaneous kernel statistics".

use crate::procfs::{keyed_lines, leading_number, split_line, split_number};

/// The number of modes; the constants below are places in the kernel's order. `user` and `nice` include `guest` and
/// `guest_nice`.
pub(super) const MODES: usize = 10;
pub(super) const IDLE: usize = 3;
pub(super) const IOWAIT: usize = 4;
pub(super) const GUEST: usize = 8;

/// The clock ticks spent in each mode; none if the kernel is too old to count it.
pub(super) type Times = [Option<u64>; MODES];

/// The content of the file.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Stat {
    /// All CPUs together.
    pub(super) total: Times,
    pub(super) online: Online,
    /// The online CPUs, sorted by number. Empty with [`Detail::Total`].
    pub(super) cpus: Vec<(u32, Times)>,
    pub(super) ctx_switches: Option<u64>,
    pub(super) interrupts: Option<u64>,
    pub(super) soft_interrupts: Option<u64>,
}

/// The set of online CPUs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Online {
    pub(super) count: u64,
    /// A hash of their numbers: it differs when another CPU is online, even if the count is the same.
    fingerprint: u64,
}

impl Online {
    fn add(&mut self, number: u32) {
        // FNV-1a over numbers.
        self.fingerprint = (self.fingerprint ^ u64::from(number)).wrapping_mul(0x0100_0000_01b3).wrapping_add(1);
        self.count += 1;
    }
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
    /// Replaces the content by another file's. The memory is used again.
    pub(super) fn parse(&mut self, stat: &[u8], detail: Detail) -> Result<(), &'static str> {
        self.cpus.clear();
        self.online = Online::default();
        let mut total = None;
        let mut rest = stat;
        while rest.starts_with(b"cpu") {
            let cpu;
            (cpu, rest) = split_line(&rest[b"cpu".len()..]);
            if cpu.first().is_some_and(u8::is_ascii_whitespace) {
                total = Some(parse_times(cpu)?);
                continue;
            }
            let (number, times) = split_number(cpu).ok_or("a CPU has no number")?;
            let number = u32::try_from(number).map_err(|_| "a CPU's number is too large")?;
            self.online.add(number);
            if detail == Detail::PerCore {
                // The kernel lists them in order. A duplicate would become a duplicate metric.
                if self.cpus.last().is_some_and(|&(last, _)| last >= number) {
                    return Err("CPUs are not in the order of their numbers");
                }
                self.cpus.push((number, parse_times(times)?));
            }
        }
        self.total = total.ok_or("no line begins with \"cpu \"")?;
        (self.interrupts, self.ctx_switches, self.soft_interrupts) = (None, None, None);
        for (key, value) in keyed_lines(rest) {
            let count = match key {
                b"intr" => &mut self.interrupts,
                b"ctxt" => &mut self.ctx_switches,
                b"softirq" => &mut self.soft_interrupts,
                _ => continue,
            };
            // The first number is the total.
            *count = leading_number(value);
        }
        Ok(())
    }

    /// The times of one CPU, by its number.
    pub(super) fn times_of(&self, number: u32) -> Option<&Times> {
        let at = self.cpus.binary_search_by_key(&number, |&(number, _)| number).ok()?;
        Some(&self.cpus[at].1)
    }
}

fn parse_times(columns: &[u8]) -> Result<Times, &'static str> {
    let mut times = Times::default();
    let mut rest = columns.trim_ascii_start();
    for (mode, time) in times.iter_mut().enumerate() {
        if rest.is_empty() {
            // Linux 2.6 has the columns up to iowait.
            if mode <= IOWAIT {
                return Err("a line of a CPU has too few columns");
            }
            break;
        }
        let (ticks, after) = split_number(rest).ok_or("a column is not a number")?;
        if after.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
            return Err("a column is not a number");
        }
        *time = Some(ticks);
        rest = after.trim_ascii_start();
    }
    Ok(times)
}

/// The fuzz target: compares the parser with one that splits lines into words.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let (mut total, mut each) = (Stat::default(), Stat::default());
    let is_total = total.parse(bytes, Detail::Total).is_ok();
    if each.parse(bytes, Detail::PerCore).is_err() {
        return;
    }
    assert!(is_total, "a file that is valid with details is valid without");
    assert_eq!(each.online.count, each.cpus.len() as u64);
    assert!(each.cpus.iter().all(|(number, times)| each.times_of(*number) == Some(times)), "each CPU is found");
    assert_eq!(total, Stat { cpus: Vec::new(), ..each.clone() });
    let mut again = each.clone();
    assert_eq!(again.parse(bytes, Detail::PerCore), Ok(()));
    assert_eq!(again, each, "the previous content makes no difference");

    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    let numbers = |line: &[u8]| -> Times {
        let text = String::from_utf8_lossy(line).into_owned();
        let mut words = text.split_ascii_whitespace().skip(1).map(|word| word.parse().expect("a number"));
        std::array::from_fn(|_| words.next())
    };
    let cpus: Vec<&[u8]> = lines.iter().copied().take_while(|line| line.starts_with(b"cpu")).collect();
    let is_total_line = |line: &&&[u8]| line[3..].first().is_some_and(u8::is_ascii_whitespace);
    assert_eq!(cpus.iter().rfind(is_total_line).map(|line| numbers(line)), Some(each.total));
    let count = |key: &str| {
        let has_key = |line: &&&[u8]| line.strip_prefix(key.as_bytes()).is_some_and(|rest| rest.starts_with(b" "));
        let line = lines[cpus.len()..].iter().rfind(has_key)?;
        leading_number(&line[key.len()..])
    };
    // The kernel writes a space behind a key. Other separators are out of scope here.
    if !bytes.contains(&b':') && !bytes.contains(&b'\t') {
        let counts = [each.interrupts, each.ctx_switches, each.soft_interrupts];
        assert_eq!(counts, ["intr", "ctxt", "softirq"].map(count));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(stat: &[u8], detail: Detail) -> Result<Stat, &'static str> {
        let mut parsed = Stat::default();
        parsed.parse(stat, detail).map(|()| parsed)
    }

    fn times(columns: &[u64]) -> Times {
        let mut times = Times::default();
        for (time, &column) in times.iter_mut().zip(columns) {
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
        let stat = parse(STAT, Detail::Total).expect("parses");
        assert_eq!(stat.total, times(&[10, 20, 30, 40, 50, 60, 70, 80, 90, 100]));
        assert_eq!((stat.online.count, stat.cpus.len()), (2, 0));
        let counts = (stat.interrupts, stat.ctx_switches, stat.soft_interrupts);
        assert_eq!(counts, (Some(300), Some(400), Some(500)));
    }

    #[test]
    fn cpus_are_parsed_with_their_numbers() {
        let stat = parse(STAT, Detail::PerCore).expect("parses");
        assert_eq!(stat.cpus.len(), 2);
        assert_eq!(stat.cpus[1], (3, times(&[2, 3, 4, 5, 6, 7, 8, 9, 10, 11])));
    }

    #[test]
    fn a_replaced_cpu_is_a_change() {
        let online = |numbers: &[u32]| {
            let mut online = Online::default();
            for &number in numbers {
                online.add(number);
            }
            online
        };
        assert_eq!(online(&[0, 1, 3]), online(&[0, 1, 3]));
        assert_ne!(online(&[0, 1, 3]), online(&[0, 2, 3]));
        assert_ne!(online(&[0]), online(&[0, 1]));
        assert_ne!(online(&[]), online(&[0]));
    }

    #[test]
    fn old_kernels_have_fewer_columns_and_lines() {
        let stat = parse(b"cpu 1 2 3 4 5 6 7\nctxt 9\n", Detail::Total).expect("parses");
        assert_eq!(stat.total, times(&[1, 2, 3, 4, 5, 6, 7]), "no steal and guest");
        assert_eq!((stat.interrupts, stat.ctx_switches, stat.soft_interrupts), (None, Some(9), None));
    }

    #[test]
    fn malformed_stat_is_an_error() {
        for wrong in
            [&b""[..], b"intr 1\n", b"cpu 1 2 3\n", b"cpu 1 2 3 x 5\n", b"cpu 1 2 3 4 5x\n", b"cpu0 1 2 3 4 5\n"]
        {
            assert!(parse(wrong, Detail::PerCore).is_err(), "{}", wrong.escape_ascii());
        }
        assert!(parse(b"cpu 1 2 3 4 99999999999999999999\n", Detail::Total).is_err(), "more than 64 bits");
        let twice = b"cpu 1 2 3 4 5\ncpu7 1 2 3 4 5\ncpu7 1 2 3 4 5\n";
        assert!(parse(twice, Detail::PerCore).is_err(), "duplicate CPU");
    }

    #[test]
    fn a_long_interrupt_line_is_parsed() {
        let long = [b"cpu 1 2 3 4 5\nintr 7", &b" 0".repeat(50_000)[..], b"\nctxt 8\nsoftirq 9 1\n"].concat();
        let stat = parse(&long, Detail::Total).expect("parses");
        assert_eq!((stat.interrupts, stat.ctx_switches, stat.soft_interrupts), (Some(7), Some(8), Some(9)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in any::<Vec<u8>>(), text in "(cpu[0-9]? ?|intr |ctxt |softirq |[0-9]{1,22}|[ x\n]){0,40}") {
            fuzz(&bytes);
            fuzz(text.as_bytes());
        }

        #[test]
        fn written_values_are_parsed_back(
            total in prop::array::uniform10(any::<u64>()),
            cpus in prop::collection::vec(prop::array::uniform10(any::<u64>()), 0..20),
            counts in prop::array::uniform3(any::<u64>()),
            interrupts in prop::collection::vec(any::<u16>(), 0..300),
        ) {
            let join = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
            let each: Vec<String> =
                cpus.iter().enumerate().map(|(number, cpu)| format!("cpu{number} {}\n", join(cpu))).collect();
            let interrupts: Vec<u64> = interrupts.into_iter().map(u64::from).collect();
            let (each, total_line, interrupts) = (each.concat(), join(&total), join(&interrupts));
            let [intr, ctxt, softirq] = counts;
            let text = format!("cpu  {total_line}\n{each}intr {intr} {interrupts}\nctxt {ctxt}\nbtime 1\nsoftirq {softirq} 1 2\n");
            let stat = parse(text.as_bytes(), Detail::PerCore).expect("parses");
            prop_assert_eq!(stat.total, times(&total));
            let each: Vec<(u32, Times)> = cpus.iter().zip(0..).map(|(cpu, number)| (number, times(cpu))).collect();
            prop_assert_eq!(stat.cpus, each);
            prop_assert_eq!([stat.interrupts, stat.ctx_switches, stat.soft_interrupts], counts.map(Some));
        }
    }
}
