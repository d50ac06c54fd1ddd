//! Tests of spools on a real file system: beside a model, with damage, and with writes that fail.

mod damage;
mod faults;
mod model;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::sink::spool::segment::{self, NamedFile};

const IDENTITY: SpoolIdentity = SpoolIdentity { kind: "remote_write", protocol: 1, naming: "gauged" };

/// A spool with segments of 1 KiB.
const SMALL: SpoolBounds = SpoolBounds { bytes: 8 << 10, age: Duration::from_secs(3600) };

/// A spool with five requests in a segment, and room for all that a test writes.
const WIDE: SpoolBounds = SpoolBounds { bytes: 16 << 20, age: Duration::from_secs(64) };

fn open(directory: &Path, bounds: SpoolBounds) -> Spool {
    Spool::open(directory, IDENTITY, bounds).expect("opened")
}

/// A directory for spools, and the path of one in it.
fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state/spool/vm.remote_write");
    (directory, path)
}

fn request(number: u32, length: usize) -> Request {
    let body: Vec<u8> = (0..length).map(|at| byte(number as usize * 31 + at)).collect();
    Request {
        time: Duration::from_secs(number.into()),
        points: number % 7,
        is_last: !number.is_multiple_of(3),
        body: body.into(),
    }
}

/// The last byte of a number.
fn byte(number: usize) -> u8 {
    u8::try_from(number % 256).expect("a byte")
}

fn size(number: u64) -> usize {
    usize::try_from(number).expect("small")
}

fn requests(numbers: Range<u32>, length: usize) -> Vec<Request> {
    numbers.map(|number| request(number, length)).collect()
}

/// All that waits.
fn all(spool: &mut Spool) -> Vec<(u64, Request)> {
    spool.read(0, usize::MAX).expect("readable")
}

fn sequences(spool: &mut Spool) -> Vec<u64> {
    all(spool).into_iter().map(|(sequence, _)| sequence).collect()
}

fn counts<'r>(requests: impl IntoIterator<Item = &'r Request>) -> Counts {
    requests.into_iter().fold(Mark::BEGINNING, Mark::after_request).before
}

/// The names of the files in a directory, in order.
fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readable").file_name().into_string().expect("text")).collect();
    names.sort_unstable();
    names
}

fn segment_names(directory: &Path) -> Vec<String> {
    names(directory)
        .into_iter()
        .filter(|name| segment::parse_name(name.as_ref()).is_some_and(|file| matches!(file, NamedFile::Segment(_))))
        .collect()
}

#[test]
fn requests_come_back_in_order() {
    let (_root, path) = directory();
    let mut spool = open(&path, SMALL);
    assert_eq!((spool.backlog().waiting, spool.backlog().oldest), (Counts::default(), None));
    assert!(!path.exists(), "nothing is made before something is kept");
    let kept = requests(1..20, 100);
    assert_eq!(spool.append(&kept[..5]).expect("written"), 1);
    assert_eq!(spool.append(&kept[5..]).expect("written"), 6);
    let expected: Vec<(u64, Request)> = (1..).zip(kept.clone()).collect();
    assert_eq!(all(&mut spool), expected);
    let backlog = spool.backlog();
    assert_eq!((backlog.waiting, backlog.oldest), (counts(&kept), Some(Duration::from_secs(1))));
    assert_eq!((backlog.first, backlog.next), (1, 20));
    assert_eq!(spool.read(7, 250).expect("readable"), expected[6..9]);
    assert_eq!(spool.read(10, 1).expect("readable"), expected[9..10]);
    assert_eq!(spool.read(20, 1).expect("readable"), []);
    assert_eq!(all(&mut open(&path, SMALL)), expected);
}

#[test]
fn acknowledged_spool_leaves_nothing() {
    let (_root, path) = directory();
    let mut spool = open(&path, SMALL);
    spool.append(&requests(0..20, 100)).expect("written");
    spool.acknowledge(4).expect("recorded");
    assert_eq!(sequences(&mut spool), (5..=20).collect::<Vec<_>>());
    assert!(names(&path).contains(&"position".to_owned()));
    assert_eq!(sequences(&mut open(&path, SMALL)), (5..=20).collect::<Vec<_>>());
    spool.acknowledge(99).expect("recorded");
    assert!(!path.exists() && path.parent().expect("above").is_dir());
    assert_eq!(spool.backlog(), DiskBacklog { first: 21, next: 21, ..DiskBacklog::default() });
    assert_eq!(spool.append(&requests(0..1, 10)).expect("written"), 21, "the sequence goes on");
    assert_eq!(sequences(&mut open(&path, SMALL)), [21]);
    assert_eq!(spool.take_losses(), SpoolLosses::default());
}

