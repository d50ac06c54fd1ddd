//! Sealed copies of files: in memory, immutable, identified by their hash. Plugins and artifacts pass between file, compiler
//! and cache in this form. They do not pass through the heap, which would keep much of the memory, and a mapped copy cannot
//! be truncated.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::plugin::shortage::explain;

/// How much is hashed at a time: little enough for the heap to give it back.
const CHUNK_BYTES: usize = 64 << 10;

/// How many files are read at a time: each is in memory meanwhile, up to 32 MiB.
pub(crate) const CONCURRENT_LOADS: usize = 8;

/// The remedy where there are no files in memory.
const CHECK_REMEDY: &str =
    "run the agent on Linux 3.17 or later with /proc, and let its sandbox allow memfd_create(2) and fcntl(2)";

/// The SHA-256 of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hash(pub(crate) [u8; 32]);

impl Hash {
    /// All 64 digits.
    pub(crate) fn to_hex(self) -> String {
        hex(&self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        // Writing to a string does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// The first eight digits.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0[..4]))
    }
}

/// An immutable copy of a file.
#[derive(Debug)]
pub(crate) struct Sealed {
    file: File,
    length: u64,
    hash: Hash,
}

impl Sealed {
    /// Copies a source to its end.
    pub(crate) fn copy(mut source: impl Read) -> io::Result<Self> {
        let mut blank = blank()?;
        io::copy(&mut source, &mut blank)?;
        Self::seal(blank)
    }

    /// Seals a written [`blank`] file.
    pub(crate) fn seal(file: File) -> io::Result<Self> {
        forbid_changes(&file)?;
        let (mut sha, mut chunk, mut length) = (Sha256::new(), vec![0; CHUNK_BYTES], 0);
        loop {
            match file.read_at(&mut chunk, length)? {
                0 => break,
                read => {
                    sha.update(&chunk[..read]);
                    length += read as u64;
                }
            }
        }
        Ok(Self { file, length, hash: Hash(sha.finalize().into()) })
    }

    /// Checks that this host has such files.
    ///
    /// # Errors
    ///
    /// The reason, with the remedy after a semicolon.
    pub(crate) fn check() -> Result<(), String> {
        let checked = Self::copy(io::empty()).and_then(|copy| copy.open());
        checked.map(drop).map_err(|error| {
            let (reason, remedy) = explain(&error, CHECK_REMEDY);
            format!("files in memory (memfd_create): {reason}; {remedy}")
        })
    }

    pub(crate) fn hash(&self) -> Hash {
        self.hash
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The first bytes, as many as fit the buffer.
    pub(crate) fn prefix<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let read = self.file.read_at(buffer, 0)?;
        Ok(&buffer[..read])
    }

    /// The last bytes.
    ///
    /// # Errors
    ///
    /// When it is shorter.
    pub(crate) fn suffix<const BYTES: usize>(&self) -> io::Result<[u8; BYTES]> {
        let at = self.length.checked_sub(BYTES as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut suffix = [0; BYTES];
        self.file.read_exact_at(&mut suffix, at)?;
        Ok(suffix)
    }

    /// Opens it for reading, from its beginning.
    pub(crate) fn open(&self) -> io::Result<File> {
        let mut file = File::open(self.path())?;
        // Where the path is an alias of the descriptor, the offset is shared.
        file.rewind()?;
        Ok(file)
    }

    /// A path by which this process can open it, as long as this exists.
    pub(crate) fn path(&self) -> PathBuf {
        let directory = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
        PathBuf::from(format!("{directory}/{}", self.file.as_raw_fd()))
    }
}

/// An empty file in memory, for this process or a child to write.
#[cfg(target_os = "linux")]
pub(crate) fn blank() -> io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    use rustix::io::Errno;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let made = match memfd_create("gauged", flags | MemfdFlags::NOEXEC_SEAL) {
        // Linux before 6.3 does not know the flag.
        Err(Errno::INVAL) => memfd_create("gauged", flags),
        made => made,
    };
    Ok(made?.into())
}

/// Makes the file immutable for all who have it open.
#[cfg(target_os = "linux")]
fn forbid_changes(file: &File) -> io::Result<()> {
    use rustix::fs::{SealFlags, fcntl_add_seals};
    Ok(fcntl_add_seals(file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?)
}

/// An empty file without a name, for this process or a child to write.
#[cfg(not(target_os = "linux"))]
pub(crate) fn blank() -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::sync::atomic::{AtomicU64, Ordering};
    static MADE: AtomicU64 = AtomicU64::new(0);
    let name = format!("gauged.{}.{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Nothing to do: without a name only this process and the compiler, which has ended, can reach the file.
#[cfg(not(target_os = "linux"))]
fn forbid_changes(_file: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn copies_are_hashed_and_open_at_the_start() {
        let content = Sealed::copy(&b"abc"[..]).expect("copied");
        assert_eq!((content.hash().to_string(), content.length()), ("ba7816bf".to_owned(), 3));
        // The first example of FIPS 180-2.
        let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(content.hash().to_hex(), digits);
        for _ in 0..2 {
            let mut bytes = Vec::new();
            content.open().and_then(|mut file| file.read_to_end(&mut bytes)).expect("read");
            assert_eq!(bytes, b"abc");
        }
        assert_eq!(content.prefix(&mut [0; 2]).expect("read"), b"ab");
        assert_eq!(content.prefix(&mut [0; 9]).expect("read"), b"abc");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn sealed_copies_cannot_be_changed() {
        let mut blank = blank().expect("memory");
        blank.write_all(b"abc").expect("written");
        let mut other = blank.try_clone().expect("duplicated");
        let content = Sealed::seal(blank).expect("sealed");
        assert!(other.write_all(b"d").is_err() && other.set_len(0).is_err());
        assert!(File::options().write(true).open(content.path()).and_then(|mut file| file.write_all(b"d")).is_err());
        assert_eq!(Sealed::copy(content.open().expect("open")).expect("copied").hash(), content.hash());
    }
}
