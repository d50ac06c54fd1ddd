//! Tests of spools without a sink.

use super::*;
use crate::sink::request::Request;
use crate::sink::spool::bounds::SpoolBounds;
use crate::sink::spool::segment::SpoolIdentity;

const AGE: Duration = Duration::from_secs(3600);

fn spools() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().expect("a directory");
    let spools = root.path().join("state/spool");
    (root, spools)
}

/// A spool with so many requests, of which one is acknowledged.
fn fill(path: &Path, count: u32) {
    let identity = SpoolIdentity { kind: "otlp", protocol: 1, naming: "otel" };
    let mut spool = Spool::open(path, identity, SpoolBounds { bytes: 1 << 20, age: AGE }).expect("opened");
    let request = |number: u32| Request {
        time: Duration::from_secs(u64::from(number) * 200),
        points: number,
        is_last: true,
        body: vec![0; 100].into(),
    };
    spool.append(&(0..count).map(request).collect::<Vec<_>>()).expect("written");
    spool.acknowledge(1).expect("recorded");
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn found(spools: &Path, configured: &[&str], open: &[&str]) -> Vec<String> {
    find(spools, &set(configured), &set(open)).into_iter().map(|orphan| orphan.name).collect()
}

#[test]
fn spools_without_a_sink_are_found() {
    let (_root, spools) = spools();
    assert_eq!(found(&spools, &[], &[]), [""; 0]);
    for name in ["vm.otlp", "vm.influx", "b.otlp"] {
        fill(&spools.join(name), 2);
    }
    fs::write(spools.join("file"), "").expect("written");
    assert_eq!(found(&spools, &[], &[]), ["b.otlp", "vm.influx", "vm.otlp"]);
    assert_eq!(found(&spools, &["vm.otlp"], &["b.otlp"]), ["vm.influx"], "another kind is another spool");
}

#[test]
fn old_spool_is_removed_and_counted() {
    let (_root, spools) = spools();
    fill(&spools.join("vm.otlp"), 30);
    fs::create_dir(spools.join("empty.otlp")).expect("created");
    let losses = OrphanLosses::default();
    let until = find(&spools, &set(&[]), &set(&["empty.otlp"])).pop().expect("one").until;
    assert!((wall_clock() + AGE).abs_diff(until) < Duration::from_secs(60));
    let sweep = |now| sweep(find(&spools, &set(&[]), &set(&[])), now, &losses);
    assert_eq!(sweep(until), Some(until));
    assert!(!spools.join("empty.otlp").exists());
    assert_eq!(losses.counts(), Counts::default());
    assert_eq!(sweep(until + Duration::from_secs(1)), None);
    assert_eq!(losses.counts(), Counts { requests: 29, samples: 29, points: (1..30).sum() });
    assert_eq!(fs::read_dir(&spools).expect("readable").count(), 0);
}

#[test]
fn damaged_spool_is_removed_too() {
    let (_root, spools) = spools();
    let path = spools.join("vm.otlp");
    fill(&path, 30);
    fs::write(path.join(segment::name(1 << 40)), b"gauspool garbage").expect("written");
    fs::write(path.join("position"), "damaged").expect("written");
    assert!(spool_kept_until(&path) < wall_clock() + DEFAULT_AGE + Duration::from_secs(60));
    Spool::remove(&path).expect("removed");
    assert!(!path.exists());
}

#[test]
fn thread_ends_without_such_spools() {
    let (_root, spools) = spools();
    let state = StateDirectory::new(spools.parent().map(Path::to_owned));
    let mut orphans = Orphans::new(state.clone());
    orphans.follow(set(&[])).expect("started");
    let ended = |orphans: &Orphans| Arc::strong_count(orphans.losses()) == 1;
    while !ended(&orphans) {
        std::thread::yield_now();
    }
    fill(&spools.join("vm.otlp"), 2);
    fs::set_permissions(spools.parent().expect("above"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .expect("set");
    orphans.follow(set(&[])).expect("started");
    assert!(!ended(&orphans), "there is one");
    orphans.follow(set(&["vm.otlp"])).expect("started");
    while !ended(&orphans) {
        std::thread::yield_now();
    }
    assert_eq!(found(&spools, &[], &[]), ["vm.otlp"]);
    assert!(!spools.with_file_name("lock").exists(), "it was locked for a moment only");
}
