//! The files with the states of plugins: how one is written at once, what it contains, and what happens to one that is damaged.
//!
//! | part | form |
//! |---|---|
//! | first line | `gauged state 1 CHECKSUM LENGTH`, the checksum in eight hexadecimal digits |
//! | rest | the plugin's bytes |

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, fsync, mkdir, open, openat, renameat, unlinkat};
use rustix::io::Errno;

/// The largest state: a position in each of a few thousand files, and a write of which no disk takes notice.
pub(crate) const MAX_BYTES: usize = 64 << 10;

/// The words before the checksum, with the version of the form.
const FIRST_WORDS: &str = "gauged state 1";

/// The longest first line: the words, the checksum, a length and the end.
const FIRST_LINE_BYTES: usize = FIRST_WORDS.len() + 32;

/// The largest file that may be one.
const FILE_BYTES: usize = FIRST_LINE_BYTES + MAX_BYTES;

/// The end of the name of a file that is being written. Names of plugins have no dot.
const NEW: &str = ".new";

/// The end of the name of a file that was moved aside, after the time.
const ASIDE: &str = ".aside";

/// The directory of the files.
#[derive(Debug)]
pub(super) struct PluginDirectory(OwnedFd);

/// What there is of a plugin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    State(Vec<u8>),
    /// Something else: the end of a sentence that begins with the file.
    Damaged(&'static str),
}

impl PluginDirectory {
    /// Opens the directory, which is made if it is missing. A symbolic link in its place is not followed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        match mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(open(path, flags, Mode::empty())?))
    }

    /// Reads the state of a plugin.
    pub(super) fn read(&self, plugin: &str) -> io::Result<Found> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.0, plugin, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(Errno::LOOP) => return Ok(Found::Damaged("is a symbolic link")),
            Err(Errno::NXIO) => return Ok(Found::Damaged("is not a file")),
            Err(error) => return Err(error.into()),
        };
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Ok(Found::Damaged("is not a file"));
        }
        let mut bytes = Vec::new();
        File::from(file).take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(match decode(&bytes) {
            Ok(state) => Found::State(state.to_vec()),
            Err(why) => Found::Damaged(why),
        })
    }

    /// Puts a file in the place of the one that is there, which stays as it is until the new one is on the disk.
    pub(super) fn write(&self, plugin: &str, state: &[u8]) -> io::Result<()> {
        let new = format!("{plugin}{NEW}");
        let written =
            self.write_new(&new, &encode(state)).and_then(|()| Ok(renameat(&self.0, &*new, &self.0, plugin)?));
        if written.is_err() {
            // Where it is not removed, the next attempt replaces it.
            let _ = unlinkat(&self.0, &*new, AtFlags::empty());
        }
        written
    }

    fn write_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // One that a killed agent has left, or a link.
        match unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(bytes)?;
        Ok(fsync(&file)?)
    }

    /// Gives what is in the place of a plugin's state another name, which is returned.
    pub(super) fn move_aside(&self, plugin: &str, now: SystemTime) -> io::Result<String> {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let aside = format!("{plugin}.{seconds}{ASIDE}");
        renameat(&self.0, plugin, &self.0, &*aside)?;
        Ok(aside)
    }
}

fn encode(state: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{FIRST_WORDS} {:08x} {}\n", crc32fast::hash(state), state.len()).into_bytes();
    bytes.extend_from_slice(state);
    bytes
}

/// The state in a file. The error is the end of a sentence that begins with the file.
fn decode(file: &[u8]) -> Result<&[u8], &'static str> {
    const FOREIGN: &str = "is not of this version of the agent";
    if file.len() > FILE_BYTES {
        return Err("is longer than a state may be");
    }
    let head = file.get(..FIRST_LINE_BYTES).unwrap_or(file);
    let end = head.iter().position(|&byte| byte == b'\n').ok_or(FOREIGN)?;
    let line = std::str::from_utf8(&file[..end]).map_err(|_| FOREIGN)?;
    let rest = line.strip_prefix(FIRST_WORDS).and_then(|rest| rest.strip_prefix(' ')).ok_or(FOREIGN)?;
    let state = &file[end + 1..];
    let expected = format!("{:08x} {}", crc32fast::hash(state), state.len());
    if rest == expected { Ok(state) } else { Err("is damaged: its length or checksum is another one") }
}

