//! Tests of the cache's directory: its permissions, its entries, and pruning.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use self::skip::{current_test, skip};
use super::*;

#[allow(dead_code, unreachable_pub, reason = "the tests in tests/it use all of it")]
#[path = "../../../../../tests/it/skip.rs"]
mod skip;

const KEY: CacheKey = CacheKey([7; 32]);

fn cache() -> (tempfile::TempDir, PathBuf, Entries) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("above/cache");
    let entries = Entries::open(&path).expect("created");
    (directory, path, entries)
}

fn content(bytes: &[u8]) -> Sealed {
    Sealed::copy(bytes).expect("copied")
}

/// Asserts that a harmed entry is rejected for this reason, and that a new one can be stored in its place.
fn expect_invalid(harm: impl Fn(&Path), reason: &str) {
    let (_directory, path, entries) = cache();
    let file = path.join(KEY.name());
    entries.put(KEY, &content(b"artifact")).expect("stored");
    harm(&file);
    match entries.get(KEY) {
        Err(EntryError::Invalid(invalid)) => assert_eq!(invalid, reason),
        other => panic!("{other:?} instead of {reason}"),
    }
    entries.remove(KEY);
    assert!(entries.get(KEY).expect("gone").is_none());
    entries.put(KEY, &content(b"artifact")).expect("stored");
    assert!(entries.get(KEY).expect("sound").is_some());
}

#[test]
fn only_stored_entries_are_found() {
    let (_directory, path, entries) = cache();
    assert!(entries.get(KEY).expect("read").is_none());
    for bytes in [&b"artifact"[..], &vec![0; 100_000], b""] {
        entries.put(KEY, &content(bytes)).expect("stored");
        let artifact = entries.get(KEY).expect("read").expect("stored");
        assert_eq!(artifact.hash(), content(bytes).hash());
    }
    assert!(entries.get(CacheKey([8; 32])).expect("read").is_none());
    assert_eq!(fs::read_dir(&path).expect("readable").count(), 1, "no temporary file remains");
    assert_eq!(fs::metadata(path.join(KEY.name())).expect("there").mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(path).expect("there").mode() & 0o777, 0o700);
}

#[test]
fn any_flipped_bit_is_rejected() {
    let (_directory, path, entries) = cache();
    let file = path.join(KEY.name());
    entries.put(KEY, &content(b"artifact")).expect("stored");
    let sound = fs::read(&file).expect("read");
    for at in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        fs::write(&file, damaged).expect("written");
        assert!(matches!(entries.get(KEY), Err(EntryError::Invalid("is damaged"))), "byte {at}");
        fs::write(&file, &sound[..at]).expect("written");
        assert!(matches!(entries.get(KEY), Err(EntryError::Invalid(_))), "{at} bytes");
    }
    fs::write(&file, [&sound[..], b"!"].concat()).expect("written");
    assert!(matches!(entries.get(KEY), Err(EntryError::Invalid("is damaged"))));
}

#[test]
fn an_entry_under_another_name_is_rejected() {
    let other = CacheKey([8; 32]);
    let (_directory, path, entries) = cache();
    entries.put(other, &content(b"artifact")).expect("stored");
    fs::rename(path.join(other.name()), path.join(KEY.name())).expect("moved");
    assert!(matches!(entries.get(KEY), Err(EntryError::Invalid("is damaged"))));
}

#[test]
fn entries_must_be_private_regular_files() {
    let target = tempfile::NamedTempFile::new().expect("a temporary file");
    let replace_by_link = |file: &Path| {
        fs::copy(file, target.path()).expect("copied");
        fs::remove_file(file).expect("removed");
        symlink(target.path(), file).expect("linked");
    };
    expect_invalid(replace_by_link, "is a symbolic link");
    let replace_by_pipe = |file: &Path| {
        fs::remove_file(file).expect("removed");
        rustix::fs::mkfifoat(CWD, file, Mode::from_raw_mode(0o600)).expect("made");
    };
    expect_invalid(replace_by_pipe, "is not a regular file");
    let open_up = |file: &Path| fs::set_permissions(file, Permissions::from_mode(0o620)).expect("set");
    expect_invalid(open_up, "can be written by others");
    if geteuid().is_root() {
        expect_invalid(|file| chown(file, Some(65534), None).expect("given away"), "belongs to another user");
    } else {
        skip(&current_test(), "only root can give a file to another user");
    }
}

