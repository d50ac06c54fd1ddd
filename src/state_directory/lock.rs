//! The lock of the state directory: a file that one agent has locked, with the agent's process id in it. The kernel takes the lock
//! back when the process ends, however it ends.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::own_file::own_file;

/// The name of the file.
const NAME: &str = "lock";

/// How often the file is opened again which another agent has removed between opening and locking.
const ATTEMPTS: usize = 10;

/// The lock, which is held as long as this exists.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Takes the lock of a directory. Inside: the process id of the agent that has it, if the file says that.
    pub(super) fn take(directory: &Path) -> io::Result<Result<Self, Option<u32>>> {
        let path = directory.join(NAME);
        for _ in 0..ATTEMPTS {
            let mut file = own_file().read(true).open(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    let mut pid = String::new();
                    // The other agent may be about to write it.
                    let _ = file.take(32).read_to_string(&mut pid);
                    return Ok(Err(pid.trim().parse().ok()));
                }
                Err(error) => return Err(error.into()),
            }
            let lock = Self(file.try_clone()?);
            // Whoever had it before may have removed the file meanwhile.
            if lock.is_in_place(directory) {
                file.set_len(0)?;
                writeln!(file, "{}", std::process::id())?;
                return Ok(Ok(lock));
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Whether the file that is locked is still the one in the directory.
    pub(super) fn is_in_place(&self, directory: &Path) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let own = self.0.metadata().map(identity).ok();
        own.is_some() && directory.join(NAME).symlink_metadata().map(identity).ok() == own
    }

    /// Removes the file, and gives the lock back.
    pub(super) fn release(self, directory: &Path) {
        if self.is_in_place(directory) {
            // One that stays is locked by nobody.
            let _ = fs::remove_file(directory.join(NAME));
        }
    }
}
