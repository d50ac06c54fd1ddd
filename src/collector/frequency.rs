//! The frequency of the CPUs: from `/sys/devices/system/cpu/cpufreq`, otherwise from `/proc/cpuinfo`. psutil's sources, but the
//! mean is over CPUs: psutil's is over the groups of CPUs that are scaled together, whatever their size.

use std::path::Path;

use super::bounds::MEGAHERTZ;
use super::topology::{CPUINFO, CpuList, DIRECTORY};
use crate::procfs::{HostFiles, Oddities, decimal_number, whole_number};

/// What the kernel writes for a frequency that it does not know.
const UNKNOWN: &[u8] = b"<unknown>";

/// The loss by a list of CPUs that cannot be read: without the size of its group there is no mean over several.
const WEIGHTS: &str = "the number of CPUs with a frequency";

/// The loss by a directory that cannot be listed.
const ALL: &str = "cpu.freq_current, cpu.freq_min, cpu.freq_max";

/// The metric of the present frequency.
const CURRENT: &str = "cpu.freq_current";

/// Frequencies in MHz: means over the online CPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Frequency {
    /// Now.
    pub current: Option<f64>,
    /// The lowest that the governor may set.
    pub min: Option<f64>,
    /// The highest that the governor may set.
    pub max: Option<f64>,
}

/// The frequencies of CPUs that are scaled together.
#[derive(Debug, Clone, Copy)]
struct Policy {
    /// The number of its online CPUs; none if that is not known.
    cpus: Option<u32>,
    frequency: Frequency,
}

/// The mean over the online CPUs of the frequencies that are known.
pub(super) fn frequency(files: &mut HostFiles) -> Frequency {
    let policies = policies(files).unwrap_or_default();
    let sizes: Option<Vec<u32>> = match policies[..] {
        // The mean over one group is its own, whatever its size.
        [_] => Some(vec![policies[0].cpus.unwrap_or(1)]),
        _ => policies.iter().map(|policy| policy.cpus).collect(),
    };
    let mean_of = |value: fn(&Frequency) -> Option<f64>| {
        let sizes = sizes.as_ref()?.iter().copied();
        mean(sizes.zip(policies.iter().map(|policy| value(&policy.frequency))))
    };
    let cpuinfo = files.path(CPUINFO);
    let actual = files.read(&cpuinfo, CURRENT, megahertz).unwrap_or_default();
    let of_cpuinfo = || mean(actual.iter().map(|&value| (1, Some(value))));
    // cpuinfo has the actual frequency of each CPU; the governor's figure is the requested one.
    let cpus = sizes.as_ref().map(|sizes| sizes.iter().map(|&cpus| cpus as usize).sum::<usize>());
    let current = if policies.is_empty() || cpus == Some(actual.len()) {
        of_cpuinfo()
    } else {
        mean_of(|frequency| frequency.current).or_else(of_cpuinfo)
    };
    Frequency { current, min: mean_of(|frequency| frequency.min), max: mean_of(|frequency| frequency.max) }
}

/// The groups of CPUs that the kernel scales together; before Linux 4.2 each CPU by itself. None if they cannot be listed.
fn policies(files: &mut HostFiles) -> Option<Vec<Policy>> {
    let path = files.path(&format!("{DIRECTORY}/online"));
    let online = files.read(&path, WEIGHTS, |text, odd| CpuList::parse(text, WEIGHTS, odd)).flatten();
    let grouped = files.numbered(&format!("{DIRECTORY}/cpufreq"), "policy", ALL).ok()?;
    let mut policies = Vec::new();
    for (_, path) in &grouped {
        let cpus = group_size(files, path, online.as_ref());
        if cpus != Some(0) {
            policies.push(Policy { cpus, frequency: scaled(files, path) });
        }
    }
    if grouped.is_empty() {
        let is_online = |cpu: u32| online.as_ref().is_none_or(|online| online.contains(cpu));
        let cpus = files.numbered(DIRECTORY, "cpu", ALL).ok()?;
        for (_, path) in cpus.into_iter().filter(|&(cpu, _)| is_online(cpu)) {
            let path = path.join("cpufreq");
            if files.has_directory(&path, ALL).ok()? {
                policies.push(Policy { cpus: Some(1), frequency: scaled(files, &path) });
            }
        }
    }
    Some(policies)
}

