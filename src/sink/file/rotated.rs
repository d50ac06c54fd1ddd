//! The rotated files of a file: their names, and which of them stay. A name is that of the file with the moment of the rotation in
//! UTC: `samples.ndjson-20261126T180824.123Z`, with `.gz` when it is compressed, so that the order of the names is that of the
//! lines. A later rotation has a later name, whatever the clock. Other files in the directory are left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::{format_rfc3339_millis, parse_rfc3339};

/// The end of a compressed file's name.
const GZIP: &[u8] = b".gz";

/// The end of the name while it is being compressed.
const TEMPORARY: &[u8] = b".gz.tmp";

/// The last moment that a name can have: 9999-12-31T23:59:59.999Z.
const LAST_MS: u64 = 253_402_300_799_999;

/// How many files are listed to be compressed: as many as may stay.
const MAX_PLAIN: usize = 1000;

/// The moment of a rotation, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(u64);

/// The form in which a rotated file is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it was written.
    Plain,
    /// Compressed, and complete.
    Gzip,
    /// Being compressed, or left over from an agent that ended meanwhile.
    Temporary,
}

/// The forms of one rotated file that are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Forms {
    pub(super) is_plain: bool,
    pub(super) is_gzip: bool,
}

impl Stamp {
    /// The name of a rotation now: later than the last one.
    pub(super) fn next(now: SystemTime, last: Option<Self>) -> Self {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let now = u64::try_from(now).unwrap_or(LAST_MS);
        Self(now.max(last.map_or(0, |last| last.0 + 1)).min(LAST_MS))
    }