/// The fuzz target: a file is read only as what would be written of its state.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    match decode(bytes) {
        Ok(state) => assert_eq!(encode(state), bytes),
        Err(why) => assert!(!why.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use proptest::prelude::*;

    use super::*;

    fn directory() -> (tempfile::TempDir, PluginDirectory) {
        let parent = tempfile::tempdir().expect("a directory");
        let directory = PluginDirectory::open(&parent.path().join("plugins")).expect("opened");
        (parent, directory)
    }

    #[test]
    fn written_state_is_private_and_read_again() {
        let (parent, directory) = directory();
        assert_eq!(directory.read("a-b").expect("read"), Found::Nothing);
        for state in [&b""[..], b"one\n", &vec![0xff; MAX_BYTES]] {
            directory.write("a-b", state).expect("written");
            assert_eq!(directory.read("a-b").expect("read"), Found::State(state.to_vec()));
        }
        assert_eq!(directory.read("a").expect("read"), Found::Nothing);
        let path = parent.path().join("plugins");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o700);
        assert_eq!(fs::metadata(path.join("a-b")).expect("there").mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(path).expect("listed").count(), 1, "nothing else is left");
    }

    #[test]
    fn links_are_neither_read_nor_written_through() {
        let (parent, directory) = directory();
        let (path, other) = (parent.path().join("plugins"), parent.path().join("other"));
        fs::write(&other, "kept").expect("written");
        symlink(&other, path.join("a")).expect("linked");
        symlink(&other, path.join("a.new")).expect("linked");
        assert_eq!(directory.read("a").expect("examined"), Found::Damaged("is a symbolic link"));
        directory.write("a", b"state").expect("written");
        assert_eq!(directory.read("a").expect("read"), Found::State(b"state".to_vec()));
        assert_eq!(fs::read_to_string(&other).expect("there"), "kept");
        symlink(parent.path(), parent.path().join("link")).expect("linked");
        assert!(PluginDirectory::open(&parent.path().join("link")).is_err());
    }

    #[test]
    fn foreign_files_are_moved_aside() {
        let (parent, directory) = directory();
        let path = parent.path().join("plugins/a");
        let long = encode(&vec![0; MAX_BYTES + 1 + FIRST_LINE_BYTES]);
        let aside = |why: &str| {
            let Found::Damaged(found) = directory.read("a").expect("examined") else { panic!("{why}") };
            assert!(found.contains(why), "{found}");
            directory.move_aside("a", SystemTime::UNIX_EPOCH).expect("moved");
            assert!(!path.exists() && parent.path().join("plugins/a.0.aside").symlink_metadata().is_ok());
        };
        for (content, why) in [
            (&b""[..], "not of this version"),
            (b"gauged state 2 00000000 0\n", "not of this version"),
            (&long, "longer than a state may be"),
        ] {
            fs::write(&path, content).expect("written");
            aside(why);
        }
        fs::remove_file(parent.path().join("plugins/a.0.aside")).expect("removed");
        fs::create_dir(&path).expect("made");
        aside("not a file");
    }

    proptest! {
        #[test]
        fn any_flipped_bit_of_a_state_is_noticed(state in prop::collection::vec(any::<u8>(), 0..64), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let mut file = encode(&state);
            prop_assert_eq!(decode(&file), Ok(&state[..]));
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
            prop_assert!(decode(&file).is_err());
            file[at] ^= 1 << bit;
            file.pop();
            prop_assert!(decode(&file).is_err());
        }
    }
}
