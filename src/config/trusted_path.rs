//! Whether a path leads to the file that root or the agent's user has put there: on the way there is no directory in which
//! somebody else could put another, and no link of somebody else.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use super::location::{AgentUser, MAX_LINKS};

/// In a directory with this bit, a file is renamed and removed by its owner and the directory's only.
const STICKY: u32 = 0o1000;

/// Group and world may write.
const WRITABLE: u32 = 0o022;

/// Checks all directories and links on the way of an absolute path. Nobody else can change a way that passes, so that the file
/// may be opened by its path afterwards.
///
/// # Errors
///
/// When the path cannot be followed. Inside: the other users who can change the way, as the end of a sentence that begins with
/// the file. It names directories only.
pub(super) fn check(path: &Path) -> io::Result<Result<(), String>> {
    check_for(AgentUser::own(), path)
}

/// Checks a directory and the way to it: nobody but root and the agent's user can put a file into it, or another directory into its
/// place.
///
/// # Errors
///
/// When the path cannot be followed. Inside: the other users who can, as the end of a sentence that begins with the directory.
pub(crate) fn check_own_directory(path: &Path) -> io::Result<Result<(), String>> {
    let metadata = fs::metadata(path)?;
    if let Err(why) = AgentUser::own().check_mode(metadata.uid(), metadata.gid(), metadata.mode(), false) {
        return Ok(Err(why));
    }
    check(path)
}

fn check_for(user: AgentUser, path: &Path) -> io::Result<Result<(), String>> {
    // The way so far, which has no links any more.
    let mut directory = PathBuf::from("/");
    let mut rest: VecDeque<OsString> = parts(path).collect();
    let mut links = 0;
    if let Err(why) = check_directory(user, &fs::symlink_metadata(&directory)?) {
        return Ok(Err(format!("is below /, which {why}")));
    }
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            directory.pop();
            continue;
        }
        let next = directory.join(&part);
        let metadata = fs::symlink_metadata(&next)?;
        if metadata.is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP.into());
            }
            if let Err(why) = user.check_mode(metadata.uid(), metadata.gid(), metadata.mode(), true) {
                return Ok(Err(format!("is behind a link in {} that {why}", directory.display())));
            }
            let target = fs::read_link(&next)?;
            if target.is_absolute() {
                directory = PathBuf::from("/");
            }
            for part in parts(&target).rev() {
                rest.push_front(part);
            }
            continue;
        }
        if metadata.is_dir() {
            if let Err(why) = check_directory(user, &metadata) {
                return Ok(Err(format!("is in the directory {}, which {why}", next.display())));
            }
            directory = next;
        } else if !rest.is_empty() {
            return Err(Errno::NOTDIR.into());
        }
    }
    Ok(Ok(()))
}

/// The parts of a path, without its root.
fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(_) | Component::ParentDir => Some(component.as_os_str().to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(part)
}

/// Whether only root and the agent's user can replace files of the agent's user or of root in a directory.
fn check_directory(user: AgentUser, metadata: &Metadata) -> Result<(), String> {
    let mode = metadata.mode();
    let mode = if mode & STICKY == 0 { mode } else { mode & !WRITABLE };
    user.check_mode(metadata.uid(), metadata.gid(), mode, false)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

    use rustix::process::geteuid;

    use super::*;

    /// A user who is none of those of a test.
    const STRANGER: u32 = 65533;

    struct Tree(tempfile::TempDir);

    impl Tree {
        /// Directories `a/b` with a file `secret`.
        fn new() -> Self {
            let tree = Self(tempfile::tempdir().expect("a directory"));
            fs::create_dir_all(tree.path("a/b")).expect("created");
            fs::write(tree.path("a/b/secret"), "x").expect("written");
            tree
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn set_mode(&self, name: &str, mode: u32) {
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("set");
        }

        /// Why a path is refused, without the tree's own; empty if it is not.
        fn refusal(&self, name: &str) -> String {
            let why = check(&self.path(name)).expect("it can be followed").err().unwrap_or_default();
            why.replace(&self.path("").display().to_string(), "")
        }
    }

    #[test]
    fn directories_that_others_can_write_are_refused() {
        let tree = Tree::new();
        assert_eq!(tree.refusal("a/b/secret"), "");
        tree.set_mode("a", 0o757);
        for path in ["a/b/secret", "a/../a/./b/secret", "a/b/../../a/b/secret"] {
            assert_eq!(tree.refusal(path), "is in the directory a, which can be written by everybody (mode 757)");
        }
        tree.set_mode("a", 0o1777);
        assert_eq!(tree.refusal("a/b/secret"), "", "as /tmp");
    }

    #[test]
    fn directory_of_a_link_target_is_checked() {
        let tree = Tree::new();
        // As Kubernetes mounts a secret.
        symlink("b", tree.path("a/..data")).expect("linked");
        symlink("..data/secret", tree.path("a/secret")).expect("linked");
        symlink(tree.path("a/secret"), tree.path("link")).expect("linked");
        assert_eq!(tree.refusal("link"), "");
        tree.set_mode("a/b", 0o702);
        assert_eq!(tree.refusal("link"), "is in the directory a/b, which can be written by everybody (mode 702)");
    }

    #[test]
    fn directories_and_links_of_strangers_are_refused() {
        if !geteuid().is_root() {
            return;
        }
        let tree = Tree::new();
        symlink("b/secret", tree.path("a/link")).expect("linked");
        tree.set_mode("a", 0o1777);
        assert_eq!(tree.refusal("a/link"), "");
        lchown(tree.path("a/link"), Some(STRANGER), None).expect("changed");
        assert_eq!(tree.refusal("a/link"), "is behind a link in a that belongs to user 65533, not to root or user 0");
        chown(tree.path("a"), Some(STRANGER), None).expect("changed");
        let why = "is in the directory a, which belongs to user 65533, not to root or user 0";
        assert_eq!(tree.refusal("a/b/secret"), why);
        chown(tree.path("a"), Some(0), Some(STRANGER)).expect("changed");
        tree.set_mode("a", 0o770);
        assert_eq!(tree.refusal("a/b/secret"), "is in the directory a, which can be written by group 65533 (mode 770)");
    }

    #[test]
    fn shared_directory_is_refused_though_sticky() {
        let tree = Tree::new();
        let refusal = |name: &str| check_own_directory(&tree.path(name)).expect("it can be followed");
        assert_eq!(refusal("a/b"), Ok(()));
        tree.set_mode("a", 0o1777);
        assert_eq!(refusal("a/b"), Ok(()), "as below /tmp");
        assert_eq!(refusal("a"), Err("can be written by everybody (mode 1777)".to_owned()));
        tree.set_mode("a", 0o777);
        assert!(refusal("a/b").expect_err("refused").starts_with("is in the directory "));
        assert!(check_own_directory(&tree.path("none")).is_err());
    }

    #[test]
    fn circles_and_missing_files_are_errors() {
        let tree = Tree::new();
        symlink("circle", tree.path("circle")).expect("linked");
        let error = |name: &str| Errno::from_io_error(&check(&tree.path(name)).expect_err("an error"));
        assert_eq!(error("circle"), Some(Errno::LOOP));
        assert_eq!(error("a/none/secret"), Some(Errno::NOENT));
        assert_eq!(error("a/b/secret/x"), Some(Errno::NOTDIR));
    }
}
