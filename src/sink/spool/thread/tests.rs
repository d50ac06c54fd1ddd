//! Tests of the thread, with real state directories.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::sink::spool::counts::Counts;

const IDENTITY: SpoolIdentity = SpoolIdentity { kind: "otlp", protocol: 1, naming: "otel" };

const BOUNDS: SpoolBounds = SpoolBounds { bytes: 64 << 10, age: Duration::from_secs(3600) };

/// A host, and the state directory of an agent on it.
struct Host {
    root: tempfile::TempDir,
    state: StateDirectory,
}

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let state = StateDirectory::new(Some(root.path().join("state")));
        Self { root, state }
    }

    /// The same host, as the next agent finds it.
    fn restart(self) -> Self {
        self.state.end();
        Self { state: StateDirectory::new(Some(self.root.path().join("state"))), ..self }
    }

    fn path(&self, name: &str) -> PathBuf {
        let state = self.root.path().join("state");
        if name.is_empty() { state } else { state.join(name) }
    }

    fn spool(&self) -> SpoolHandle {
        let (handle, mut thread) = SpoolThread::new(self.state.clone(), "vm", IDENTITY, BOUNDS);
        thread.start().expect("started");
        thread.start().expect("it runs");
        handle
    }
}

/// Requests of a second ago, so that they are not too old.
fn requests(count: u32) -> Vec<Request> {
    let request = |number: u32| Request {
        time: wall_clock().saturating_sub(Duration::from_secs(1)) + Duration::from_millis(number.into()),
        points: 10,
        is_last: true,
        body: vec![b'x'; 1000].into(),
    };
    (0..count).map(request).collect()
}

async fn run(handle: &mut SpoolHandle, command: SpoolCommand) -> SpoolReply {
    assert!(!handle.is_busy());
    handle.begin(command).expect("no other one is under way");
    handle.reply().await
}

fn answer(reply: SpoolReply) -> SpoolAnswer {
    assert_eq!(reply.problem, None);
    reply.answer.expect("done")
}

fn sequences(reply: SpoolReply) -> Vec<u64> {
    match answer(reply) {
        SpoolAnswer::Requests(requests) => requests.into_iter().map(|(sequence, _)| sequence).collect(),
        other => panic!("{other:?}"),
    }
}

fn error(reply: SpoolReply) -> SinkError {
    reply.answer.expect_err("an error")
}

const READ: SpoolCommand = SpoolCommand::Read { from: 0, max_bytes: usize::MAX };

#[tokio::test]
async fn spool_outlasts_its_thread() {
    let host = Host::new();
    let mut spool = host.spool();
    for command in [SpoolCommand::Open, SpoolCommand::Sync, SpoolCommand::Acknowledge { through: 7 }] {
        assert_eq!(answer(run(&mut spool, command).await), SpoolAnswer::Done);
    }
    assert_eq!(sequences(run(&mut spool, READ).await), [0; 0]);
    assert!(host.path("running").exists() && !host.path("spool").exists(), "the run is marked, and nothing is kept");
    let reply = run(&mut spool, SpoolCommand::Append(requests(5))).await;
    assert_eq!(
        (reply.backlog.waiting, reply.losses),
        (Counts { requests: 5, samples: 5, points: 50 }, SpoolLosses::default())
    );
    assert_eq!(answer(reply), SpoolAnswer::Appended { first: 1 });
    assert_eq!(answer(run(&mut spool, SpoolCommand::Acknowledge { through: 2 }).await), SpoolAnswer::Done);
    assert_eq!(answer(run(&mut spool, SpoolCommand::Sync).await), SpoolAnswer::Done);
    assert_eq!(spool.backlog().first, 3);
    drop(spool);
    let host = host.restart();
    let mut spool = host.spool();
    // The thread before may still be about to end.
    while run(&mut spool, SpoolCommand::Open).await.answer.is_err() {}
    assert_eq!(spool.backlog().waiting.requests, 3);
    assert_eq!(sequences(run(&mut spool, READ).await), [3, 4, 5]);
    run(&mut spool, SpoolCommand::Acknowledge { through: 5 }).await;
    assert_eq!(fs::read_dir(host.path("spool")).expect("readable").count(), 0);
}

