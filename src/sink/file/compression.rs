//! Compresses rotated files, in a thread of its own that has the lowest priority and ends when there is nothing to do. On each file
//! system one file is compressed at a time: one that hangs holds up its own files only. Which files stay is up to the writer.
//!
//! A file is compressed under a temporary name, which becomes the final one when the data is on the disk; then the plain file is
//! removed. Whenever the agent or the host stops in between, the plain file or the complete other one is there. The next start
//! removes the temporary one and compresses what is left.

use std::fs::{self, File, FileTimes, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{OFlags, fstatvfs};
use rustix::process::nice;

use super::error::failed;
use super::rotated::{self, Form, Stamp};
use super::turns::Turns;
use crate::config::FileSettings;
use crate::sink::error::{ErrorReason, SinkError};
use crate::thread;

/// The lowest priority of a thread.
const NICE: i32 = 19;

/// How much is read at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// The permissions of a compressed file until it has those of the plain one.
const PRIVATE_MODE: u32 = 0o600;

/// The turns of the process.
#[cfg(not(test))]
fn turns() -> &'static Turns {
    static TURNS: Turns = Turns::new();
    &TURNS
}

/// The turns of a test: others in its process do not wait for it.
#[cfg(test)]
fn turns() -> &'static Turns {
    thread_local! {
        static TURNS: &'static Turns = Box::leak(Box::new(Turns::new()));
    }
    TURNS.with(|turns| *turns)
}

/// Compresses the rotated files of one file.
#[derive(Debug, Clone)]
pub(super) struct Compressor {
    file: Arc<Path>,
    /// Otherwise it only removes what was left over.
    is_enabled: bool,
    /// Shared with the thread; held for a few instructions.
    state: Arc<Mutex<State>>,
    turns: &'static Turns,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// The last failure, until a file is compressed.
    error: Option<SinkError>,
}

/// Whether there is a thread. Idle → Running at a request, Running → `RunningAgain` at another one, which the thread takes as
/// Running when it has looked at all files, or else Idle.
#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    Running,
    RunningAgain,
}

impl Compressor {
    pub(super) fn new(settings: &FileSettings) -> Self {
        let FileSettings { path, compress, .. } = settings;
        Self { file: path.as_path().into(), is_enabled: *compress, state: Arc::default(), turns: turns() }
    }

    /// The failure that has not passed.
    pub(super) fn error(&self) -> Option<SinkError> {
        self.lock().error.clone()
    }

    /// Asks for all rotated files to be compressed. Does not wait.
    pub(super) fn request(&self) {
        let mut state = self.lock();
        if state.phase != Phase::Idle {
            state.phase = Phase::RunningAgain;
            return;
        }
        let Some(entry) = self.turns.enter() else {
            drop(state);
            // It is asked for again at the next rotation.
            return self.fail(SinkError {
                reason: ErrorReason::Io,
                text: format!("too many compressions hang, and that of {} is not begun", self.file.display()),
                remedy: "check the disks of the other files of samples; the agent needs a restart where one stays dead",
            });
        };
        state.phase = Phase::Running;
        drop(state);
        let thread = self.clone();
        let run = move || {
            thread.run();
            drop(entry);
        };
        if let Err(error) = thread::start("gzip", run) {
            self.lock().phase = Phase::Idle;
            let (reason, remedy) = (error.to_string(), thread::remedy(&error));
            // It is asked for again at the next rotation.
            tracing::warn!(path = %self.file.display(), reason, remedy, "no thread for compression");
        }
    }

    fn run(&self) {
        // It only takes longer where that is refused.
        let _ = nice(NICE);
        loop {
            self.compress_all();
            let mut state = self.lock();
            if state.phase == Phase::RunningAgain {
                state.phase = Phase::Running;
            } else {
                state.phase = Phase::Idle;
                return;
            }
        }
    }

    fn compress_all(&self) {
        let file = &*self.file;
        let device = match fs::metadata(rotated::directory(file)) {
            Ok(metadata) => metadata.dev(),
            Err(error) => return self.fail(failed("failed to examine the directory of", file, &error)),
        };
        // Also of two sinks that follow one another at a path.
        let _turn = self.turns.take(device);
        let stamps = match rotated::remove_temporaries(file).and_then(|()| rotated::list_plain(file)) {
            Ok(stamps) => stamps,
            Err(error) => return self.fail(failed("failed to list the rotated files of", file, &error)),
        };
        for stamp in stamps.into_iter().filter(|_| self.is_enabled) {
            match compress(file, stamp) {
                Ok(()) => self.succeed(),
                // The others would fail in the same way, or are tried again later.
                Err(error) => {
                    let plain = rotated::path(file, stamp, Form::Plain);
                    return self.fail(failed("failed to compress", &plain, &error));
                }
            }
        }
    }

    fn fail(&self, error: SinkError) {
        let mut state = self.lock();
        let is_known = state.error.as_ref().is_some_and(|known| known.reason == error.reason);
        state.error = Some(error.clone());
        drop(state);
        if !is_known {
            let SinkError { text: reason, remedy, .. } = error;
            tracing::warn!(path = %self.file.display(), reason, remedy, "rotated file not compressed");
        }
    }

