//! The usage of the agent's own process: processor time at each tick; memory, file descriptors and threads every ten seconds,
//! since the kernel takes longer for them than a tick may cost.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, fstat, open};

use crate::procfs::KeptFile;

/// The time between two readings of memory, descriptors and threads: ten seconds, also when a tick begins a little early.
const INTERVAL: Duration = Duration::from_millis(9_500);

/// The agent's own usage.
#[derive(Debug)]
pub(super) struct ProcessUsage {
    statm: KeptFile,
    /// The directories with an entry for each thread and descriptor, kept open; none where there are none.
    tasks: Option<OwnedFd>,
    descriptors_directory: Option<OwnedFd>,
    read_at: Option<Instant>,
    /// Memory that is in RAM.
    pub(super) resident_bytes: Option<u64>,
    pub(super) descriptors: Option<u64>,
    pub(super) threads: Option<u64>,
}

impl ProcessUsage {
    pub(super) fn new() -> Self {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = |path| open(path, flags, Mode::empty()).ok();
        Self {
            statm: KeptFile::whole(Path::new("/"), "/proc/self/statm"),
            tasks: directory("/proc/self/task"),
            descriptors_directory: directory("/proc/self/fd"),
            read_at: None,
            resident_bytes: None,
            descriptors: None,
            threads: None,
        }
    }

    /// Reads what is ten seconds old.
    pub(super) fn refresh(&mut self, now: Instant) {
        if self.read_at.is_some_and(|at| now.saturating_duration_since(at) < INTERVAL) || !cfg!(target_os = "linux") {
            return;
        }
        self.read_at = Some(now);
        let pages = self.statm.read(|text| resident_pages(text).ok_or("no second number")).ok();
        self.resident_bytes = pages.map(|pages| pages * rustix::param::page_size() as u64);
        self.threads = self.tasks.as_ref().and_then(thread_count);
        self.descriptors = self.descriptors_directory.as_ref().and_then(descriptor_count);
    }

    /// The processor time of all threads since the start.
    pub(super) fn cpu_seconds() -> f64 {
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::try_from(spent).unwrap_or_default().as_secs_f64()
    }
}

/// The second number of `/proc/self/statm`.
fn resident_pages(statm: &[u8]) -> Option<u64> {
    str::from_utf8(statm).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The number of directories in one: each links to it, as do its parent and itself.
#[allow(clippy::useless_conversion, reason = "machines differ in the type")]
fn thread_count(directory: &OwnedFd) -> Option<u64> {
    u64::try_from(fstat(directory).ok()?.st_nlink).ok()?.checked_sub(2)
}

/// The number of open file descriptors: since Linux 6.2 the size of their directory, otherwise its number of entries.
#[cfg(target_os = "linux")]
fn descriptor_count(directory: &OwnedFd) -> Option<u64> {
    use std::mem::MaybeUninit;

    use rustix::fs::{RawDir, SeekFrom, seek};

    let size = fstat(directory).ok().and_then(|stat| u64::try_from(stat.st_size).ok()).filter(|&size| size > 0);
    let counted = || {
        seek(directory, SeekFrom::Start(0)).ok()?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let (mut entries, mut count) = (RawDir::new(directory, &mut buffer), 0);
        while let Some(entry) = entries.next() {
            count += u64::from(entry.ok()?.file_name().to_bytes().first() != Some(&b'.'));
        }
        Some(count)
    };
    size.or_else(counted)
}

#[cfg(not(target_os = "linux"))]
fn descriptor_count(_directory: &OwnedFd) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_number_of_statm_is_parsed() {
        assert_eq!(resident_pages(b"1854 733 509 1 0 158 0\n"), Some(733));
        assert_eq!((resident_pages(b"1"), resident_pages(b"")), (None, None));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn usage_of_this_process_is_read() {
        let mut usage = ProcessUsage::new();
        usage.refresh(Instant::now());
        assert!(usage.resident_bytes > Some(100_000) && usage.threads >= Some(1), "{usage:?}");
        let before = usage.descriptors.expect("counted");
        let _files: Vec<_> = (0..100).map(|_| std::fs::File::open("/dev/null").expect("opened")).collect();
        usage.refresh(Instant::now());
        assert_eq!(usage.descriptors, Some(before), "it is not ten seconds old");
        usage.refresh(Instant::now() + INTERVAL);
        assert!(usage.descriptors >= Some(before + 50), "{usage:?}");
        assert!(ProcessUsage::cpu_seconds() > 0.0);
    }
}
