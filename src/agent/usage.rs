//! What the agent itself uses: processor time at each tick; memory, file descriptors and threads every ten seconds, since the
//! kernel takes longer for them than a tick may cost.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::procfs::KeptFile;

/// The time between two readings of memory, descriptors and threads.
const INTERVAL: Duration = Duration::from_secs(10);

const DESCRIPTORS: &str = "/proc/self/fd";

/// The agent's own usage.
#[derive(Debug)]
pub(super) struct Usage {
    statm: KeptFile,
    stat: KeptFile,
    read_at: Option<Instant>,
    /// Memory that is in RAM.
    pub(super) resident_bytes: Option<u64>,
    pub(super) descriptors: Option<u64>,
    pub(super) threads: Option<u64>,
}

impl Usage {
    pub(super) fn new() -> Self {
        let own = |path| KeptFile::whole(Path::new("/"), path);
        Self {
            statm: own("/proc/self/statm"),
            stat: own("/proc/self/stat"),
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
        self.threads = self.stat.read(|text| thread_count(text).ok_or("no twentieth field")).ok();
        self.descriptors = descriptor_count();
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

/// The twentieth field of `/proc/self/stat`. The second is a name in brackets, which may contain anything.
fn thread_count(stat: &[u8]) -> Option<u64> {
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    str::from_utf8(&stat[after_name..]).ok()?.split_ascii_whitespace().nth(17)?.parse().ok()
}

/// The number of open file descriptors: since Linux 6.2 the size of their directory, otherwise its number of entries.
#[cfg(target_os = "linux")]
fn descriptor_count() -> Option<u64> {
    use std::mem::MaybeUninit;

    use rustix::fs::{Mode, OFlags, RawDir, fstat, open};

    let directory = open(DESCRIPTORS, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let size = fstat(&directory).ok().and_then(|stat| u64::try_from(stat.st_size).ok()).filter(|&size| size > 0);
    let counted = || {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let (mut entries, mut count) = (RawDir::new(&directory, &mut buffer), 0);
        while let Some(entry) = entries.next() {
            count += u64::from(entry.ok()?.file_name().to_bytes().first() != Some(&b'.'));
        }
        Some(count)
    };
    // One of them is the directory itself.
    size.or_else(counted).map(|count| count.saturating_sub(1))
}

#[cfg(not(target_os = "linux"))]
fn descriptor_count() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_texts_are_parsed() {
        assert_eq!(resident_pages(b"1854 733 509 1 0 158 0\n"), Some(733));
        let stat = b"42 (a) b) R 1 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 7 0 100 1 1\n";
        assert_eq!(thread_count(stat), Some(7));
        assert_eq!((resident_pages(b"1"), thread_count(b"42 (a"), thread_count(b"")), (None, None, None));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn usage_of_this_process_is_read() {
        let mut usage = Usage::new();
        usage.refresh(Instant::now());
        assert!(usage.resident_bytes > Some(100_000) && usage.threads >= Some(1), "{usage:?}");
        let before = usage.descriptors.expect("counted");
        let _files: Vec<_> = (0..100).map(|_| std::fs::File::open("/dev/null").expect("opened")).collect();
        usage.refresh(Instant::now());
        assert_eq!(usage.descriptors, Some(before), "it is not ten seconds old");
        usage.refresh(Instant::now() + INTERVAL);
        assert!(usage.descriptors >= Some(before + 50), "{usage:?}");
        assert!(Usage::cpu_seconds() > 0.0);
    }
}