    /// `20261126T180824.123Z`.
    fn text(self) -> String {
        let text = format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(self.0.min(LAST_MS))).to_string();
        text.replace(['-', ':'], "")
    }

    /// Parses what [`Self::text`] makes, and nothing else.
    fn parse(text: &[u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok().filter(|text| text.is_ascii() && text.len() == 20)?;
        let (year, month, day, time) = (&text[..4], &text[4..6], &text[6..8], &text[9..]);
        let (hour, minute, rest) = (&time[..2], &time[2..4], &time[4..]);
        let moment = parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{rest}")).ok()?;
        let stamp = Self(u64::try_from(moment.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?);
        (stamp.text() == text).then_some(stamp)
    }
}

/// The path of a rotated file.
pub(super) fn path(file: &Path, stamp: Stamp, form: Form) -> PathBuf {
    let mut name: OsString = file.file_name().unwrap_or_default().to_owned();
    name.push("-");
    name.push(stamp.text());
    name.push(OsStr::from_bytes(match form {
        Form::Plain => b"",
        Form::Gzip => GZIP,
        Form::Temporary => TEMPORARY,
    }));
    file.with_file_name(name)
}

/// Whether a name in the directory of a file is that of one of its rotated files.
fn parse(file_name: &OsStr, name: &OsStr) -> Option<(Stamp, Form)> {
    let rest = name.as_bytes().strip_prefix(file_name.as_bytes())?.strip_prefix(b"-")?;
    let (stamp, form) = match (rest.strip_suffix(TEMPORARY), rest.strip_suffix(GZIP)) {
        (Some(stamp), _) => (stamp, Form::Temporary),
        (None, Some(stamp)) => (stamp, Form::Gzip),
        (None, None) => (rest, Form::Plain),
    };
    Some((Stamp::parse(stamp)?, form))
}

/// The rotated files of a file that are in its directory, with their forms, in any order. A directory or a link with such a name is
/// somebody else's.
fn entries(file: &Path) -> io::Result<impl Iterator<Item = io::Result<(Stamp, Form)>>> {
    let file_name = file.file_name().unwrap_or_default().to_owned();
    let entry = move |entry: io::Result<DirEntry>| {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        let rotated = parse(&file_name, &entry.file_name())?;
        entry.file_type().is_ok_and(|kind| kind.is_file()).then_some(Ok(rotated))
    };
    Ok(fs::read_dir(directory(file))?.filter_map(entry))
}

/// The newest rotated files, at most `keep` of them. Older ones are removed while the directory is read, so that the list has a
/// bound. Inside: the first that could not be removed; the others are all the same.
pub(super) fn list(file: &Path, keep: usize) -> io::Result<(BTreeMap<Stamp, Forms>, io::Result<()>)> {
    let (mut stamps, mut removed) = (BTreeMap::<Stamp, Forms>::new(), Ok(()));
    for entry in entries(file)? {
        let (stamp, form) = entry?;
        match form {
            Form::Plain => stamps.entry(stamp).or_default().is_plain = true,
            Form::Gzip => stamps.entry(stamp).or_default().is_gzip = true,
            Form::Temporary => {}
        }
        if stamps.len() > keep {
            removed = removed.and(remove_oldest(file, &mut stamps));
        }
    }
    Ok((stamps, removed))
}

/// The plain rotated files: the oldest of them, so that the list has a bound.
pub(super) fn list_plain(file: &Path) -> io::Result<BTreeSet<Stamp>> {
    let mut stamps = BTreeSet::new();
    for entry in entries(file)? {
        let (stamp, form) = entry?;
        if form == Form::Plain {
            stamps.insert(stamp);
        }
        if stamps.len() > MAX_PLAIN {
            stamps.pop_last();
        }
    }
    Ok(stamps)
}

/// Removes what was left over of compressions that did not end.
pub(super) fn remove_temporaries(file: &Path) -> io::Result<()> {
    for entry in entries(file)? {
        let (stamp, form) = entry?;
        if form == Form::Temporary {
            remove(file, stamp, form)?;
        }
    }
    Ok(())
}

/// Removes the oldest file of a list in all its forms.
pub(super) fn remove_oldest(file: &Path, stamps: &mut BTreeMap<Stamp, Forms>) -> io::Result<()> {
    let Some((stamp, _)) = stamps.pop_first() else { return Ok(()) };
    // The list may have been made before one of them was.
    let removed = [Form::Plain, Form::Gzip].map(|form| remove(file, stamp, form));
    removed.into_iter().collect()
}

/// Removes a rotated file, if it is there.
pub(super) fn remove(file: &Path, stamp: Stamp, form: Form) -> io::Result<()> {
    match fs::remove_file(path(file, stamp, form)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives a file another name, unless there is a file of that name.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;

        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // NFS, and other file systems that cannot.
            Err(Errno::INVAL | Errno::NOSYS) => {}
            renamed => return Ok(renamed?),
        }
    }
    match to.symlink_metadata() {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

/// Waits until the names in a file's directory are on the disk, where the file system can do that.
pub(super) fn sync_directory(file: &Path) -> io::Result<()> {
    match File::open(directory(file))?.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

/// The directory of a file.
pub(super) fn directory(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_others_are_not_parsed() {
        let parsed = |name: &str| parse(OsStr::new("a.ndjson"), OsStr::new(name));
        assert!(parsed("a.ndjson-20261126T180824.123Z").is_some());
        for name in [
            "a.ndjson",
            "a.ndjson-",
            "a.ndjson-20261126",
            "a.ndjson-20261126T180824Z",
            "a.ndjson-20261126T180824.123Z.1",
            "a.ndjson-20261126T180824.123Z.bz2",
            "a.ndjson-20261126T180824.123z",
            "a.ndjson-20261326T180824.123Z",
            "a.ndjson-20260230T180824.123Z",
            "a.ndjson-20261126t180824.123Z",
            "a.ndjson-+0261126T180824.123Z",
            "a.ndjson-2026112éT18082.123Z",
            "b.ndjson-20261126T180824.123Z",
            "xa.ndjson-20261126T180824.123Z",
        ] {
            assert_eq!(parsed(name), None, "{name}");
        }
    }

    #[test]
    fn existing_files_are_not_overwritten() {
        let directory = tempfile::tempdir().expect("a directory");
        let (from, to) = (directory.path().join("a"), directory.path().join("b"));
        fs::write(&from, "from").expect("written");
        fs::write(&to, "to").expect("written");
        let error = rename_new(&from, &to).expect_err("it is there");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&to).expect("text"), "to");
        fs::remove_file(&to).expect("removed");
        rename_new(&from, &to).expect("renamed");
        assert_eq!(fs::read_to_string(&to).expect("text"), "from");
    }

    proptest! {
        #[test]
        fn names_are_parsed_back_and_sorted(first in 0..=LAST_MS, second in 0..=LAST_MS) {
            let name = |stamp: u64, form| {
                path(Path::new("/x/a"), Stamp(stamp), form).file_name().expect("a name").to_owned()
            };
            for form in [Form::Plain, Form::Gzip, Form::Temporary] {
                prop_assert_eq!(parse(OsStr::new("a"), &name(first, form)), Some((Stamp(first), form)));
            }
            prop_assert_eq!(name(first, Form::Gzip).cmp(&name(second, Form::Plain)), first.cmp(&second).then(std::cmp::Ordering::Greater));
        }

        #[test]
        fn next_name_is_later(now in any::<u64>(), last in proptest::option::of(0..LAST_MS)) {
            let now = UNIX_EPOCH.checked_add(Duration::from_millis(now)).unwrap_or(UNIX_EPOCH);
            let next = Stamp::next(now, last.map(Stamp));
            prop_assert!(next.0 <= LAST_MS && last.is_none_or(|last| next.0 > last));
        }

        #[test]
        fn any_name_is_parsed_or_not(name in proptest::collection::vec(any::<u8>(), 0..40)) {
            let name = [b"a-".as_slice(), &name].concat();
            if let Some((stamp, form)) = parse(OsStr::new("a"), OsStr::from_bytes(&name)) {
                let same = path(Path::new("/a"), stamp, form);
                prop_assert_eq!(same.file_name().map(OsStr::as_bytes), Some(&*name));
            }
        }
    }
}