#[test]
fn full_spool_drops_the_oldest_and_counts_it() {
    let (_root, path) = directory();
    let mut spool = open(&path, SMALL);
    let kept = requests(0..200, 100);
    for request in &kept {
        spool.append(std::slice::from_ref(request)).expect("written");
        assert!(spool.backlog().bytes <= SMALL.bytes, "{:?}", spool.backlog());
    }
    let left = size(spool.backlog().waiting.requests);
    assert!(left > 30, "{left}");
    let (dropped, newest) = kept.split_at(kept.len() - left);
    let losses = SpoolLosses { full: counts(dropped), ..SpoolLosses::default() };
    assert_eq!((spool.take_losses(), spool.take_losses()), (losses, SpoolLosses::default()));
    assert_eq!(all(&mut spool), (dropped.len() as u64 + 1..).zip(newest.to_vec()).collect::<Vec<_>>());
    // The part of a segment that is acknowledged is not dropped.
    let mut spool = open(&path, SMALL);
    let first = spool.backlog().first;
    spool.acknowledge(first + 1).expect("recorded");
    let before = all(&mut spool);
    let dropped = spool.drop_oldest().expect("removed").expect("a segment");
    assert_eq!(dropped, counts(before.iter().take(size(dropped.requests)).map(|(_, request)| request)));
    assert_eq!(all(&mut spool), before[size(dropped.requests)..]);
    assert_eq!(all(&mut open(&path, SMALL)), all(&mut spool));
    spool.configure(IDENTITY, SpoolBounds { bytes: 3 << 10, ..SMALL });
    spool.enforce(Duration::ZERO).expect("removed");
    assert!((1..=3 << 10).contains(&spool.backlog().bytes), "{:?}", spool.backlog());
}

#[test]
fn request_larger_than_the_spool_drops_nothing() {
    let (_root, path) = directory();
    let mut spool = open(&path, SMALL);
    spool.append(&requests(0..3, 100)).expect("written");
    let error = spool.append(&[request(3, 100), request(4, 8 << 10)]).expect_err("too large");
    assert!(error.text.contains("larger than a spool") && error.remedy.contains("spool_size"), "{error:?}");
    assert_eq!(sequences(&mut spool), [1, 2, 3]);
    // One that fits is kept, though it is longer than a segment.
    spool.append(&[request(3, 7 << 10)]).expect("written");
    assert_eq!(all(&mut open(&path, SMALL)), [(4, request(3, 7 << 10))]);
    assert_eq!(spool.take_losses().full.requests, 3);
}

#[test]
fn old_requests_expire_by_segment() {
    let (_root, path) = directory();
    let mut spool = open(&path, SMALL);
    // A segment spans a sixteenth of the hour.
    let kept: Vec<Request> = (0..10).map(|number| request(number * 100, 10)).collect();
    spool.append(&kept).expect("written");
    assert_eq!(segment_names(&path).len(), 4);
    let age = |seconds: u64| Duration::from_secs(3600 + seconds);
    spool.enforce(age(300)).expect("removed");
    assert_eq!(sequences(&mut spool).len(), 10, "the last one of the first segment is no older than the bound");
    let mut spool = open(&path, SMALL);
    spool.enforce(age(301)).expect("removed");
    assert_eq!(sequences(&mut spool), (4..=10).collect::<Vec<_>>());
    assert_eq!(spool.take_losses(), SpoolLosses { expired: counts(&kept[..3]), ..SpoolLosses::default() });
    spool.enforce(age(901)).expect("removed");
    assert_eq!(spool.take_losses().expired, counts(&kept[3..]));
    assert!(!path.exists());
}

