//! Whether the agent's kernel and network are those of the measured host: a query has the agent's own, while files are those below the
//! root, and those of networks process 1's.

use std::path::Path;

use rustix::io::Errno;

use super::error::QueryError;
use crate::plugin::host::os_error::text;

/// The network of the agent and that of the measured host, the latter below its root: their namespaces, which the kernel shows to
/// who may trace process 1, and a file of each, which it shows to everybody.
const OWN_NAMESPACE: &str = "/proc/self/ns/net";
const FIRST_NAMESPACE: &str = "proc/1/ns/net";
const OWN_FILE: &str = "/proc/self/net/dev";
const FIRST_FILE: &str = "proc/1/net/dev";

/// The number by which the kernel identifies process file systems.
#[cfg(target_os = "linux")]
const PROC_SUPER_MAGIC: rustix::fs::FsWord = 0x9fa0;

/// A file, by device and inode.
type Identity = (u64, u64);

/// Checks that the agent's network is that of the first process below a root. Below `/`, networks that cannot be compared are taken
/// for the same, as files are.
pub(super) fn check_network(root: &Path) -> Result<(), QueryError> {
    let identities = |own: &str, first: &str| -> Result<(Identity, Identity), Errno> {
        Ok((identity(Path::new(own))?, identity(&root.join(first))?))
    };
    let files = || -> Result<bool, Errno> {
        // The kernel gives the files of each network inodes of their own, which are the same in all its process file systems.
        let ((_, own), (_, first)) = identities(OWN_FILE, FIRST_FILE)?;
        Ok(own == first && check_kernel(root).is_ok())
    };
    let is_same = identities(OWN_NAMESPACE, FIRST_NAMESPACE).map(|(own, first)| own == first).or_else(|_| files());
    decide(is_same, root == Path::new("/"))
}

#[allow(clippy::useless_conversion, reason = "these numbers are shorter on other systems")]
fn identity(path: &Path) -> Result<Identity, Errno> {
    rustix::fs::stat(path).map(|status| (status.st_dev.into(), status.st_ino.into()))
}

/// Whether both are the same network, or cannot be compared.
fn decide(is_same: Result<bool, Errno>, is_own_root: bool) -> Result<(), QueryError> {
    match is_same {
        Ok(true) => Ok(()),
        Err(_) if is_own_root => Ok(()),
        Ok(false) => Err(QueryError::NotSupported(
            "the agent is in another network namespace than process 1 of the measured host".to_owned(),
        )),
        Err(errno) => Err(QueryError::NotSupported(format!(
            "the agent's network namespace cannot be compared with that of the measured host: {}",
            text(errno)
        ))),
    }
}

/// Checks that the files of processes below a root are those of the agent's kernel, and not a copy of another one's.
#[cfg(target_os = "linux")]
pub(super) fn check_kernel(root: &Path) -> Result<(), QueryError> {
    match rustix::fs::statfs(root.join("proc")) {
        Ok(system) if system.f_type == PROC_SUPER_MAGIC => Ok(()),
        Ok(_) | Err(_) => {
            Err(QueryError::NotSupported("the measured host may be another one: it has no proc file system".to_owned()))
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn check_kernel(_root: &Path) -> Result<(), QueryError> {
    Err(QueryError::NotSupported("the measured host may be another one".to_owned()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn foreign_network_namespaces_are_not_supported() {
        for is_own_root in [true, false] {
            assert!(decide(Ok(true), is_own_root).is_ok() && decide(Ok(false), is_own_root).is_err());
            assert_eq!(decide(Err(Errno::ACCESS), is_own_root).is_ok(), is_own_root);
        }
        assert_eq!(check_network(Path::new("/")), Ok(()), "the tests' own");
    }

    #[test]
    fn copies_of_other_hosts_have_no_answers() {
        let copy = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(copy.path().join("proc/1/ns")).expect("made");
        std::fs::create_dir_all(copy.path().join("proc/1/net")).expect("made");
        assert!(check_network(copy.path()).is_err(), "there is nothing to compare");
        std::fs::write(copy.path().join(FIRST_FILE), "").expect("written");
        assert!(check_network(copy.path()).is_err(), "of no kernel");
        std::fs::write(copy.path().join(FIRST_NAMESPACE), "").expect("written");
        assert!(check_network(copy.path()).is_err() && check_kernel(copy.path()).is_err());
    }

    #[test]
    fn second_view_of_the_same_host_is_supported() {
        let view = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink("/proc", view.path().join("proc")).expect("linked");
        assert_eq!((check_kernel(view.path()), check_network(view.path())), (Ok(()), Ok(())));
    }
}