#[test]
fn a_directory_open_to_others_is_rejected() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let reason = |path: &Path| Entries::open(path).expect_err("rejected");
    let path = directory.path().join("cache");
    Entries::open(&path).expect("created");
    for mode in [0o701, 0o710, 0o740, 0o777] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
        assert_eq!(reason(&path), format!("is open to others, with mode {mode:o}; chmod it to 700"));
    }
    fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("set");
    Entries::open(&path).expect("private again");

    let (link, file) = (directory.path().join("link"), directory.path().join("file"));
    symlink(&path, &link).expect("linked");
    assert_eq!(reason(&link), "is a symbolic link; name the directory that it leads to");
    assert_eq!(reason(&link.join("")), "is a symbolic link; name the directory that it leads to");
    fs::write(&file, "").expect("written");
    assert_eq!(reason(&file), "is not a directory; remove the file that is there");
    assert!(reason(&file.join("cache")).starts_with("cannot be created: "));
    if geteuid().is_root() {
        chown(&path, Some(65534), None).expect("given away");
        assert_eq!(reason(&path), "belongs to user 65534; give it to user 0, which the agent runs as");
    } else {
        skip(&current_test(), "only root can give a directory to another user");
    }
}

/// Creates a file that was used last `age` ago.
fn aged(path: &Path, name: &str, bytes: u64, age: Duration, now: SystemTime) -> PathBuf {
    let path = path.join(name);
    let file = File::create(&path).expect("created");
    file.set_len(bytes).expect("grown");
    file.set_modified(now - age).expect("set");
    path
}

#[test]
fn entries_are_pruned_by_age_then_size() {
    let (_directory, path, entries) = cache();
    let now = SystemTime::now();
    let day = Duration::from_secs(24 * 60 * 60);
    let entry = |key: u8, days: u32| aged(&path, &CacheKey([key; 32]).name(), 100, days * day, now);
    let files = [entry(0, 30), entry(1, 0), entry(2, 2), entry(3, 10), entry(4, 20)];
    let existing = || files.iter().map(|file| file.exists()).collect::<Vec<_>>();
    entries.prune(500, 100 * day, now).expect("pruned");
    assert_eq!(existing(), [true; 5]);
    entries.prune(500, 29 * day, now).expect("pruned");
    assert_eq!(existing(), [false, true, true, true, true]);
    entries.prune(399, 29 * day, now).expect("pruned");
    assert_eq!(existing(), [false, true, true, true, false]);
    entries.prune(100, 29 * day, now).expect("pruned");
    assert_eq!(existing(), [false, true, false, false, false]);
}

#[test]
fn use_renews_an_entry() {
    let (_directory, path, entries) = cache();
    let file = path.join(KEY.name());
    entries.put(KEY, &content(b"artifact")).expect("stored");
    let now = SystemTime::now();
    File::options().write(true).open(&file).and_then(|file| file.set_modified(now - 2 * MAX_AGE)).expect("set");
    assert!(entries.get(KEY).expect("read").is_some());
    entries.prune(MAX_BYTES, MAX_AGE, now).expect("pruned");
    assert!(file.exists());
}

#[test]
fn pruning_removes_stale_temporary_files_only() {
    let (_directory, path, entries) = cache();
    let now = SystemTime::now();
    let name = KEY.name();
    let stale = aged(&path, &format!("{name}.1{TEMPORARY_SUFFIX}"), 1, 2 * STALE_AFTER, now);
    let unfinished = aged(&path, &format!("{name}.2{TEMPORARY_SUFFIX}"), 1, STALE_AFTER / 2, now);
    let foreign = aged(&path, "notes.txt", 1, 2 * MAX_AGE, now);
    fs::create_dir(path.join(&name)).expect("created");
    entries.prune(0, MAX_AGE, now).expect("pruned");
    assert!(!stale.exists() && unfinished.exists() && foreign.exists() && path.join(name).exists());
}

#[test]
fn two_agents_share_a_directory() {
    let (_directory, path, first) = cache();
    let second = Entries::open(&path).expect("private");
    let rounds = 200_u32;
    std::thread::scope(|scope| {
        for entries in [&first, &second] {
            scope.spawn(move || {
                for round in 0..rounds {
                    let key = CacheKey([(round % 5) as u8; 32]);
                    entries.put(key, &content(&vec![key.0[0]; 10_000])).expect("stored");
                    if round % 7 == 0 {
                        entries.remove(key);
                    }
                    if round % 50 == 0 {
                        entries.prune(20_000, MAX_AGE, SystemTime::now()).expect("pruned");
                    }
                    if let Some(artifact) = entries.get(key).expect("complete") {
                        assert_eq!(artifact.hash(), content(&vec![key.0[0]; 10_000]).hash());
                    }
                }
            });
        }
    });
}