    fn succeed(&self) {
        if self.lock().error.take().is_some() {
            tracing::info!(path = %self.file.display(), "rotated files compressed again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Replaces a plain file by a compressed one. One that was removed meanwhile is none any more.
fn compress(file: &Path, stamp: Stamp) -> io::Result<()> {
    let [plain, temporary, compressed] =
        [Form::Plain, Form::Temporary, Form::Gzip].map(|form| rotated::path(file, stamp, form));
    let source = match open_plain(&plain) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    check_space(&source)?;
    let result = write_compressed(source, &temporary).and_then(|()| fs::rename(&temporary, &compressed));
    if result.is_err() {
        // Otherwise the next start does it.
        let _ = fs::remove_file(&temporary);
        return result;
    }
    rotated::sync_directory(file)?;
    match fs::remove_file(&plain) {
        // It was the oldest one, and had to go.
        Err(error) if error.kind() == io::ErrorKind::NotFound => rotated::remove(file, stamp, Form::Gzip),
        removed => removed,
    }
}

fn open_plain(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// The file system has to have room for the plain file once more: lines that come meanwhile must not lose their space to a compressed
/// file, which is seldom larger than a fifth.
fn check_space(source: &File) -> io::Result<()> {
    let (length, system) = (source.metadata()?.len(), fstatvfs(source)?);
    let available = system.f_bavail.saturating_mul(system.f_frsize);
    // Some do not know their size.
    if system.f_blocks > 0 && available < length {
        let reason = "the disk has less space than the plain file needs once more";
        return Err(io::Error::new(io::ErrorKind::StorageFull, reason));
    }
    Ok(())
}

/// Writes a file compressed, with its permissions and times, and waits until it is on the disk.
fn write_compressed(mut source: File, temporary: &Path) -> io::Result<()> {
    let target = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_MODE).open(temporary)?;
    let mut encoder = GzEncoder::new(target, Compression::default());
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut length = 0;
    loop {
        match source.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => {
                encoder.write_all(&chunk[..count])?;
                length += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let target = encoder.finish()?;
    let metadata = source.metadata()?;
    copy_attributes(&metadata, &target)?;
    target.sync_all()?;
    // Somebody appends to it: the next attempt has it all.
    if source.metadata()?.len() != length {
        return Err(io::Error::other("it is still written to"));
    }
    Ok(())
}

fn copy_attributes(metadata: &Metadata, target: &File) -> io::Result<()> {
    target.set_permissions(fs::Permissions::from_mode(metadata.permissions().mode() & 0o777))?;
    if let Ok(modified) = metadata.modified() {
        target.set_times(FileTimes::new().set_modified(modified))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use super::super::turns::MAX_ENTRIES;
    use super::*;

    /// A directory with so many rotated files, a compressor for them with turns of its own, and the directory's device.
    fn place(files: usize) -> (tempfile::TempDir, Compressor, u64) {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = FileSettings { keep: 1, ..FileSettings::new(directory.path().join("a")) };
        for day in 1..=files {
            fs::write(directory.path().join(format!("a-2020010{day}T000000.000Z")), "a line\n").expect("written");
        }
        let compressor = Compressor { turns: Box::leak(Box::default()), ..Compressor::new(&settings) };
        let device = fs::metadata(directory.path()).expect("there").dev();
        (directory, compressor, device)
    }

    fn names(directory: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).expect("readable");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("readable").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    fn wait_until(condition: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(120);
        while !condition() {
            assert!(Instant::now() < until, "never");
            // A compression is nice: it gets nothing beside a test that is busy.
            sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn compressor_removes_no_file_beyond_keep() {
        let (directory, compressor, _) = place(3);
        compressor.compress_all();
        let expected = [1, 2, 3].map(|day| format!("a-2020010{day}T000000.000Z.gz"));
        assert_eq!(names(&directory), expected);
    }

    #[test]
    fn hanging_disk_holds_up_no_other_one() {
        let (directory, compressor, device) = place(1);
        let _hanging = compressor.turns.take(device + 1);
        compressor.request();
        wait_until(|| names(&directory) == ["a-20200101T000000.000Z.gz"]);
    }

    #[test]
    fn too_many_hanging_compressions_are_reported() {
        let (directory, compressor, device) = place(1);
        let hanging = compressor.turns.take(device);
        let others: Vec<Compressor> =
            (0..MAX_ENTRIES).map(|_| Compressor { state: Arc::default(), ..compressor.clone() }).collect();
        others.iter().for_each(Compressor::request);
        compressor.request();
        let error = compressor.error().expect("one");
        assert!(error.text.starts_with("too many compressions hang"), "{error:?}");
        assert!(others.iter().all(|other| other.error().is_none()));
        drop(hanging);
        wait_until(|| others.iter().all(|other| other.lock().phase == Phase::Idle));
        assert_eq!(names(&directory), ["a-20200101T000000.000Z.gz"]);
        fs::write(directory.path().join("a-20200102T000000.000Z"), "a line\n").expect("written");
        wait_until(|| {
            compressor.request();
            compressor.error().is_none()
                && names(&directory) == [1, 2].map(|day| format!("a-2020010{day}T000000.000Z.gz"))
        });
    }
}