/// The number of the online CPUs of a group. None if that cannot be read; 1 without the file.
fn group_size(files: &mut HostFiles, directory: &Path, online: Option<&CpuList>) -> Option<u32> {
    let affected = files.read_if_exists(&directory.join("affected_cpus"), WEIGHTS, |text, odd| {
        // The kernel keeps the frequencies of a group whose CPUs have all gone offline.
        let is_offline = text.trim_ascii().is_empty();
        if is_offline { Some(0) } else { CpuList::parse(text, WEIGHTS, odd).map(|cpus| cpus.count_in(online)) }
    });
    affected.ok()?.unwrap_or(Some(1))
}

/// The frequencies in a directory of cpufreq (Documentation/admin-guide/pm/cpufreq.rst, "Policy Interface in sysfs").
fn scaled(files: &mut HostFiles, directory: &Path) -> Frequency {
    let mut read = |name, left_out| {
        files.read(&directory.join(name), left_out, |text, odd| kilohertz(text, left_out, odd)).flatten()
    };
    let (current, min, max) = (
        read("scaling_cur_freq", CURRENT),
        read("scaling_min_freq", "cpu.freq_min"),
        read("scaling_max_freq", "cpu.freq_max"),
    );
    // Only root may read this one.
    let of_hardware = || {
        let path = directory.join("cpuinfo_cur_freq");
        files.read_if_allowed(&path, |text, odd| kilohertz(text, CURRENT, odd)).ok().flatten()
    };
    Frequency { current: current.or_else(of_hardware), min, max }
}

/// A frequency in kHz, in MHz.
fn kilohertz(text: &[u8], left_out: &'static str, odd: &mut Oddities) -> Option<f64> {
    let word = text.trim_ascii();
    if word == UNKNOWN {
        return None;
    }
    keep(whole_number(word).map(|kilohertz| kilohertz as f64 / 1000.0), word, left_out, odd)
}

/// The frequency of each CPU in `/proc/cpuinfo`, by the names that the architectures give it: `cpu MHz` (x86, Itanium, PA-RISC),
/// `CPU MHz` (`LoongArch`, MIPS), `clock` (POWER), `cpu MHz dynamic` (s390x, beside `cpu MHz static`, which is the rated one). ARM and
/// RISC-V have none.
fn megahertz(cpuinfo: &[u8], odd: &mut Oddities) -> Vec<f64> {
    let mut found = Vec::new();
    for line in cpuinfo.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (key, word) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        let is_clock = key.eq_ignore_ascii_case(b"clock");
        if !is_clock && !key.eq_ignore_ascii_case(b"cpu mhz") && !key.eq_ignore_ascii_case(b"cpu mhz dynamic") {
            continue;
        }
        let number = word.strip_suffix(b"MHz").filter(|_| is_clock).unwrap_or(word);
        found.extend(keep(decimal_number(number), word, "the frequency of a CPU", odd));
    }
    found
}

/// A frequency that is within the bounds; otherwise the word is noted. Virtual machines, and drivers that do not know it, write 0.
fn keep(frequency: Option<f64>, word: &[u8], left_out: &'static str, odd: &mut Oddities) -> Option<f64> {
    if frequency == Some(0.0) { None } else { MEGAHERTZ.keep(frequency, word, left_out, odd) }
}

/// The mean of the known values, each with a weight. None if there is none.
fn mean(values: impl Iterator<Item = (u32, Option<f64>)>) -> Option<f64> {
    let known = values.filter_map(|(weight, value)| Some((f64::from(weight), value?)));
    let (sum, weights) =
        known.fold((0.0, 0.0), |(sum, weights), (weight, value)| (sum + weight * value, weights + weight));
    (weights > 0.0).then_some(sum / weights)
}

