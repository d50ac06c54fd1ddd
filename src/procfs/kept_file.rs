//! A kernel file that is read at every tick, from a descriptor that stays open. The log has a line when the file as a whole
//! begins to be of no use, and one when it is of use again; for its parts see [`super::oddity`].

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::oddity::{Oddities, Oddity};
use crate::hostpath::below;

/// The first size of a buffer: enough for `/proc/meminfo`, and for `/proc/stat` with a few dozen CPUs.
const INITIAL_BYTES: usize = 8 * 1024;

/// The largest file: `/proc/stat` with 4096 CPUs has about 1 MiB, `/proc/cpuinfo` about 6 MiB.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// How files are opened: one that is a named pipe must not wait for its writer.
const READING: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// A file that is read at every tick.
#[derive(Debug)]
pub(crate) struct KeptFile {
    path: PathBuf,
    extent: Extent,
    file: Option<File>,
    buffer: Vec<u8>,
    /// How much of the buffer the last reading filled.
    length: usize,
    failure: Option<Failure>,
    /// The same for the operator.
    problem: Option<Arc<FileProblem>>,
    oddities: Oddities,
}

/// Why a file that is read at every tick is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// The end of a sentence that begins with the collector, on one line.
    pub reason: String,
    /// The action for the operator, where there is one.
    pub remedy: Option<&'static str>,
    /// Whether this kernel or container does not have the file: then nothing is wrong.
    pub is_missing: bool,
}

/// A file could not be read or parsed; the log says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadError;

/// How the kernel hands out a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All at once: a read that does not fill the buffer was the last one.
    Whole,
    /// Record by record: only an empty read is the end.
    Records,
}

/// Why a file as a whole is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// This kernel or container does not have it.
    Missing,
    /// It cannot be opened or read.
    Unreadable(io::ErrorKind),
    /// It has nothing that the parser knows.
    Useless(&'static str),
}

impl KeptFile {
    /// A file that the kernel hands out all at once (`single_open`): `/proc/stat`, `/proc/loadavg`, `/proc/meminfo`. The
    /// path is absolute on the measured host. The file is opened at the first read.
    #[must_use]
    pub(crate) fn whole(root: &Path, path: &str) -> Self {
        Self::new(root, path, Extent::Whole)
    }

    /// A file that the kernel hands out record by record: `/proc/vmstat`, `/proc/zoneinfo`.
    #[must_use]
    pub(crate) fn records(root: &Path, path: &str) -> Self {
        Self::new(root, path, Extent::Records)
    }

    fn new(root: &Path, path: &str, extent: Extent) -> Self {
        Self {
            path: below(root, path),
            extent,
            file: None,
            buffer: Vec::new(),
            length: 0,
            failure: None,
            problem: None,
            oddities: Oddities::default(),
        }
    }

    /// Reads the file from its start and parses it.
    pub(crate) fn read<T>(&mut self, parse: impl FnOnce(&[u8]) -> Result<T, &'static str>) -> Result<T, ReadError> {
        self.read_noting(|text, _| parse(text))
    }

    /// Reads the file from its start and parses what can be parsed. The parser notes the rest, and fails only when nothing of the
    /// file is of use.
    pub(crate) fn read_noting<T>(
        &mut self,
        parse: impl FnOnce(&[u8], &mut Oddities) -> Result<T, &'static str>,
    ) -> Result<T, ReadError> {
        self.oddities.begin();
        self.length = match self.fill() {
            Ok(length) => length,
            Err(error) => {
                self.file = None;
                self.length = 0;
                self.report_failure(Some(Failure::new(&error)), Some(&error));
                return Err(ReadError);
            }
        };
        let text = &self.buffer[..self.length];
        self.oddities.begin_text(text);
        match parse(text, &mut self.oddities) {
            Ok(parsed) => {
                self.oddities.report(&self.path, text);
                self.report_failure(None, None);
                Ok(parsed)
            }
            Err(reason) => {
                self.report_failure(Some(Failure::Useless(reason)), None);
                Err(ReadError)
            }
        }
    }

    /// Notes something that came to light after the file was parsed.
    pub(crate) fn note(&mut self, oddity: Oddity) {
        self.oddities.note_missing(oddity);
        self.oddities.report(&self.path, &self.buffer[..self.length]);
    }

    /// The number of lines and values that were left out so far.
    #[must_use]
    pub(crate) fn skipped_lines(&self) -> u64 {
        self.oddities.count()
    }

    /// Why the file was of no use when it was read last.
    #[must_use]
    pub(crate) fn problem(&self) -> Option<&Arc<FileProblem>> {
        self.problem.as_ref()
    }

