//! Number and frequency of the CPUs: from `/sys/devices/system/cpu`, otherwise from `/proc/cpuinfo`, by psutil's rules.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::hostpath::below;
use crate::procfs::leading_number;

/// The directory in which the kernel describes its CPUs.
const CPUS: &str = "/sys/devices/system/cpu";

/// Frequencies in MHz: means over the CPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Frequency {
    /// Now.
    pub current: Option<f64>,
    /// The lowest that the governor may set.
    pub min: Option<f64>,
    /// The highest that the governor may set.
    pub max: Option<f64>,
}

/// The number of cores; the hyper-threads of a core count once. None if the host does not report it.
pub(super) fn physical_count(root: &Path) -> Option<u64> {
    let siblings: HashSet<String> = entries(root, CPUS, "cpu")
        .iter()
        .filter_map(|cpu| {
            let topology = cpu.join("topology");
            let lists = ["core_cpus_list", "thread_siblings_list"];
            lists.iter().find_map(|list| fs::read_to_string(topology.join(list)).ok())
        })
        .map(|list| list.trim().to_owned())
        .collect();
    if !siblings.is_empty() {
        return Some(siblings.len() as u64);
    }
    count_cores(&fs::read_to_string(below(root, "/proc/cpuinfo")).ok()?)
}

/// The mean over the groups of CPUs that the kernel scales together, otherwise over all CPUs.
pub(super) fn frequency(root: &Path) -> Frequency {
    let mut scaled = entries(root, &format!("{CPUS}/cpufreq"), "policy");
    if scaled.is_empty() {
        scaled = entries(root, CPUS, "cpu")
            .into_iter()
            .map(|cpu| cpu.join("cpufreq"))
            .filter(|path| path.is_dir())
            .collect();
    }
    let cpuinfo = || fs::read_to_string(below(root, "/proc/cpuinfo")).map(|text| megahertz(&text)).unwrap_or_default();
    if scaled.is_empty() {
        return Frequency { current: mean(cpuinfo().into_iter().map(Some)), ..Frequency::default() };
    }
    let read = |name: &'static str| {
        move |path: &PathBuf| {
            let text = fs::read(path.join(name)).ok()?;
            leading_number(&text).map(|kilohertz| kilohertz as f64 / 1000.0)
        }
    };
    // cpuinfo has the actual frequency; the governor's figure is the requested one.
    let actual = cpuinfo();
    let current = if actual.len() == scaled.len() {
        mean(actual.into_iter().map(Some))
    } else {
        mean(scaled.iter().map(|path| read("scaling_cur_freq")(path).or_else(|| read("cpuinfo_cur_freq")(path))))
    };
    Frequency {
        current,
        min: mean(scaled.iter().map(read("scaling_min_freq"))),
        max: mean(scaled.iter().map(read("scaling_max_freq"))),
    }
}

/// The entries of a directory whose names are this name and a number.
fn entries(root: &Path, directory: &str, name: &str) -> Vec<PathBuf> {
    let Ok(found) = fs::read_dir(below(root, directory)) else { return Vec::new() };
    let is_numbered = |path: &PathBuf| {
        let file = path.file_name().and_then(|file| file.to_str());
        let number = file.and_then(|file| file.strip_prefix(name));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    found.filter_map(|entry| Some(entry.ok()?.path())).filter(is_numbered).collect()
}

/// The mean of the known values. None if there is none, or if the sum overflows.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (sum, count) = values.flatten().fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    Some(sum / f64::from(count)).filter(|mean| mean.is_finite())
}

/// The frequency of each CPU in `/proc/cpuinfo`.
fn megahertz(cpuinfo: &str) -> Vec<f64> {
    let lines = cpuinfo.lines().filter(|line| line.to_ascii_lowercase().starts_with("cpu mhz"));
    lines
        .filter_map(|line| line.split_once(':')?.1.trim().parse().ok())
        .filter(|value: &f64| value.is_finite())
        .collect()
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
    let text = String::from_utf8_lossy(bytes);
    assert_ne!(count_cores(&text), Some(0));
    let megahertz = megahertz(&text);
    assert!(megahertz.len() <= text.lines().count() && megahertz.iter().all(|value| value.is_finite()));
    assert!(mean(megahertz.into_iter().map(Some)).is_none_or(f64::is_finite));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A host with these files.
    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        for (path, content) in files {
            let path = below(root.path(), path);
            fs::create_dir_all(path.parent().expect("has one")).expect("created");
            fs::write(path, content).expect("written");
        }
        root
    }

    #[test]
    fn siblings_share_a_core() {
        let list = |cpu: u32, siblings: &'static str| (format!("{CPUS}/cpu{cpu}/topology/core_cpus_list"), siblings);
        let lists = [list(0, "0,2\n"), list(1, "1,3\n"), list(2, "0,2\n"), list(3, "1,3\n")];
        let lists: Vec<(&str, &str)> = lists.iter().map(|(path, siblings)| (path.as_str(), *siblings)).collect();
        assert_eq!(physical_count(host(&lists).path()), Some(2));
    }

    #[test]
    fn cpuinfo_cores_are_summed_over_sockets() {
        let cpu = |socket: u32| format!("processor : 0\nphysical id : {socket}\ncpu cores : 4\n\n");
        let cpuinfo = cpu(0) + &cpu(0) + &cpu(1);
        assert_eq!(physical_count(host(&[("/proc/cpuinfo", &cpuinfo)]).path()), Some(8));
        assert_eq!(physical_count(host(&[("/proc/cpuinfo", "Processor : ARM\n")]).path()), None);
        assert_eq!(physical_count(host(&[]).path()), None);
    }

    #[test]
    fn frequencies_are_means_in_megahertz() {
        let policy = |number: u32, file: &str| format!("{CPUS}/cpufreq/policy{number}/{file}");
        let files: Vec<(String, &str)> = vec![
            (policy(0, "scaling_cur_freq"), "1000000\n"),
            (policy(4, "scaling_cur_freq"), "3000000\n"),
            (policy(0, "scaling_min_freq"), "800000\n"),
            (policy(0, "scaling_max_freq"), "2000000\n"),
            (policy(4, "scaling_max_freq"), "4000000\n"),
        ];
        let files: Vec<(&str, &str)> = files.iter().map(|(path, content)| (path.as_str(), *content)).collect();
        let expected = Frequency { current: Some(2000.0), min: Some(800.0), max: Some(3000.0) };
        assert_eq!(frequency(host(&files).path()), expected);
    }

    #[test]
    fn without_scaling_cpuinfo_gives_the_frequency() {
        let cpuinfo = "processor : 0\ncpu MHz\t\t: 2300.500\nprocessor : 1\ncpu MHz\t\t: 2299.500\n";
        let expected = Frequency { current: Some(2300.0), ..Frequency::default() };
        assert_eq!(frequency(host(&[("/proc/cpuinfo", cpuinfo)]).path()), expected);
        assert_eq!(frequency(host(&[]).path()), Frequency::default());
    }

    #[test]
    fn overflowing_sums_are_none() {
        let socket = |number: u32| format!("physical id : {number}\ncpu cores : {}\ncpu MHz : 1.7e308\n\n", u64::MAX);
        let cpuinfo = socket(0) + &socket(1);
        assert_eq!(count_cores(&cpuinfo), None);
        assert_eq!(mean(megahertz(&cpuinfo).into_iter().map(Some)), None);
    }

    proptest! {
        #[test]
        fn arbitrary_text_does_not_panic(text in "(physical id|cpu cores|cpu MHz|[:0-9a-z \n.]){0,60}") {
            fuzz(text.as_bytes());
        }
    }
}