/// The fuzz target.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let mut odd = Oddities::default();
    odd.begin_text(bytes);
    let values = megahertz(bytes, &mut odd);
    assert!(values.len() <= bytes.split(|&byte| byte == b'\n').count());
    assert!(values.iter().all(|&value| MEGAHERTZ.holds(value)));
    let mean = mean(values.iter().map(|&value| (1, Some(value))));
    assert!(mean.is_none_or(|mean| MEGAHERTZ.holds(mean)) && mean.is_some() != values.is_empty());
    assert!(kilohertz(bytes, CURRENT, &mut odd).is_none_or(|value| MEGAHERTZ.holds(value)));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;
    use crate::hostpath::below;
    use crate::procfs::{measure_damaged_files, measure_files};

    /// The frequencies of a host with these files, and how many oddities that had.
    fn measured(files: &[(String, &str)]) -> (Frequency, u64) {
        measure_files(files, frequency)
    }

    fn policy(number: u32, file: &str) -> String {
        format!("{DIRECTORY}/cpufreq/policy{number}/{file}")
    }

    /// Four slow CPUs and a fast one.
    fn big_little() -> Vec<(String, &'static str)> {
        vec![
            (policy(0, "scaling_cur_freq"), "1000000\n"),
            (policy(4, "scaling_cur_freq"), "3000000\n"),
            (policy(0, "scaling_min_freq"), "800000\n"),
            (policy(0, "scaling_max_freq"), "2000000\n"),
            (policy(4, "scaling_max_freq"), "4000000\n"),
            (policy(0, "affected_cpus"), "0 1 2 3\n"),
            (policy(4, "affected_cpus"), "4\n"),
        ]
    }

    fn currents(files: &[(String, &str)]) -> Option<f64> {
        measured(files).0.current
    }

    #[test]
    fn frequencies_are_means_over_cpus() {
        let mut files = big_little();
        let expected = Frequency { current: Some(1400.0), min: Some(800.0), max: Some(2400.0) };
        assert_eq!(measured(&files), (expected, 0));
        files.push((format!("{DIRECTORY}/online"), "0,4\n"));
        assert_eq!(currents(&files), Some(2000.0), "two of them are online");
        files[5].1 = "\n";
        assert_eq!(currents(&files), Some(3000.0), "a group without online CPUs");
        files[5].1 = "nonsense\n";
        assert_eq!(measured(&files), (Frequency::default(), 1), "the mean over groups of unknown size");
        files[5].1 = "0 1 x 3\n";
        assert_eq!(measured(&files), (Frequency::default(), 1));
        files.truncate(5);
        assert_eq!(currents(&files), Some(2000.0), "groups of unknown size");
    }

    #[test]
    fn size_of_a_single_group_is_not_needed() {
        let files = [(policy(0, "scaling_cur_freq"), "1000000\n"), (policy(0, "affected_cpus"), "x\n")];
        assert_eq!(measured(&files), (Frequency { current: Some(1000.0), ..Frequency::default() }, 1));
    }

    /// Puts a link to itself in the place of a directory: the error for that is neither that of a missing one, nor one that
    /// depends on the user.
    fn unreachable(name: &str) -> impl FnOnce(&Path) {
        move |root| symlink(name, below(root, DIRECTORY).join(name)).expect("linked")
    }

    #[test]
    fn unreachable_directory_leaves_frequencies_out() {
        let cpu = |number: u32| (format!("{DIRECTORY}/cpu{number}/cpufreq/scaling_cur_freq"), "1000000\n");
        let left_out = (Frequency::default(), 1);
        let old = [cpu(0)];
        assert_eq!(measure_damaged_files(&old, unreachable("cpufreq"), frequency), left_out);
        assert_eq!(measure_damaged_files(&old, unreachable("cpu1"), frequency), left_out);
        let with_cpuinfo = [cpu(0), (CPUINFO.to_owned(), "cpu MHz : 1234.5\n")];
        let measured = measure_damaged_files(&with_cpuinfo, unreachable("cpufreq"), frequency);
        assert_eq!(measured, (Frequency { current: Some(1234.5), ..Frequency::default() }, 1), "the next source");
    }

    #[test]
    fn old_kernels_have_a_frequency_per_cpu() {
        let cpu = |number: u32, file: &str| format!("{DIRECTORY}/cpu{number}/cpufreq/{file}");
        let mut files = vec![
            (cpu(0, "scaling_cur_freq"), "1000000\n"),
            (cpu(0, "affected_cpus"), "0 1\n"),
            (cpu(1, "scaling_cur_freq"), "2000000\n"),
            (cpu(9, "scaling_cur_freq"), "9000000\n"),
        ];
        assert_eq!(currents(&files), Some(4000.0));
        files.push((format!("{DIRECTORY}/online"), "0-1\n"));
        assert_eq!(currents(&files), Some(1500.0));
    }

    #[test]
    fn odd_frequencies_are_left_out() {
        for (text, noted) in
            [("0\n", 0), ("<unknown>\n", 0), ("-1\n", 1), ("4294967295\n", 1), ("1e6\n", 1), ("", 1), ("999\n", 1)]
        {
            let mut files = big_little();
            (files[0].1, files[2].1, files[4].1) = (text, text, text);
            let expected = Frequency { current: Some(3000.0), min: None, max: Some(2000.0) };
            assert_eq!(measured(&files), (expected, 3 * noted), "{text:?}");
        }
        let mut files = big_little();
        (files[0].1, files[1].1) = ("0", "0");
        files.push((policy(4, "cpuinfo_cur_freq"), "2500000\n"));
        assert_eq!(currents(&files), Some(2500.0));
        files.pop();
        files.push((CPUINFO.to_owned(), "cpu MHz : 1234.5\n"));
        assert_eq!(currents(&files), Some(1234.5), "the next source");
    }

    #[test]
    fn cpuinfo_of_each_architecture_is_read() {
        let s390x = "vendor_id : IBM/S390\nbogomips per cpu: 3033.00\n\ncpu number : 0\ncpu MHz dynamic : 4800\ncpu MHz static : 5200\n";
        let power = "processor\t: 0\nclock\t\t: 3425.000000MHz\n\ntimebase\t: 512000000\n";
        let loongarch = "processor\t\t: 0\nCPU MHz\t\t\t: 2500.00\nBogoMIPS\t\t: 5000.00\n";
        let x86 = "processor : 0\ncpu MHz\t\t: 2300.500\nprocessor : 1\ncpu MHz\t\t: 2299.500\n";
        let arm = "processor : 0\nBogoMIPS : 108.00\nCPU part : 0xd08\n";
        let unknown = "processor : 0\ncpu MHz\t\t: 0.000\nprocessor : 1\ncpu MHz : 2000.0\n";
        for (text, current) in [
            (s390x, Some(4800.0)),
            ("cpu MHz static : 5200\n", None),
            (power, Some(3425.0)),
            (loongarch, Some(2500.0)),
            (x86, Some(2300.0)),
            (arm, None),
            (unknown, Some(2000.0)),
            ("", None),
        ] {
            let expected = Frequency { current, ..Frequency::default() };
            assert_eq!(measured(&[(CPUINFO.to_owned(), text)]), (expected, 0), "{text}");
            let other_ends = text.replace('\n', "\r\n");
            assert_eq!(measured(&[(CPUINFO.to_owned(), &other_ends)]), (expected, 0), "{text}");
        }
        for odd in
            ["cpu MHz : -1\n", "cpu MHz : nan\n", "cpu MHz : 1.7e308\n", "clock : 3425.0GHz\n", "cpu MHz : 123456\n"]
        {
            assert_eq!(measured(&[(CPUINFO.to_owned(), odd)]), (Frequency::default(), 1), "{odd}");
        }
        assert_eq!(measured(&[]), (Frequency::default(), 0));
    }

    #[test]
    fn actual_frequencies_come_before_requested_ones() {
        let mut files = big_little();
        let cpuinfo = "cpu MHz : 2000\n".repeat(5);
        files.push((CPUINFO.to_owned(), &cpuinfo));
        assert_eq!(currents(&files), Some(2000.0));
        let some = "cpu MHz : 2000\n".repeat(4);
        files.last_mut().expect("it is there").1 = &some;
        assert_eq!(currents(&files), Some(1400.0), "not those of all CPUs");
    }

    proptest! {
        #[test]
        fn arbitrary_text_does_not_panic(text in "((cpu|CPU) MHz( dynamic)?|clock|[:0-9a-z \n.-]|MHz){0,60}", number in "[0-9]{0,22}") {
            fuzz(text.as_bytes());
            fuzz(number.as_bytes());
        }
    }
}
