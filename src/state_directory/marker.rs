//! The marker: a file that is there while an agent has the directory, and after an agent that did not end cleanly.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::own_file::own_file;

/// The name of the file.
const NAME: &str = "running";

/// Its first line, with the version of its form.
const FIRST_LINE: &str = "gauged running 1";

/// How much older than the last sign of a run the oldest sample may be that it had not written: a sink writes what was not acknowledged
/// for a second, and on a busy machine a second later.
const UNWRITTEN: Duration = Duration::from_secs(2);

/// The longest marker that is read.
const MAX_BYTES: u64 = 4096;

/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// The kernel's number of this boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// An end of an earlier run that was not clean: what was due in this span may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UncleanEnd {
    /// Shortly before the last sign of that run.
    pub(crate) since: SystemTime,
    /// When this run has noticed it.
    pub(crate) until: SystemTime,
    /// Whether the host was booted in between; none if that is not known.
    pub(crate) is_after_boot: Option<bool>,
}

impl UncleanEnd {
    pub(super) fn report(&self, state: &Path) {
        // A clock may be at any time, and a moment of a log line is in four digits of years.
        let moment = |time: SystemTime| {
            let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs().min(LAST_SECOND);
            humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
        };
        let cause = match self.is_after_boot {
            Some(true) => "the host was booted since",
            Some(false) => "the agent was killed, or its end took too long",
            None => "not known",
        };
        let (since, until) = (moment(self.since), moment(self.until));
        tracing::warn!(state = %state.display(), since, until, cause, "unclean end of the last run: samples may be missing");
    }
}

/// The marker of a state directory.
pub(super) struct Marker;

impl Marker {
    pub(super) fn exists(state: &Path) -> bool {
        state.join(NAME).symlink_metadata().is_ok()
    }

    /// Puts a marker in the place of the one that is there.
    pub(super) fn write(state: &Path, now: SystemTime) -> io::Result<()> {
        let boot = boot_id().unwrap_or_default();
        let pid = std::process::id();
        let mut file = own_file().truncate(true).open(state.join(NAME))?;
        write!(file, "{FIRST_LINE}\npid {pid}\nboot {boot}\n")?;
        // That of the disk's own may be another one.
        file.set_modified(now)
    }

    /// Makes the marker the last sign of this run.
    pub(super) fn touch(state: &Path) -> io::Result<()> {
        File::open(state.join(NAME))?.set_modified(SystemTime::now())
    }

    pub(super) fn remove(state: &Path) -> io::Result<()> {
        match fs::remove_file(state.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// The unclean end that the marker of an earlier run tells of. The last sign of that run is the newest file among the marker and
    /// those of the spools.
    pub(super) fn examine(state: &Path, spools: &Path, now: SystemTime) -> Option<UncleanEnd> {
        let path = state.join(NAME);
        let written = path.symlink_metadata().ok()?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let text = File::open(&path).and_then(|file| io::read_to_string(io::Read::take(file, MAX_BYTES)));
        let field = |name: &str| {
            let value = text.as_ref().ok()?.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.filter(|value| !value.is_empty())
        };
        let is_after_boot = field("boot").zip(boot_id()).map(|(then, today)| *then != today);
        let since = newest_file(spools).map_or(written, |newest| newest.max(written));
        let since = since.checked_sub(UNWRITTEN).unwrap_or(SystemTime::UNIX_EPOCH);
        // The clock may have been set back.
        Some(UncleanEnd { since: since.min(now), until: now, is_after_boot })
    }
}

/// When one of the files of the spools was written last.
fn newest_file(spools: &Path) -> Option<SystemTime> {
    let directories = fs::read_dir(spools).ok()?.flatten().filter_map(|entry| fs::read_dir(entry.path()).ok());
    let files = directories.flat_map(Iterator::flatten);
    files.filter_map(|file| file.metadata().ok()?.modified().ok()).max()
}

fn boot_id() -> Option<String> {
    let text = fs::read_to_string(BOOT_ID).ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}
