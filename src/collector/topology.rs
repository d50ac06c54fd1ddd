//! The number of cores: from `/sys/devices/system/cpu`, otherwise from `/proc/cpuinfo`, by psutil's rules; and lists of CPUs as
//! the kernel writes them.

use std::collections::HashSet;

use super::bounds::{CPUS, MAX_CPUS};
use crate::procfs::{HostFiles, Oddities};

/// The directory in which the kernel describes its CPUs.
pub(super) const DIRECTORY: &str = "/sys/devices/system/cpu";

/// The description of the CPUs that each architecture writes in its own way.
pub(super) const CPUINFO: &str = "/proc/cpuinfo";

/// The metric of this module.
const PHYSICAL: &str = "cpu.count_physical";

/// The number of cores; the hyper-threads of a core count once. None if the host does not report it.
pub(super) fn physical_count(files: &mut HostFiles) -> Option<u64> {
    let counted = described_cores(files).or_else(|| {
        let cpuinfo = files.path(CPUINFO);
        files.read(&cpuinfo, PHYSICAL, |text, _| count_cores(&String::from_utf8_lossy(text)))?
    });
    counted.filter(|&cores| CPUS.holds(cores as f64))
}

/// The number of different lists of siblings, one for each CPU. None if no CPU has one, or if one cannot be read: its core may be
/// one that counts.
fn described_cores(files: &mut HostFiles) -> Option<u64> {
    let mut siblings: HashSet<Vec<u8>> = HashSet::new();
    for (_, cpu) in files.numbered(DIRECTORY, "cpu", PHYSICAL).ok()? {
        let topology = cpu.join("topology");
        // A CPU that is offline has none.
        if files.has_directory(&topology, PHYSICAL).ok()? {
            let mut list = |name| files.read(&topology.join(name), PHYSICAL, sibling_list).flatten();
            siblings.insert(list("core_cpus_list").or_else(|| list("thread_siblings_list"))?);
        }
    }
    (!siblings.is_empty()).then_some(siblings.len() as u64)
}

fn sibling_list(text: &[u8], odd: &mut Oddities) -> Option<Vec<u8>> {
    CpuList::parse(text, PHYSICAL, odd).map(|_| text.trim_ascii().to_vec())
}

/// A set of CPUs as the kernel writes it: `0-3,8` in most files (Documentation/admin-guide/cputopology.rst), `0 1 2 3` in those of
/// cpufreq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CpuList {
    /// First and last number of each range.
    ranges: Vec<(u32, u32)>,
}

impl CpuList {
    /// Parses a list. None if it has a word that is none or no CPU at all; that is noted.
    pub(super) fn parse(text: &[u8], left_out: &'static str, odd: &mut Oddities) -> Option<Self> {
        let mut ranges = Vec::new();
        let words = text.split(|byte| byte.is_ascii_whitespace() || *byte == b',').filter(|word| !word.is_empty());
        for word in words {
            let Some(range) = cpu_range(word) else {
                odd.note(word, "is no number and no range of CPUs", left_out);
                return None;
            };
            ranges.push(range);
        }
        if ranges.is_empty() {
            odd.note(text, "is an empty list of CPUs", left_out);
            return None;
        }
        Some(Self { ranges })
    }

    pub(super) fn contains(&self, cpu: u32) -> bool {
        self.ranges.iter().any(|&(first, last)| (first..=last).contains(&cpu))
    }

    /// The number of its CPUs that are in another list, or of all without one.
    pub(super) fn count_in(&self, other: Option<&Self>) -> u32 {
        let is_in = |cpu: &u32| self.contains(*cpu) && other.is_none_or(|other| other.contains(*cpu));
        let first = self.ranges.iter().map(|&(first, _)| first).min().unwrap_or(0);
        let last = self.ranges.iter().map(|&(_, last)| last).max().unwrap_or(0);
        (first..=last).filter(is_in).count().try_into().unwrap_or(MAX_CPUS)
    }
}

/// `3` or `0-3`.
fn cpu_range(word: &[u8]) -> Option<(u32, u32)> {
    let word = str::from_utf8(word).ok()?;
    let number = |text: &str| -> Option<u32> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|&number| is_plain && number < MAX_CPUS)
    };
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some((number(first)?, number(last)?)).filter(|(first, last)| first <= last)
}

/// The sum of the cores of all sockets.
fn count_cores(cpuinfo: &str) -> Option<u64> {
    let mut sockets: Vec<(u64, u64)> = Vec::new();
    let (mut socket, mut cores) = (None, None);
    for line in cpuinfo.lines().chain([""]) {
        let number = |key: &str| line.strip_prefix(key)?.split_once(':')?.1.trim().parse().ok();
        socket = number("physical id").or(socket);
        cores = number("cpu cores").or(cores);
        if line.trim().is_empty() {
            if let (Some(socket), Some(cores)) = (socket, cores)
                && !sockets.iter().any(|&(known, _)| known == socket)
            {
                sockets.push((socket, cores));
            }
            (socket, cores) = (None, None);
        }
    }
    let sum = sockets.iter().try_fold(0_u64, |sum, &(_, cores)| sum.checked_add(cores));
    sum.filter(|&sum| sum > 0)
}

