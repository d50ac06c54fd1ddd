//! The files of a script's host, below a directory of its own that only this user may enter. A symbolic link there leads to what it
//! would on that host: an absolute one begins at this directory, so that nothing outside is written, removed or listened at.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;
use tokio::net::UnixListener;

/// How many links lead to a file at most, as in the kernel.
const LINKS: usize = 40;

/// How many names are tried for the directory: each is in use once in four billion times.
const ATTEMPTS: usize = 8;

/// The files of a host. Their directory is removed with it.
#[derive(Debug)]
pub(super) struct FileTree {
    root: PathBuf,
}

impl Drop for FileTree {
    fn drop(&mut self) {
        // Nobody reads it any more.
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl FileTree {
    /// Makes an empty directory among the temporary ones.
    pub(super) fn create() -> io::Result<Self> {
        Self::create_in(&std::env::temp_dir().canonicalize()?, random_name)
    }

    fn create_in(directory: &Path, mut name: impl FnMut() -> String) -> io::Result<Self> {
        let mut attempt = 1;
        loop {
            let root = directory.join(name());
            match DirBuilder::new().mode(0o700).create(&root) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS => attempt += 1,
                made => return made.map(|()| Self { root }),
            }
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Copies the files of a directory, and those below it. Links are copied as they are.
    pub(super) fn copy(&self, machine: &Path) -> io::Result<()> {
        let mut open = vec![(machine.to_owned(), self.root.clone())];
        while let Some((from, to)) = open.pop() {
            fs::create_dir_all(&to)?;
            for entry in fs::read_dir(&from)? {
                let entry = entry?;
                let target = to.join(entry.file_name());
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    open.push((entry.path(), target));
                } else if kind.is_symlink() {
                    std::os::unix::fs::symlink(fs::read_link(entry.path())?, target)?;
                } else if kind.is_file() {
                    fs::copy(entry.path(), target)?;
                }
            }
        }
        Ok(())
    }

    /// Writes a file, with the directories above it. One that is there keeps its inode and mode, whether or not that permits
    /// writing; a link is replaced by a file.
    pub(super) fn write(&self, path: &str, content: &str) -> io::Result<()> {
        let place = self.prepare(path)?;
        let Some(metadata) = present(&place)?.filter(Metadata::is_file) else {
            remove_present(&place)?;
            return fs::write(place, content);
        };
        let permissions = metadata.permissions();
        fs::set_permissions(&place, Permissions::from_mode(permissions.mode() | 0o200))?;
        fs::write(&place, content)?;
        fs::set_permissions(place, permissions)
    }

    /// Removes a file or link, if there is one.
    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        remove_present(&self.place(path)?)
    }

    /// Listens at a path, in place of what is there.
    pub(super) fn listen(&self, path: &str) -> io::Result<UnixListener> {
        let place = self.prepare(path)?;
        remove_present(&place)?;
        UnixListener::bind(place)
    }

    /// The place of a path, with the directories above it.
    fn prepare(&self, path: &str) -> io::Result<PathBuf> {
        let place = self.place(path)?;
        if let Some(directory) = place.parent() {
            fs::create_dir_all(directory)?;
        }
        Ok(place)
    }

    /// The place of a path: all links on the way to its last name are followed, within the root. Nobody else changes the files
    /// meanwhile.
    fn place(&self, path: &str) -> io::Result<PathBuf> {
        let mut names = VecDeque::new();
        prepend(&mut names, Path::new(path));
        let (mut place, mut depth, mut links) = (self.root.clone(), 0, 0);
        while let Some(name) = names.pop_front() {
            if name == ".." {
                // Above the root is the root.
                if depth > 0 {
                    place.pop();
                    depth -= 1;
                }
                continue;
            }
            place.push(&name);
            depth += 1;
            let is_last = names.is_empty();
            let is_link = !is_last && present(&place)?.is_some_and(|metadata| metadata.is_symlink());
            if !is_link {
                continue;
            }
            links += 1;
            if links > LINKS {
                return Err(Errno::LOOP.into());
            }
            let target = fs::read_link(&place)?;
            place.pop();
            depth -= 1;
            if target.is_absolute() {
                place.clone_from(&self.root);
                depth = 0;
            }
            prepend(&mut names, &target);
        }
        Ok(place)
    }
}

/// A name that nobody can guess.
fn random_name() -> String {
    // The keys of the standard library's hash maps are random for each call.
    let random = RandomState::new().hash_one(0_u8);
    format!("gauged-script-{:08x}", random >> 32)
}

/// Puts the names of a path before others.
fn prepend(names: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => names.push_front(name.to_owned()),
            Component::ParentDir => names.push_front("..".into()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
}

/// What is at a place: not what a link there leads to.
fn present(place: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(place) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove_present(place: &Path) -> io::Result<()> {
    match fs::remove_file(place) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    fn tree() -> FileTree {
        FileTree::create().expect("created")
    }

    fn read(tree: &FileTree, path: &str) -> String {
        fs::read_to_string(tree.root.join(path)).expect("readable")
    }

    #[test]
    fn links_do_not_lead_out_of_the_tree() {
        let outside = tempfile::tempdir().expect("a directory");
        let kept = outside.path().join("kept");
        fs::write(&kept, "mine").expect("written");
        // As `/var/run` of a machine leads to `/run`.
        let target = outside.path().to_str().expect("text");
        let tree = tree();
        fs::create_dir_all(tree.root.join("var/lib")).expect("created");
        symlink(outside.path(), tree.root.join("var/run")).expect("linked");
        symlink("../../../../../../../../..", tree.root.join("var/lib/up")).expect("linked");
        symlink(&kept, tree.root.join("var/file")).expect("linked");
        tree.write("/var/run/kept", "script's").expect("written");
        tree.write("/var/file", "script's").expect("written");
        tree.write("/var/lib/up/top", "script's").expect("written");
        let inside = format!("{}/kept", target.trim_start_matches('/'));
        for path in [&*inside, "var/file", "top"] {
            assert_eq!(read(&tree, path), "script's", "{path}");
        }
        tree.remove("/var/run/kept").expect("removed");
        tree.remove("/var/run/none/such").expect("nothing to remove");
        assert!(!tree.root.join(inside).exists());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let _inside = runtime.enter();
        let listener = tree.listen("/var/run/socket").expect("bound");
        let address = listener.local_addr().expect("it has one");
        assert!(address.as_pathname().is_some_and(|path| path.starts_with(&tree.root)), "{address:?}");
        let _replaced = tree.listen("/var/run/socket").expect("bound again");
        let left: Vec<_> =
            fs::read_dir(outside.path()).expect("listed").map(|entry| entry.expect("one").path()).collect();
        assert_eq!((left, fs::read_to_string(&kept).expect("readable")), (vec![kept], "mine".to_owned()));
    }

    #[test]
    fn links_in_a_circle_are_an_error() {
        let tree = tree();
        symlink("b", tree.root.join("a")).expect("linked");
        symlink("a", tree.root.join("b")).expect("linked");
        let error = tree.write("/a/file", "").expect_err("a circle");
        assert_eq!(Errno::from_io_error(&error), Some(Errno::LOOP));
    }

    #[test]
    fn rewritten_files_keep_inode_and_mode() {
        let machine = tempfile::tempdir().expect("a directory");
        let file = machine.path().join("proc/uptime");
        fs::create_dir(machine.path().join("proc")).expect("created");
        fs::write(&file, "a long one").expect("written");
        fs::set_permissions(&file, Permissions::from_mode(0o444)).expect("set");
        let tree = tree();
        tree.copy(machine.path()).expect("copied");
        let state =
            || fs::metadata(tree.root.join("proc/uptime")).map(|state| (state.ino(), state.mode())).expect("there");
        let before = state();
        tree.write("/proc/uptime", "short").expect("written");
        assert_eq!((state(), read(&tree, "proc/uptime")), (before, "short".to_owned()));
    }

    #[test]
    fn directory_is_private_new_and_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("taken")).expect("created");
        let mut names = ["taken", "free"].into_iter();
        let tree = FileTree::create_in(directory.path(), || names.next().expect("two suffice").to_owned());
        let tree = tree.expect("created");
        assert_eq!(tree.root, directory.path().join("free"));
        assert_eq!(fs::metadata(&tree.root).expect("there").mode() & 0o777, 0o700);
        tree.write("/a/b", "").expect("written");
        drop(tree);
        assert!(!directory.path().join("free").exists());
        let taken = FileTree::create_in(directory.path(), || "taken".to_owned());
        assert_eq!(taken.expect_err("in use").kind(), io::ErrorKind::AlreadyExists);
        assert_ne!(random_name(), random_name());
    }
}