#[tokio::test]
async fn commands_are_under_way_one_at_a_time() {
    let host = Host::new();
    let (mut handle, mut thread) = SpoolThread::new(host.state.clone(), "vm", IDENTITY, BOUNDS);
    handle.begin(SpoolCommand::Append(requests(1))).expect("the first one");
    let refused = handle.begin(READ).expect_err("a second one");
    assert!(matches!(refused, SpoolCommand::Read { .. }), "{refused:?}");
    // Without its thread the reply waits, and may be waited for again.
    let waited = tokio::time::timeout(Duration::from_millis(10), handle.reply()).await;
    assert!(waited.is_err() && handle.is_busy());
    thread.start().expect("started");
    assert_eq!(answer(handle.reply().await), SpoolAnswer::Appended { first: 1 });
    handle.begin(refused).expect("the next one");
    assert_eq!(sequences(handle.reply().await), [1]);
}

#[tokio::test]
async fn thread_that_is_gone_is_an_error() {
    let host = Host::new();
    let (mut handle, thread) = SpoolThread::new(host.state.clone(), "vm", IDENTITY, BOUNDS);
    handle.begin(READ).expect("begun");
    drop(thread);
    assert_eq!(handle.reply().await.answer.expect_err("gone").text, "the thread of the spool has ended");
    handle.begin(READ).expect("begun");
    assert!(handle.reply().await.answer.is_err());
}

#[tokio::test]
async fn losses_are_in_the_next_reply() {
    let host = Host::new();
    let mut spool = host.spool();
    let reply = run(&mut spool, SpoolCommand::Append(requests(60))).await;
    let (kept, dropped) = (reply.backlog.waiting.requests, reply.losses.full);
    assert_eq!((dropped, kept), (Counts::default(), 60));
    let reply = run(&mut spool, SpoolCommand::Append(requests(60))).await;
    assert_eq!(reply.losses.full.requests + reply.backlog.waiting.requests, 120);
    assert_eq!(reply.losses.full.points, 10 * reply.losses.full.requests);
    assert_eq!(run(&mut spool, READ).await.losses, SpoolLosses::default());
    // A shorter spool, and one of a minute in which all are too old.
    let smaller = SpoolBounds { bytes: 20 << 10, ..BOUNDS };
    let reply = run(&mut spool, SpoolCommand::Configure(IDENTITY, smaller)).await;
    assert!(reply.losses.full.requests > 30 && reply.backlog.bytes <= smaller.bytes, "{reply:?}");
    let waiting = reply.backlog.waiting;
    let old = SpoolBounds { age: Duration::ZERO, ..smaller };
    let reply = run(&mut spool, SpoolCommand::Configure(IDENTITY, old)).await;
    assert_eq!((reply.losses.expired, reply.backlog.waiting), (waiting, Counts::default()));
}

#[tokio::test]
async fn unusable_state_directory_keeps_nothing() {
    let host = Host::new();
    fs::write(host.path(""), "a file").expect("written");
    let mut spool = host.spool();
    let error = error(run(&mut spool, SpoolCommand::Append(requests(1))).await);
    assert!(error.text.starts_with("failed to make "), "{error:?}");
    assert_eq!(sequences(run(&mut spool, READ).await), [0; 0]);
    assert_eq!(spool.backlog().waiting, Counts::default());
}

#[tokio::test]
async fn second_agent_has_an_error_of_its_own() {
    let host = Host::new();
    let mut first = host.spool();
    run(&mut first, SpoolCommand::Append(requests(1))).await;
    let other = StateDirectory::new(Some(host.path("")));
    let (mut second, mut thread) = SpoolThread::new(other, "vm", IDENTITY, BOUNDS);
    thread.start().expect("started");
    for command in [SpoolCommand::Append(requests(1)), READ] {
        assert_eq!(error(run(&mut second, command).await).reason, ErrorReason::InUse);
    }
    assert_eq!(sequences(run(&mut first, READ).await), [1]);
}

#[tokio::test]
async fn removed_state_directory_is_made_again() {
    let host = Host::new();
    let mut spool = host.spool();
    run(&mut spool, SpoolCommand::Append(requests(2))).await;
    fs::remove_dir_all(host.path("")).expect("removed");
    let reply = run(&mut spool, SpoolCommand::Append(requests(1))).await;
    assert_eq!(reply.losses.damaged, Counts { requests: 2, samples: 2, points: 20 });
    assert_eq!(answer(reply), SpoolAnswer::Appended { first: 3 });
    assert!(host.path("lock").exists() && host.path("running").exists());
    assert_eq!(sequences(run(&mut spool, READ).await), [3]);
}
