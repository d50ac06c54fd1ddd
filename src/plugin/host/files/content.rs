//! Contents of files: whole, or a piece.

use std::cell::OnceCell;
use std::fs::File;
use std::os::fd::OwnedFd;
#[cfg(target_os = "linux")]
use std::path::Path;

use rustix::fs::{FileType, Mode};
use rustix::io::{pread, retry_on_intr};

use super::access::{FilesError, READING, resolve_granted};
#[cfg(target_os = "linux")]
use super::process_state;
use crate::plugin::grants::{Basis, Grants};
#[cfg(target_os = "linux")]
use crate::plugin::host::own_tasks;
use crate::plugin::host::own_view;
use crate::plugin::host::resolved_path::PathError;

/// The most bytes that are read at a time: `/proc/1/mountinfo` of a thousand containers, whose layers are in its lines.
pub(super) const FILE_BYTES: usize = 4 << 20;

/// The size of most of the kernel's files.
const USUAL_BYTES: usize = 8 << 10;

/// The least that the kernel generates of a file at a time, if there is as much.
const PAGE_BYTES: usize = 4 << 10;

/// The beginning of the paths of control groups.
const GROUPS: &str = "/sys/fs/cgroup/";

/// Reads a file of any size that is permitted.
pub(super) fn read(grants: &Grants, path: &str) -> Result<Vec<u8>, FilesError> {
    let mut content = Vec::new();
    let length = read_into(grants, path, &mut content, FILE_BYTES, None)?.len();
    content.truncate(length);
    Ok(content)
}

/// Reads one file after the other, with what serves all of them.
#[derive(Debug, Default)]
pub(super) struct Reader {
    buffer: Vec<u8>,
    groups: GroupRoot,
}

impl Reader {
    /// Reads a file of at most so many bytes.
    pub(super) fn read(&mut self, grants: &Grants, path: &str, most: usize) -> Result<Vec<u8>, FilesError> {
        read_into(grants, path, &mut self.buffer, most, Some(&self.groups)).map(<[u8]>::to_vec)
    }
}

/// The directory of the control groups, once a file below it was read. None where it cannot be opened. For the files of one call
/// only: the next one finds what is mounted there by then.
type GroupRoot = OnceCell<Option<OwnedFd>>;

/// Reads a file of at most so many bytes into a buffer, which serves one file after the other.
fn read_into<'b>(
    grants: &Grants,
    path: &str,
    buffer: &'b mut Vec<u8>,
    most: usize,
    groups: Option<&GroupRoot>,
) -> Result<&'b [u8], FilesError> {
    if buffer.is_empty() {
        buffer.resize(USUAL_BYTES.min(most + 1), 0);
    }
    #[cfg(target_os = "linux")]
    if let Some(length) = process_state::read_state(grants, path, buffer).filter(|&length| length <= most) {
        return Ok(&buffer[..length]);
    }
    let (file, mut length) = (open(grants, path, groups)?, 0);
    // The kernel generates most of its files anew for each piece that is read, so the first one is for a whole file. The byte
    // beyond the limit shows that there is more.
    loop {
        if length == buffer.len() {
            buffer.resize((2 * length).min(most + 1), 0);
        }
        let end = buffer.len().min(most + 1);
        let read = retry_on_intr(|| rustix::io::read(&file, &mut buffer[length..end]))?;
        let is_whole = read == 0 || (length == 0 && read < end && is_whole_group_file(path, read));
        length += read;
        if length > most {
            return Err(FilesError::TooLarge(most as u64));
        }
        if is_whole {
            return Ok(&buffer[..length]);
        }
    }
}

/// Whether a first piece that left room in the buffer is a whole file of a control group. Those files come at once, or, such as
/// `cgroup.procs`, in short lines that fill a page of memory: a piece that ends in its first half ends with the file.
pub(super) fn is_whole_group_file(path: &str, bytes: usize) -> bool {
    bytes < PAGE_BYTES / 2 && path.starts_with(GROUPS)
}

