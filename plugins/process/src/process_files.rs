//! The files of single processes: memory, open files, command lines. Of many processes they are read together. One that cannot be
//! read is reported, and tried again at the next tick unless its grant is missing.

use std::fmt::Display;

use gauged_plugin::bounds::COUNT;
use gauged_plugin::files::{self, Failure};
use gauged_plugin::kernel::{Fields, File};
use gauged_plugin::skipped::{Cause as _, Skip};

use crate::has_ended;

/// The files read only for some processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcFile {
    Command,
    Memory,
    Fds,
}

impl ProcFile {
    pub(crate) fn path(self, pid: impl Display) -> String {
        let name = match self {
            Self::Command => "cmdline",
            Self::Memory => "status",
            Self::Fds => "fd",
        };
        format!("/proc/{pid}/{name}")
    }

    /// The most bytes of it.
    fn max_bytes(self) -> u32 {
        match self {
            // The longest that a kernel permits by default is a quarter of the stack.
            Self::Command => 2 << 20,
            // Lists of groups and CPUs are its longest lines.
            Self::Memory | Self::Fds => 1 << 20,
        }
    }

    /// The metrics that are missing without the file, for a report.
    fn missing_metrics(self) -> &'static str {
        match self {
            Self::Command => "the groups that a process may belong to",
            Self::Memory => "the memory of its groups",
            Self::Fds => "the open files of its groups",
        }
    }
}

/// A file that could not be read.
#[derive(Debug)]
pub(crate) struct NotReadable {
    /// Whether that may be the process's own fault: not of a missing grant, and not for want of time.
    pub(crate) was_tried: bool,
}

/// How files of processes are read.
#[derive(Debug, Default)]
pub(crate) struct ProcessFiles {
    /// Set after a timeout, for the rest of the tick.
    is_late: bool,
    /// The files without a grant.
    denied: Vec<ProcFile>,
    /// Whether the size of the directory of open files is their number, as since Linux 6.2.
    has_descriptor_counts: bool,
}

impl ProcessFiles {
    pub(crate) fn begin_tick(&mut self) {
        self.is_late = false;
    }

    /// The number of open files of a process; `None` if it cannot be read.
    pub(crate) fn descriptors(&mut self, pid: u32) -> Option<u64> {
        if !self.may_read(ProcFile::Fds) {
            return None;
        }
        let path = ProcFile::Fds.path(pid);
        let count = match files::stat(&path) {
            Ok(status) if status.size > 0 || self.has_descriptor_counts => {
                self.has_descriptor_counts = true;
                Ok(status.size)
            }
            // A kernel before 6.2, or a process without open files.
            Ok(_) => files::list(&path).map(|names| names.len() as u64),
            Err(failure) => Err(failure),
        };
        self.judge(ProcFile::Fds, count).ok().map(Option::unwrap_or_default)
    }

    /// Reads a file of each of these processes; `None` of one that has ended.
    pub(crate) fn read_many(&mut self, kind: ProcFile, pids: &[u32]) -> Vec<Result<Option<Vec<u8>>, NotReadable>> {
        if pids.is_empty() || !self.may_read(kind) {
            return pids.iter().map(|_| Err(NotReadable { was_tried: false })).collect();
        }
        let paths: Vec<String> = pids.iter().map(|pid| kind.path(pid)).collect();
        let mut read = files::read_many(&paths, kind.max_bytes());
        read.drain(..).map(|read| self.judge(kind, read)).collect()
    }

    fn may_read(&self, kind: ProcFile) -> bool {
        !self.is_late && !self.denied.contains(&kind)
    }

    /// What was read of a process, or `None` if it has ended. Reports a file that could not be read.
    fn judge<T: Default>(&mut self, kind: ProcFile, read: Result<T, Failure>) -> Result<Option<T>, NotReadable> {
        let failure = match read {
            Ok(content) => return Ok(Some(content)),
            Err(failure) if has_ended(&failure) => return Ok(None),
            // Too long for any useful pattern.
            Err(failure) if kind == ProcFile::Command && matches!(failure.error, files::Error::TooLarge(_)) => {
                return Ok(None);
            }
            // The rest of a batch whose time is over, or whose grant is missing.
            Err(_) if !self.may_read(kind) => return Err(NotReadable { was_tried: false }),
            Err(failure) => failure,
        };
        match &failure.error {
            // The agent reports it, and grants change only with a new instance.
            files::Error::Denied(_) => self.denied.push(kind),
            files::Error::Timeout => self.is_late = true,
            _ => {}
        }
        let was_tried = !self.denied.contains(&kind);
        if was_tried {
            Skip { path: kind.path('*'), ..failure.skip() }.report(kind.missing_metrics());
        }
        Err(NotReadable { was_tried })
    }
}

/// The resident and swapped memory of a process. `stat` has the former too, but in pages of unknown size.
pub(crate) fn memory(pid: u32, status: Result<Option<Vec<u8>>, NotReadable>) -> (Option<u64>, Option<u64>) {
    let file = match status {
        Ok(Some(bytes)) => File::new(&ProcFile::Memory.path(pid), files::text(&bytes)),
        Ok(None) => return (Some(0), Some(0)),
        Err(NotReadable { .. }) => return (None, None),
    };
    let read = |mut size: Fields<'_>, what: &str| {
        let bytes = size.bytes(what).and_then(|bytes| {
            COUNT
                .check(bytes)
                .ok_or_else(|| file.error(format_args!("{bytes} is impossible ({what}): {}", COUNT.reason)))
        });
        if let Err(error) = &bytes {
            let skip = error.skip();
            let why = format!("{} in {}", skip.why, skip.path);
            Skip { path: ProcFile::Memory.path('*'), why, ..skip }.report(format_args!("{what} of groups"));
        }
        bytes.ok()
    };
    let (mut resident, mut swapped) = (None, None);
    // The other lines are many.
    for line in file.lines().filter(|line| line.text().starts_with("Vm")) {
        match line.key_values() {
            ("VmRSS", size) => resident = Some(read(size, "resident memory")),
            ("VmSwap", size) => swapped = Some(read(size, "swapped memory")),
            _ => {}
        }
        if resident.is_some() && swapped.is_some() {
            break;
        }
    }
    match (resident, swapped) {
        // Kernel threads have no memory of their own.
        (None, None) => (Some(0), Some(0)),
        (resident, swapped) => (resident.flatten(), swapped.flatten()),
    }
}
