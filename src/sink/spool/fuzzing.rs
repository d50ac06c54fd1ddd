//! The fuzz target of spools: the files in a directory are any bytes, damaged ones, or ones with the right checksums and any content.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::bounds::SpoolBounds;
use super::counts::{Counts, Mark};
use super::position::{self, Position, Turn};
use super::record::push_record;
use super::segment::{self, NamedFile, SegmentHeader, SpoolIdentity};
use super::storage::Spool;
use crate::fuzzing::checks::Input;
use crate::sink::request::Request;

const IDENTITY: SpoolIdentity = SpoolIdentity { kind: "otlp", protocol: 1, naming: "otel" };

/// Five requests of one second after the other are in a segment.
const BOUNDS: SpoolBounds = SpoolBounds { bytes: 16 << 20, age: Duration::from_secs(64) };

/// A directory that is gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gauged-spool-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("vm.otlp")).expect("created");
        Self(path)
    }

    fn spool(&self) -> PathBuf {
        self.0.join("vm.otlp")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Reads, continues and drains a spool whose files are made of these bytes.
pub(crate) fn spool(bytes: &[u8]) {
    let scratch = Scratch::new();
    let mut input = Input(bytes);
    let kept = match input.byte() % 3 {
        0 => {
            fs::write(scratch.spool().join(segment::name(1)), input.0).expect("written");
            None
        }
        1 => Some(damage(&scratch.spool(), &mut input)),
        _ => {
            forge(&scratch.spool(), &mut input);
            None
        }
    };
    check(&scratch.spool(), kept.as_deref());
}

fn open(path: &Path) -> Spool {
    Spool::open(path, IDENTITY, BOUNDS).expect("damage is no error")
}

/// All that waits. Sequences rise.
fn all(spool: &mut Spool) -> Vec<(u64, Request)> {
    let requests = spool.read(0, usize::MAX).expect("readable");
    assert!(requests.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order");
    assert!(requests.first().is_none_or(|(first, _)| *first == spool.backlog().first));
    requests
}

/// `kept` has the requests that were written, if they are known: no other ones come back, and opening a spool loses none of those
/// that do. Forged records may contradict each other, so that it depends on the others which of them is trusted.
fn check(path: &Path, kept: Option<&[(u64, Request)]>) {
    let first = all(&mut open(path));
    assert!(kept.is_none_or(|kept| first.iter().all(|request| kept.contains(request))), "nothing is invented");
    let mut spool = open(path);
    let second = all(&mut spool);
    assert!(kept.is_none() || second == first, "opening loses nothing");
    let new = Request { time: Duration::from_secs(9), points: 3, is_last: true, body: "new".into() };
    let appended = (spool.append(std::slice::from_ref(&new)).expect("written"), new);
    let third = all(&mut spool);
    assert_eq!(third.last(), Some(&appended), "it is behind all others");
    let fourth = all(&mut open(path));
    assert!(fourth.contains(&appended) && (kept.is_none() || fourth == third), "and on the disk");
    spool.acknowledge(appended.0).expect("recorded");
    assert_eq!(spool.backlog().waiting, Counts::default());
    for name in fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name()) {
        let is_left = name == position::NAME || matches!(segment::parse_name(&name), Some(NamedFile::Segment(_)));
        assert!(!is_left, "{} is left", name.display());
    }
}

/// Makes a spool, and changes some bytes of its files or cuts one.
fn damage(path: &Path, input: &mut Input<'_>) -> Vec<(u64, Request)> {
    let mut spool = open(path);
    let mut kept = Vec::new();
    for number in 0..=u32::from(input.byte() % 16) {
        let length = usize::from(input.byte());
        let body: Vec<u8> = (0..length).map(|at| u8::try_from((number as usize + at) % 256).expect("a byte")).collect();
        let (time, is_last) = (Duration::from_secs(number.into()), length.is_multiple_of(2));
        let request = Request { time, points: number, is_last, body: body.into() };
        kept.push((spool.append(std::slice::from_ref(&request)).expect("written"), request));
    }
    spool.acknowledge(u64::from(input.byte() % 8)).expect("recorded");
    drop(spool);
    let mut files: Vec<PathBuf> =
        fs::read_dir(path).into_iter().flatten().map(|entry| entry.expect("readable").path()).collect();
    files.sort_unstable();
    while !input.is_empty() && !files.is_empty() {
        let file = &files[usize::from(input.byte()) % files.len()];
        let mut bytes = fs::read(file).expect("readable");
        let at = (usize::from(input.byte()) << 8 | usize::from(input.byte())) % (bytes.len() + 1);
        match input.byte() {
            0 => bytes.truncate(at),
            mask => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= mask),
        }
        fs::write(file, bytes).expect("written");
    }
    kept
}

/// A number that is small, or near the largest one.
fn number(input: &mut Input<'_>) -> u64 {
    match input.byte() {
        255 => u64::MAX - u64::from(input.byte()),
        254 => input.number(),
        small => small.into(),
    }
}

fn mark(input: &mut Input<'_>) -> Mark {
    let sequence = number(input);
    Mark { sequence, before: Counts { requests: number(input), samples: number(input), points: number(input) } }
}

/// Makes files whose checksums are right, and whose content is not.
fn forge(path: &Path, input: &mut Input<'_>) {
    while !input.is_empty() {
        let kind = if input.byte().is_multiple_of(8) { "influx" } else { "otlp" };
        let identity =
            SpoolIdentity { kind, protocol: u16::from(input.byte().is_multiple_of(8)) + 1, naming: "gauged" };
        let (time, age) = (Duration::from_nanos(number(input)), Duration::from_secs(number(input)));
        let header = SegmentHeader::new(&identity, age, mark(input), time);
        let mut bytes = header.to_bytes();
        for _ in 0..input.byte() % 8 {
            match input.byte() % 4 {
                0 => bytes.extend(input.text().into_bytes()),
                kind => {
                    let time = Duration::from_nanos(number(input));
                    let (points, is_last) = (u32::from(input.byte()), kind == 1);
                    let request = Request { time, points, is_last, body: input.text().into_bytes().into() };
                    push_record(&mut bytes, mark(input), &request, header.salt);
                }
            }
        }
        let first = if input.byte().is_multiple_of(8) { number(input) } else { header.mark.sequence };
        fs::write(path.join(segment::name(first)), bytes).expect("written");
        if input.byte().is_multiple_of(4) {
            let position = Position { mark: mark(input), segment: number(input), offset: number(input) };
            position.write(path, Turn::First).expect("written");
        }
        if input.byte().is_multiple_of(16) {
            fs::write(path.join(position::NAME), input.text()).expect("written");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_files_are_survived(mode in 0_u8..3, bytes in vec(prop_oneof![0_u8..10, any::<u8>()], 0..500)) {
            let all: Vec<u8> = [mode].into_iter().chain(bytes).collect();
            super::spool(&all);
        }
    }
}
