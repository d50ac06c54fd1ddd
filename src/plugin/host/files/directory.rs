//! Names in directories, with their types.

use std::fs;

use rustix::fs::FileType;

use super::access::{FilesError, resolve_granted};
use crate::plugin::grants::Grants;
use crate::plugin::guest::bindings::gauged::plugin::files::{Entry, FileType as Kind};
use crate::plugin::host::own_view;

/// The most names that a directory may have: the processes of a large host, and some room.
pub(super) const NAMES: usize = 100_000;

/// The most bytes of all names together, which the agent holds for the guest: 40 for each of so many.
pub(super) const NAME_BYTES: usize = 4 << 20;

pub(super) fn list(grants: &Grants, path: &str) -> Result<Vec<Entry>, FilesError> {
    let resolved = resolve_granted(grants, path, FileType::Directory, Grants::list)
        .map_err(|error| own_view::explain(error, grants.root(), path))?;
    let (mut entries, mut bytes) = (Vec::new(), 0);
    for entry in fs::read_dir(&resolved.path)? {
        let entry = entry?;
        // A guest cannot name a file whose name is not text.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if entries.len() == NAMES {
            return Err(FilesError::TooLarge(NAMES as u64));
        }
        bytes += name.len();
        if bytes > NAME_BYTES {
            return Err(FilesError::TooLarge(NAME_BYTES as u64));
        }
        // Most directories have the types beside the names. A file that has just gone has none.
        let kind = entry.file_type().map_or(Kind::Unknown, |found| kind(to_file_type(found)));
        entries.push(Entry { name, kind });
    }
    entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

/// The type of a file, for the guest.
pub(super) fn kind(file_type: FileType) -> Kind {
    match file_type {
        FileType::RegularFile => Kind::Regular,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::SymbolicLink,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::CharacterDevice => Kind::CharacterDevice,
        FileType::Fifo => Kind::Pipe,
        FileType::Socket => Kind::Socket,
        FileType::Unknown => Kind::Unknown,
    }
}

fn to_file_type(found: fs::FileType) -> FileType {
    use std::os::unix::fs::FileTypeExt as _;
    if found.is_file() {
        FileType::RegularFile
    } else if found.is_dir() {
        FileType::Directory
    } else if found.is_symlink() {
        FileType::Symlink
    } else if found.is_block_device() {
        FileType::BlockDevice
    } else if found.is_char_device() {
        FileType::CharacterDevice
    } else if found.is_fifo() {
        FileType::Fifo
    } else if found.is_socket() {
        FileType::Socket
    } else {
        FileType::Unknown
    }
}
