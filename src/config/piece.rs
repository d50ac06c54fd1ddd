//! The pieces of the configuration: the file and those of `gauged.d`, each read as a whole. Positions are counted through all
//! pieces, so that each value has its file and line. Knows no TOML.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use super::location::is_null_device;

/// The largest file: enough for tables with all keys for a thousand plugins.
const MAX_BYTES: u64 = 1 << 20;

/// The most that all pieces have together: every value is held with its place.
const MAX_TOTAL_BYTES: u64 = 4 << 20;

/// A file of the configuration.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) path: Arc<Path>,
    /// The text, or why there is none, with the remedy.
    pub(super) text: Result<String, String>,
}

/// The bytes that the pieces that are yet to be read may have together.
#[derive(Debug)]
pub(super) struct Budget(u64);

/// Where a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of the piece.
    pub(super) piece: usize,
    pub(crate) file: Arc<Path>,
    /// From 1.
    pub(crate) line: usize,
}

/// Finds the file and line of a position in all pieces.
pub(super) struct Places<'a> {
    pieces: &'a [Piece],
    /// The position at which each piece begins.
    starts: Vec<usize>,
    /// The positions at which lines end.
    line_ends: Vec<usize>,
}

impl Piece {
    /// Reads a file, unless it is larger than the budget. `remedy` is for one that cannot be read.
    pub(super) fn read(path: PathBuf, budget: &mut Budget, remedy: &str) -> Self {
        let max_bytes = MAX_BYTES.min(budget.0);
        let text = read(&path, max_bytes).map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::FileTooLarge if max_bytes < MAX_BYTES => {
                    // Of the files that follow, none is read either, to find the one that would fit.
                    budget.0 = 0;
                    return "makes the configuration larger than 4 MiB; make the files smaller".to_owned();
                }
                io::ErrorKind::FileTooLarge => "make it smaller: comments count, too",
                io::ErrorKind::InvalidData => "save it as UTF-8",
                _ => remedy,
            };
            format!("failed to read it: {error}; {remedy}")
        });
        let piece = Self { path: path.into(), text };
        budget.0 -= piece.len() as u64;
        piece
    }

    /// A piece with this text.
    #[cfg(any(test, fuzzing))]
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: Path::new(path).into(), text: Ok(text.to_owned()) }
    }

    /// A piece that cannot be read, and why.
    pub(super) fn unreadable(path: PathBuf, why: String) -> Self {
        Self { path: path.into(), text: Err(why) }
    }

    /// The length of its text.
    pub(super) fn len(&self) -> usize {
        self.text.as_ref().map_or(0, String::len)
    }
}

impl Budget {
    /// That of all pieces.
    pub(super) fn new() -> Self {
        Self(MAX_TOTAL_BYTES)
    }
}

/// Reads a regular file of bounded size. A pipe may have no writer, and a device no end.
fn read(path: &Path, max_bytes: u64) -> io::Result<String> {
    let file = File::from(rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?);
    let metadata = file.metadata()?;
    // The null device stands for an empty file.
    if !metadata.is_file() && !is_null_device(&metadata) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut text = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut text)?;
    if text.len() as u64 > max_bytes {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    String::from_utf8(text).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

impl<'a> Places<'a> {
    pub(super) fn new(pieces: &'a [Piece]) -> Self {
        let (mut starts, mut line_ends, mut start) = (Vec::new(), Vec::new(), 0);
        for piece in pieces {
            starts.push(start);
            let text = piece.text.as_deref().unwrap_or_default();
            line_ends.extend(text.match_indices('\n').map(|(at, _)| start + at));
            // One more, so that the end of a text is in it.
            start += text.len() + 1;
        }
        Self { pieces, starts, line_ends }
    }

    /// The file of a piece.
    pub(super) fn file(&self, piece: usize) -> &'a Path {
        &self.pieces[piece].path
    }

    /// The file and line of a position.
    pub(super) fn find(&self, position: usize) -> Place {
        let piece = self.starts.partition_point(|&start| start <= position) - 1;
        let lines_before = |position| self.line_ends.partition_point(|&end| end < position);
        let line = lines_before(position) - lines_before(self.starts[piece]) + 1;
        Place { piece, file: Arc::clone(&self.pieces[piece].path), line }
    }
}