pub(super) fn read_at(grants: &Grants, path: &str, offset: u64, max_bytes: u32) -> Result<Vec<u8>, FilesError> {
    let (file, wanted) = (open(grants, path, None)?, FILE_BYTES.min(max_bytes as usize));
    let mut piece = Vec::with_capacity(USUAL_BYTES.min(wanted));
    // No file is that long, and no system call takes the offset.
    let Ok(_) = i64::try_from(offset.saturating_add(FILE_BYTES as u64)) else { return Ok(piece) };
    while piece.len() < wanted {
        let begin = piece.len();
        piece.resize(wanted.min((2 * begin).max(USUAL_BYTES)), 0);
        let read = retry_on_intr(|| pread(&file, &mut piece[begin..], offset + begin as u64))?;
        piece.truncate(begin + read);
        if read == 0 {
            break;
        }
    }
    Ok(piece)
}

fn open(grants: &Grants, path: &str, groups: Option<&GroupRoot>) -> Result<File, FilesError> {
    if let Some(file) = open_kernel_file(grants, path, groups) {
        return Ok(file);
    }
    match open_resolved(grants, path) {
        Err(PathError::NotPermitted(error)) => {
            let own = grants.read(path).ok().and_then(|basis| own_view::open(grants.root(), path, basis));
            Ok(own.unwrap_or(Err(PathError::NotPermitted(error)))?)
        }
        opened => Ok(opened?),
    }
}

fn open_resolved(grants: &Grants, path: &str) -> Result<File, PathError> {
    let opened = resolve_granted(grants, path, FileType::RegularFile, Grants::read)
        .and_then(|resolved| Ok(File::from(rustix::fs::open(&resolved.path, READING, Mode::empty())?)));
    opened.map_err(|error| own_view::explain(error, grants.root(), path))
}

/// Opens a file of the kernel directly, with half of the system calls: without a link on the way the path leads to the granted
/// file, and opening a kernel file has no effect. None for everything else, which [`resolve_granted`] handles, and for all that is
/// refused.
#[cfg(target_os = "linux")]
fn open_kernel_file(grants: &Grants, path: &str, groups: Option<&GroupRoot>) -> Option<File> {
    use rustix::fs::fstat;
    if !["/proc/", "/sys/"].iter().any(|kernels| path.starts_with(kernels)) || grants.root() != Path::new("/") {
        return None;
    }
    let basis = grants.reads_by_text(path)?;
    let file = open_without_links(path, groups).ok()?;
    let status = fstat(&file).ok()?;
    if own_tasks::is_own(path, &status).unwrap_or_else(|| grants.has_become_own(path)) {
        return None;
    }
    let is_open_to_all = Mode::from_raw_mode(status.st_mode).contains(Mode::ROTH);
    let is_file = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
    (is_file && (is_open_to_all || basis == Basis::Configuration)).then(|| File::from(file))
}

/// Opens a normalized path. The kernel looks up each of its segments: of many control groups, the common ones once.
#[cfg(target_os = "linux")]
fn open_without_links(path: &str, groups: Option<&GroupRoot>) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{CWD, OFlags, ResolveFlags, openat2};
    let resolve = ResolveFlags::NO_SYMLINKS;
    let open_root = || {
        let flags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
        openat2(CWD, GROUPS.trim_end_matches('/'), flags, Mode::empty(), resolve).ok()
    };
    // Such a path has no `..`, so that without links it stays below the directory.
    if let Some((below, groups)) = path.strip_prefix(GROUPS).zip(groups)
        && let Some(root) = groups.get_or_init(open_root)
    {
        return openat2(root, below, READING, Mode::empty(), resolve);
    }
    openat2(CWD, path, READING, Mode::empty(), resolve)
}

#[cfg(not(target_os = "linux"))]
fn open_kernel_file(_grants: &Grants, _path: &str, _groups: Option<&GroupRoot>) -> Option<File> {
    None
}