/// The fuzz target.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    assert_ne!(count_cores(&String::from_utf8_lossy(bytes)), Some(0));
    if let Some(list) = CpuList::parse(bytes, PHYSICAL, &mut Oddities::default()) {
        assert!((1..=MAX_CPUS).contains(&list.count_in(None)));
        assert_eq!(list.count_in(Some(&list)), list.count_in(None));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::hostpath::below;
    use crate::procfs::{measure_damaged_files, measure_files};

    /// The cores of a host with these files, and how many oddities that had.
    fn physical(files: &[(&str, &str)]) -> (Option<u64>, u64) {
        measure_files(files, physical_count)
    }

    fn list(text: &str) -> Option<CpuList> {
        CpuList::parse(text.as_bytes(), PHYSICAL, &mut Oddities::default())
    }

    #[test]
    fn siblings_share_a_core() {
        let list =
            |cpu: u32, siblings: &'static str| (format!("{DIRECTORY}/cpu{cpu}/topology/core_cpus_list"), siblings);
        let lists = [list(0, "0,2\n"), list(1, "1,3\n"), list(2, "0,2\n"), list(3, "1,3\n")];
        let mut lists: Vec<(&str, &str)> = lists.iter().map(|(path, siblings)| (path.as_str(), *siblings)).collect();
        assert_eq!(physical(&lists), (Some(2), 0));
        lists.push(("/sys/devices/system/cpu/cpu9/online", "0\n"));
        assert_eq!(physical(&lists), (Some(2), 0), "a CPU that is offline has no topology");
        lists[3].1 = "garbage\n";
        assert_eq!(physical(&lists), (None, 1), "three cores or two");
        let older = "/sys/devices/system/cpu/cpu3/topology/thread_siblings_list";
        lists.push((older, "1,3\n"));
        assert_eq!(physical(&lists), (Some(2), 1));
        for text in ["", "\n", "1,3x", "5-3", "70000", "0-4294967295", "-1"] {
            lists[3].1 = text;
            lists.last_mut().expect("it is there").1 = text;
            assert_eq!(physical(&lists).0, None, "{text:?}");
        }
    }

    #[test]
    fn unreachable_directories_leave_the_count_out() {
        let cpu0 = format!("{DIRECTORY}/cpu0/topology/core_cpus_list");
        for name in ["cpu1", "cpu1/topology", "cpu"] {
            // A link to itself: an error that is not that of a missing directory.
            let damage = |root: &Path| {
                let path = below(root, DIRECTORY).join(name);
                let at = if name == "cpu" { below(root, DIRECTORY) } else { path };
                let _ = fs::remove_dir_all(&at);
                fs::create_dir_all(at.parent().expect("has one")).expect("created");
                symlink(at.file_name().expect("has one"), &at).expect("linked");
            };
            assert_eq!(measure_damaged_files(&[(&*cpu0, "0\n")], damage, physical_count), (None, 1), "{name}");
        }
    }

    #[test]
    fn cpuinfo_cores_are_summed_over_sockets() {
        let cpu = |socket: u32| format!("processor : 0\nphysical id : {socket}\ncpu cores : 4\n\n");
        let cpuinfo = cpu(0) + &cpu(0) + &cpu(1);
        assert_eq!(physical(&[(CPUINFO, &cpuinfo)]), (Some(8), 0));
        assert_eq!(physical(&[(CPUINFO, &cpuinfo.replace('\n', "\r\n"))]), (Some(8), 0));
        assert_eq!(physical(&[(CPUINFO, "Processor : ARM\n")]), (None, 0));
        assert_eq!(physical(&[]), (None, 0));
        let absurd = "physical id : 0\ncpu cores : 100000\n";
        assert_eq!(physical(&[(CPUINFO, absurd)]).0, None);
    }

    #[test]
    fn overflowing_sums_are_none() {
        let socket = |number: u32| format!("physical id : {number}\ncpu cores : {}\n\n", u64::MAX);
        assert_eq!(count_cores(&(socket(0) + &socket(1))), None);
    }

    #[test]
    fn lists_are_ranges_or_words() {
        let online = list("0-1,4\n").expect("a list");
        assert_eq!(online.count_in(None), 3);
        assert_eq!(list("0 1 2 3\n").expect("as cpufreq writes it").count_in(Some(&online)), 2);
        assert_eq!(list("0,0,0-1").expect("a list").count_in(None), 2, "a set");
        assert!(online.contains(4) && !online.contains(3));
    }

    proptest! {
        #[test]
        fn arbitrary_text_does_not_panic(text in "(physical id|cpu cores|[:0-9a-z \n.,-]){0,60}", list in "[0-9]{1,5}([,-][0-9]{1,6}){0,5}") {
            fuzz(text.as_bytes());
            fuzz(list.as_bytes());
        }
    }
}