    /// Reports a change between failures, and between a failure and success.
    fn report_failure(&mut self, failure: Option<Failure>, error: Option<&io::Error>) {
        let before = std::mem::replace(&mut self.failure, failure);
        if before == failure {
            return;
        }
        let file = self.path.display();
        self.problem = None;
        let Some(failure) = failure else {
            if before == Some(Failure::Missing) {
                tracing::debug!(%file, "kernel file found");
            } else {
                tracing::info!(%file, "kernel file readable again");
            }
            return;
        };
        let consequence = "its metrics are null until it can be read";
        let reason = match (failure, error) {
            (Failure::Useless(why), _) => format!("failed to parse it: {why}"),
            (_, Some(error)) => format!("failed to read it: {error}"),
            (_, None) => "failed to read it".to_owned(),
        };
        let remedy = failure.remedy();
        let is_missing = failure == Failure::Missing;
        self.problem = Some(Arc::new(FileProblem { reason: format!("{file}: {reason}"), remedy, is_missing }));
        if failure == Failure::Missing {
            tracing::debug!(%file, reason, consequence, "kernel file missing");
        } else {
            tracing::warn!(%file, reason, consequence, remedy, "kernel file not readable");
        }
    }

    /// Reads the whole file into the buffer. Returns its length.
    fn fill(&mut self) -> io::Result<usize> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(open(&self.path)?),
        };
        if self.buffer.is_empty() {
            self.buffer.resize(INITIAL_BYTES, 0);
        }
        let mut filled = 0;
        loop {
            let read = file.read_at(&mut self.buffer[filled..], filled as u64)?;
            if read == 0 {
                return Ok(filled);
            }
            filled += read;
            if filled < self.buffer.len() && self.extent == Extent::Whole {
                return Ok(filled);
            }
            if filled == self.buffer.len() {
                if filled >= MAX_BYTES {
                    return Err(too_large());
                }
                self.buffer.resize(filled * 2, 0);
            }
        }
    }
}

impl Failure {
    fn new(error: &io::Error) -> Self {
        if is_missing(error) { Self::Missing } else { Self::Unreadable(error.kind()) }
    }

    fn remedy(self) -> Option<&'static str> {
        match self {
            Self::Unreadable(io::ErrorKind::PermissionDenied) => Some(REFUSED_REMEDY),
            _ => None,
        }
    }
}

/// The remedy for a file that the agent may not read.
pub(super) const REFUSED_REMEDY: &str =
    "let the agent's user read it, or turn its collector off with enabled = false; an app on Android cannot read it";

/// Whether an error means that there is no such file.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "larger than 8 MiB")
}

/// Opens a regular file. Anything else could wait or have no end.
fn open(path: &Path) -> io::Result<File> {
    let file = File::from(openat(CWD, path, READING, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// Reads the whole of a file that is not kept open.
///
/// # Errors
///
/// When it cannot be read, is no regular file, or is too large.
pub(crate) fn read_once(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut content)?;
    if content.len() > MAX_BYTES { Err(too_large()) } else { Ok(content) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "the type of a parser")]
    fn whole(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
        Ok(bytes.to_vec())
    }

    #[test]
    fn files_larger_than_the_buffer_are_read_whole() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let content: Vec<u8> = (b'a'..=b'w').cycle().take(3 * INITIAL_BYTES).collect();
        fs::write(root.path().join("stat"), &content).expect("written");
        let mut file = KeptFile::whole(root.path(), "/stat");
        assert_eq!(file.read(whole).ok().as_deref(), Some(&content[..]));
        assert_eq!(file.read(whole).ok().as_deref(), Some(&content[..]), "the second read is from the start, too");
        assert_eq!(read_once(&root.path().join("stat")).ok(), Some(content));
    }

    #[test]
    fn a_file_that_appears_later_is_read() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let mut file = KeptFile::records(root.path(), "/late");
        assert!(file.read(whole).is_err());
        assert_eq!(file.failure, Some(Failure::Missing));
        fs::write(root.path().join("late"), "x").expect("written");
        assert_eq!(file.read(whole).ok().as_deref(), Some(&b"x"[..]));
        assert!(file.read(|_| Err::<(), _>("nonsense")).is_err());
        assert_eq!(file.failure, Some(Failure::Useless("nonsense")));
    }

    #[test]
    fn pipes_and_directories_are_not_waited_for() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let pipe = root.path().join("pipe");
        rustix::fs::mkfifoat(CWD, &pipe, Mode::from_raw_mode(0o600)).expect("made");
        fs::create_dir(root.path().join("directory")).expect("created");
        for name in ["pipe", "directory"] {
            let mut file = KeptFile::whole(root.path(), name);
            assert!(file.read(whole).is_err(), "{name}");
            assert_eq!(file.failure, Some(Failure::Unreadable(io::ErrorKind::InvalidInput)), "{name}");
            assert!(read_once(&root.path().join(name)).is_err(), "{name}");
        }
        std::os::unix::fs::symlink("/dev/zero", root.path().join("endless")).expect("linked");
        assert!(read_once(&root.path().join("endless")).is_err());
    }
}