#[test]
fn removed_directory_costs_only_its_own_requests() {
    let (_root, path) = directory();
    let mut spool = open(&path, SMALL);
    let lost = requests(0..20, 100);
    spool.append(&lost).expect("written");
    fs::remove_dir_all(path.parent().expect("above")).expect("removed");
    assert_eq!(spool.append(&requests(20..22, 100)).expect("written"), 21);
    assert_eq!(sequences(&mut spool), [21, 22]);
    assert_eq!(sequences(&mut open(&path, SMALL)), [21, 22]);
    assert_eq!(spool.take_losses().damaged, counts(&lost));
    // Without a request in between, what is open can still be sent.
    fs::remove_dir_all(&path).expect("removed");
    let error = spool.acknowledge(21).expect_err("there is no place for the position");
    assert!(error.text.starts_with("failed to write the position in "), "{error:?}");
    assert_eq!(sequences(&mut spool), [22]);
    spool.acknowledge(22).expect("recorded");
    assert_eq!((spool.backlog().waiting, spool.take_losses()), Default::default());
}

#[test]
fn requests_of_other_namings_are_sent() {
    let (_root, path) = directory();
    let other = SpoolIdentity { naming: "node_exporter", protocol: 2, ..IDENTITY };
    open(&path, SMALL).append(&requests(0..2, 10)).expect("written");
    let mut spool = Spool::open(&path, other, SMALL).expect("opened");
    spool.append(&requests(2..4, 10)).expect("written");
    assert_eq!((sequences(&mut spool), segment_names(&path).len()), (vec![1, 2, 3, 4], 2));
}

#[test]
fn newer_formats_and_other_kinds_are_moved_aside() {
    let (_root, path) = directory();
    let kind = SpoolIdentity { kind: "otlp", ..IDENTITY };
    Spool::open(&path, kind, SMALL).expect("opened").append(&requests(0..2, 10)).expect("written");
    let newer = SpoolIdentity { protocol: 2, ..IDENTITY };
    let mut spool = open(&path, SMALL);
    assert_eq!((all(&mut spool), names(&path)), (vec![], vec![format!("{:020}.seg.aside", 1)]));
    let first = spool.append(&requests(0..2, 10)).expect("written");
    assert!(first > 1 << 32, "its sequences are not given again");
    spool.configure(newer, SMALL);
    spool.append(&requests(2..3, 10)).expect("written");
    spool.configure(IDENTITY, SMALL);
    spool.append(&requests(3..4, 10)).expect("written");
    drop(spool);
    let mut spool = open(&path, SMALL);
    assert_eq!(sequences(&mut spool), [first, first + 1, first + 3]);
    spool.acknowledge(first + 3).expect("recorded");
    assert_eq!(spool.take_losses().damaged, counts(&requests(2..3, 10)), "it is not sent, and that is counted");
    assert_eq!(names(&path).len(), 2);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after it");
    spool.enforce(now + SMALL.age / 2).expect("removed");
    assert_eq!(names(&path).len(), 2);
    spool.enforce(now + SMALL.age * 2).expect("removed");
    assert_eq!(names(&path), [""; 0]);
}

#[test]
fn restart_goes_on_in_the_last_segment() {
    let (_root, path) = directory();
    for number in 0..5 {
        let first = open(&path, SMALL).append(&requests(number..number + 1, 10)).expect("written");
        assert_eq!(first, u64::from(number) + 1);
    }
    assert_eq!(segment_names(&path).len(), 1);
    assert_eq!(all(&mut open(&path, SMALL)), (1..).zip(requests(0..5, 10)).collect::<Vec<_>>());
}

#[test]
fn sync_covers_segments_and_directories() {
    let (_root, path) = directory();
    let mut spool = open(&path, SMALL);
    spool.sync().expect("there is nothing");
    spool.append(&requests(0..20, 100)).expect("written");
    spool.acknowledge(3).expect("recorded");
    spool.sync_complete().expect("synced");
    spool.sync().expect("synced");
    fs::remove_dir_all(&path).expect("removed");
    let error = spool.sync().expect_err("it is gone");
    assert!(error.text.starts_with("failed to sync "), "{error:?}");
}

#[test]
fn files_are_private() {
    use std::os::unix::fs::MetadataExt as _;

    let (root, path) = directory();
    let mut spool = open(&path, SMALL);
    spool.append(&requests(0..20, 100)).expect("written");
    spool.acknowledge(3).expect("recorded");
    let mode = |path: PathBuf| fs::metadata(path).expect("there").mode() & 0o7777;
    assert_eq!(mode(path.clone()), 0o700);
    assert!(names(&path).iter().all(|name| mode(path.join(name)) == 0o600));
    assert_eq!(mode(root.path().join("state")), 0o700);
}
