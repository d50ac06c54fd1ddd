//! Damaged files: all records come back that can be trusted, and the others are counted.

use std::os::unix::fs::{PermissionsExt as _, chown};

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::fs::Uid;
use rustix::process::geteuid;
use rustix::thread::set_thread_res_uid;

use super::*;

/// A record in the files, by its bytes.
#[derive(Debug, Clone)]
struct Placed {
    segment: String,
    bytes: Range<usize>,
    sequence: u64,
}

/// The records of all segments, read without the code under test.
fn layout(path: &Path) -> Vec<Placed> {
    let mut placed = Vec::new();
    for segment in segment_names(path) {
        let bytes = fs::read(path.join(&segment)).expect("readable");
        let number = |at: usize, length: usize| {
            bytes[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
        };
        let mut at = number(10, 2);
        while at < bytes.len() {
            let end = at + 64 + number(at + 8, 4);
            placed.push(Placed { segment: segment.clone(), bytes: at..end, sequence: number(at + 16, 8) as u64 });
            at = end;
        }
    }
    placed
}

/// A spool with requests in several segments, of which some are acknowledged. Returns all.
fn filled(path: &Path, lengths: &[usize], acknowledged: u64) -> Vec<(u64, Request)> {
    let kept: Vec<Request> = (1_u32..).zip(lengths).map(|(number, length)| request(number, *length)).collect();
    let mut spool = open(path, WIDE);
    for request in &kept {
        spool.append(std::slice::from_ref(request)).expect("written");
    }
    spool.acknowledge(acknowledged).expect("recorded");
    (1_u64..).zip(kept).collect()
}

/// Asserts that these requests come back, also a second time, that the spool can be used, and that what is missing is counted.
fn assert_left(path: &Path, all_kept: &[(u64, Request)], acknowledged: u64, left: &[u64]) -> Result<(), TestCaseError> {
    let is_left = |sequence: &u64| *sequence > acknowledged && left.contains(sequence);
    let expected: Vec<_> = all_kept.iter().filter(|(sequence, _)| is_left(sequence)).cloned().collect();
    assert_counted(path, all_kept, acknowledged, &expected)?;
    prop_assert_eq!(all(&mut open(path, WIDE)), expected.clone());
    let mut spool = open(path, WIDE);
    let first = spool.append(&[request(1000, 50)]).expect("written");
    prop_assert!(expected.iter().all(|(sequence, _)| *sequence < first));
    let with_new: Vec<_> = expected.iter().cloned().chain([(first, request(1000, 50))]).collect();
    prop_assert_eq!(all(&mut open(path, WIDE)), with_new.clone());
    prop_assert_eq!(all(&mut spool), with_new);
    spool.acknowledge(first).expect("recorded");
    prop_assert!(!path.exists());
    Ok(())
}

/// Asserts that what is missing is counted exactly, up to the last request that is left. Works on a copy.
fn assert_counted(
    path: &Path,
    all_kept: &[(u64, Request)],
    acknowledged: u64,
    left: &[(u64, Request)],
) -> Result<(), TestCaseError> {
    let copy = path.with_extension("copy");
    fs::create_dir(&copy).expect("created");
    for name in names(path) {
        fs::copy(path.join(&name), copy.join(&name)).expect("copied");
    }
    let mut spool = open(&copy, WIDE);
    let last = left.last().map_or(acknowledged, |(sequence, _)| *sequence);
    spool.acknowledge(last).expect("recorded");
    let damaged = spool.take_losses().damaged;
    fs::remove_dir_all(&copy).or_else(|_| if copy.exists() { Err(()) } else { Ok(()) }).expect("removed");
    let is_lost =
        |sequence: u64| (acknowledged + 1..last).contains(&sequence) && left.iter().all(|(left, _)| *left != sequence);
    let known = counts(all_kept.iter().filter(|(sequence, _)| is_lost(*sequence)).map(|(_, request)| request));
    let behind = all_kept.iter().filter(|(sequence, _)| *sequence > last).map(|(_, request)| request);
    let (exact, rest) = (damaged.since(known), counts(behind));
    prop_assert_eq!(
        Counts { requests: known.requests, ..known },
        Counts {
            requests: damaged.requests - exact.requests,
            samples: damaged.samples - exact.samples,
            points: damaged.points - exact.points,
        }
    );
    // Of what is behind it, the number may not be known; garbage counts as one request.
    prop_assert!(exact.requests <= rest.requests + 1 && exact.samples <= rest.samples && exact.points <= rest.points);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bit_costs_its_record_only(
        lengths in vec(0_usize..200, 1..30), acknowledged in 0_u64..25, place: prop::sample::Index, bit in 0_u8..8,
    ) {
        let (_root, path) = directory();
        let acknowledged = acknowledged.min(lengths.len() as u64 - 1);
        let kept = filled(&path, &lengths, acknowledged);
        let placed = layout(&path);
        let segments = segment_names(&path);
        let segment = place.get(&segments);
        let mut bytes = fs::read(path.join(segment)).expect("readable");
        let at = place.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(path.join(segment), &bytes).expect("written");
        let header = placed.iter().filter(|placed| placed.segment == *segment).map(|placed| placed.bytes.start).min();
        let is_lost = |placed: &Placed| {
            placed.segment == *segment && (placed.bytes.contains(&at) || header.is_none_or(|header| at < header))
        };
        let left: Vec<u64> = placed.iter().filter(|placed| !is_lost(placed)).map(|placed| placed.sequence).collect();
        assert_left(&path, &kept, acknowledged, &left)?;
    }

    #[test]
    fn cut_file_keeps_all_whole_records(
        lengths in vec(0_usize..200, 1..30), acknowledged in 0_u64..25, place: prop::sample::Index, is_last: bool,
        garbage in vec(any::<u8>(), 0..300),
    ) {
        let (_root, path) = directory();
        let acknowledged = acknowledged.min(lengths.len() as u64 - 1);
        let kept = filled(&path, &lengths, acknowledged);
        let placed = layout(&path);
        let segments = segment_names(&path);
        let segment = if is_last { &segments[segments.len() - 1] } else { place.get(&segments) };
        let mut bytes = fs::read(path.join(segment)).expect("readable");
        let cut = place.index(bytes.len() + 1);
        bytes.truncate(cut);
        bytes.extend(garbage);
        fs::write(path.join(segment), &bytes).expect("written");
        let header = placed.iter().filter(|placed| placed.segment == *segment).map(|placed| placed.bytes.start).min();
        let is_lost = |placed: &Placed| {
            placed.segment == *segment && (placed.bytes.end > cut || header.is_none_or(|header| cut < header))
        };
        let left: Vec<u64> = placed.iter().filter(|placed| !is_lost(placed)).map(|placed| placed.sequence).collect();
        assert_left(&path, &kept, acknowledged, &left)?;
    }

    #[test]
    fn torn_end_is_no_loss(lengths in vec(0_usize..200, 2..12), place: prop::sample::Index) {
        let (_root, path) = directory();
        let kept = filled(&path, &lengths, 0);
        let last = layout(&path).pop().expect("a record");
        let file = fs::OpenOptions::new().write(true).open(path.join(&last.segment)).expect("opened");
        let cut = place.index(last.bytes.len());
        file.set_len((last.bytes.start + cut) as u64).expect("cut");
        let mut spool = open(&path, WIDE);
        prop_assert_eq!(all(&mut spool), &kept[..kept.len() - 1]);
        prop_assert_eq!(spool.take_losses(), SpoolLosses::default());
        let first = spool.append(&[request(77, 9)]).expect("written");
        prop_assert_eq!(first, last.sequence);
        prop_assert_eq!(all(&mut open(&path, WIDE)).pop(), Some((first, request(77, 9))));
        prop_assert_eq!(open(&path, WIDE).take_losses(), SpoolLosses::default());
    }

    #[test]
    fn lost_position_sends_again(lengths in vec(0_usize..200, 2..30), acknowledged in 1_u64..25, is_damaged: bool) {
        let (_root, path) = directory();
        let acknowledged = acknowledged.min(lengths.len() as u64 - 1);
        let kept = filled(&path, &lengths, acknowledged);
        if is_damaged {
            fs::write(path.join("position"), "damaged").expect("written");
        } else {
            fs::remove_file(path.join("position")).expect("removed");
        }
        let mut spool = open(&path, WIDE);
        let again = all(&mut spool);
        prop_assert!(kept.ends_with(&again) && again.len() as u64 >= kept.len() as u64 - acknowledged);
        prop_assert_eq!(spool.take_losses(), SpoolLosses::default());
    }

    #[test]
    fn missing_segment_is_counted(lengths in vec(0_usize..100, 12..30), place: prop::sample::Index) {
        let (_root, path) = directory();
        let kept = filled(&path, &lengths, 0);
        let (segments, placed) = (segment_names(&path), layout(&path));
        let missing = &segments[..segments.len() - 1][place.index(segments.len() - 1)];
        fs::remove_file(path.join(missing)).expect("removed");
        let mut spool = open(&path, WIDE);
        let is_missing = |sequence: u64| placed.iter().any(|placed| placed.sequence == sequence && placed.segment == *missing);
        let (lost, left): (Vec<_>, Vec<_>) = kept.into_iter().partition(|(sequence, _)| is_missing(*sequence));
        prop_assert_eq!(all(&mut spool), left.clone());
        spool.acknowledge(u64::MAX).expect("recorded");
        // Where nothing was acknowledged, the first segment that is there counts as the first one.
        let is_first = *missing == segments[0];
        let expected = if is_first { Counts::default() } else { counts(lost.iter().map(|(_, request)| request)) };
        prop_assert_eq!(spool.take_losses().damaged, expected);
    }
}

#[test]
fn damage_before_known_marks_is_counted_exactly() {
    let (_root, path) = directory();
    let kept = filled(&path, &[100; 30], 1);
    let segments = segment_names(&path);
    // The third one has no header any more, and the second one has a record less.
    let damaged = layout(&path).into_iter().find(|placed| placed.segment == segments[1]).expect("a record");
    let mut bytes = fs::read(path.join(&segments[1])).expect("readable");
    bytes[damaged.bytes.start + 70] ^= 1;
    fs::write(path.join(&segments[2]), "").expect("written");
    fs::write(path.join(&segments[1]), bytes).expect("written");
    let mut spool = open(&path, WIDE);
    spool.acknowledge(29).expect("recorded");
    let lost: Vec<&Request> = kept[5..6].iter().chain(&kept[10..15]).map(|(_, request)| request).collect();
    assert_eq!(spool.take_losses(), SpoolLosses { damaged: counts(lost), ..SpoolLosses::default() });
    assert_eq!(sequences(&mut spool), [30]);
}

#[test]
fn damaged_records_alone_end_the_spool() {
    let (_root, path) = directory();
    let kept = filled(&path, &[100, 100, 100], 1);
    let mut spool = open(&path, WIDE);
    for placed in layout(&path).into_iter().skip(1) {
        let mut bytes = fs::read(path.join(&placed.segment)).expect("readable");
        bytes[placed.bytes.start + 64] ^= 1;
        fs::write(path.join(&placed.segment), bytes).expect("written");
    }
    assert_eq!(spool.read(0, 1).expect("readable"), [(2, kept[1].1.clone())][..0]);
    assert_eq!((spool.backlog().waiting, path.exists()), (Counts::default(), false));
    assert_eq!(spool.take_losses().damaged, counts(kept[1..].iter().map(|(_, request)| request)));
}

#[test]
fn body_that_looks_like_a_record_is_none() {
    let (_root, path) = directory();
    let kept = filled(&path, &[100, 100], 0);
    let placed = layout(&path);
    let bytes = fs::read(path.join(&placed[0].segment)).expect("readable");
    let (_other, other) = directory();
    let mut spool = open(&other, WIDE);
    // The second record of the first spool, with a sequence that would come next here.
    let body = bytes[placed[1].bytes.clone()].to_vec();
    spool.append(&[Request { body: body.into(), ..request(1, 0) }, request(2, 50)]).expect("written");
    drop(spool);
    let file = other.join(&segment_names(&other)[0]);
    let mut bytes = fs::read(&file).expect("readable");
    bytes[layout(&other)[0].bytes.start] ^= 1;
    fs::write(&file, bytes).expect("written");
    assert_eq!(all(&mut open(&other, WIDE)), [(2, request(2, 50))]);
    assert_eq!(all(&mut open(&path, WIDE)), kept);
}

#[test]
fn segment_without_permission_is_moved_aside() {
    let (root, path) = directory();
    let mut spool = open(&path, WIDE);
    let kept = requests(0..10, 10);
    spool.append(&kept[..5]).expect("written");
    spool.append(&kept[5..]).expect("written");
    drop(spool);
    let segments: Vec<PathBuf> = segment_names(&path).iter().map(|name| path.join(name)).collect();
    let [first, last] = segments.try_into().expect("two");
    let directory = path.clone();
    let read = move || -> (Vec<Request>, Counts) {
        let mut spool = open(&directory, WIDE);
        let rest = all(&mut spool).into_iter().map(|(_, request)| request).collect();
        assert_eq!(names(&directory)[0], format!("{:020}.seg.aside", 1));
        (rest, spool.take_losses().damaged)
    };
    fs::set_permissions(&first, fs::Permissions::from_mode(0o0)).expect("set");
    let (rest, damaged) = if geteuid().is_root() {
        // Root may read all: the spool is another user's.
        let user = Uid::from_raw(65534);
        for own in [&path, &last] {
            chown(own, Some(user.as_raw()), None).expect("given away");
        }
        for above in path.ancestors().skip(1).take_while(|above| above.starts_with(root.path())) {
            fs::set_permissions(above, fs::Permissions::from_mode(0o755)).expect("set");
        }
        let read = move || {
            // Of this thread only.
            set_thread_res_uid(user, user, user).expect("changed");
            read()
        };
        std::thread::spawn(read).join().expect("read")
    } else {
        read()
    };
    assert_eq!((rest, damaged), (kept[5..].to_vec(), counts(&kept[..5])));
}
