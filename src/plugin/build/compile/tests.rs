//! Compilers that end in every way, and what the log says then.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use expect_test::{Expect, expect};

use super::*;
use crate::plugin::build::queue::LARGE_BYTES;

fn compiler() -> Compiler {
    let (limits, pool) = (AgentLimits::default(), OffloadPool::start().expect("threads"));
    let engine = EngineOptions { layout: MemoryLayout::Reserved, purpose: Purpose::Serve };
    Compiler::new(limits, engine, pool, Arc::new(Ledger::new(&limits)))
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn expect_rejection(status: i32, message: &str, retry: RetryPolicy, expected: &Expect) {
    let rejection =
        exit_rejection(ExitStatus::from_raw(status), message, &AgentLimits::default()).expect("not compiled");
    assert!(rejection.is_fault);
    assert_eq!(rejection.retry, retry);
    expected.assert_eq(&rejection.text());
}

#[test]
fn exit_status_maps_to_rejection() {
    assert!(exit_rejection(ExitStatus::from_raw(0), "", &AgentLimits::default()).is_none());
    expect_rejection(3 << 8, "is empty; copy it again", RetryPolicy::Never, &expect!["is empty; copy it again"]);
    expect_rejection(
        4 << 8,
        "",
        RetryPolicy::Never,
        &expect!["takes more than 1.0 GiB of memory to compile; make it smaller, above all its largest function"],
    );
    expect_rejection(
        6,
        "memory allocation of 9 bytes failed",
        RetryPolicy::Never,
        &expect!["takes more than 1.0 GiB of memory to compile; make it smaller, above all its largest function"],
    );
    expect_rejection(
        24,
        "",
        RetryPolicy::Never,
        &expect![
            "takes more than 2m of CPU to compile; make it smaller, above all its largest function, or raise compile_cpu under [limits]"
        ],
    );
    expect_rejection(
        25,
        "",
        RetryPolicy::Never,
        &expect!["becomes more than 192.0 MiB of native code; make it smaller"],
    );
    expect_rejection(
        101 << 8,
        "thread 'main' panicked at x:1:\nwell",
        RetryPolicy::Never,
        &expect![[r"makes the compiler panic: thread 'main' panicked at x:1:\nwell; rebuild it, and report this"]],
    );
    expect_rejection(
        127 << 8,
        "error while loading shared libraries",
        RetryPolicy::Backoff,
        &expect![
            "cannot be compiled now: its compiler ended with code 127: error while loading shared libraries; report this"
        ],
    );
    expect_rejection(
        6,
        "thread 'main' has overflowed its stack",
        RetryPolicy::Never,
        &expect!["makes the compiler crash (signal 6); rebuild it, and report this"],
    );
    expect_rejection(
        11,
        "",
        RetryPolicy::Never,
        &expect!["makes the compiler crash (signal 11); rebuild it, and report this"],
    );
    expect_rejection(
        9,
        "",
        RetryPolicy::Backoff,
        &expect![
            "cannot be compiled now: its compiler was killed (signal 9), as the kernel does when memory is short; leave it up to 1.0 GiB"
        ],
    );
    expect_rejection(
        15,
        "",
        RetryPolicy::Backoff,
        &expect![
            "cannot be compiled now: its compiler was killed (signal 15), as the kernel does when memory is short; leave it up to 1.0 GiB"
        ],
    );
    expect_rejection(
        1 << 8,
        "no input; leave the host memory and processes",
        RetryPolicy::Backoff,
        &expect!["cannot be compiled now: no input; leave the host memory and processes"],
    );
}

#[test]
fn unconfined_child_reports_it_first() {
    assert_eq!(split_message("is empty; copy it again"), (None, "is empty; copy it again"));
    assert_eq!(split_message("unconfined: no seccomp"), (Some("no seccomp"), ""));
    assert_eq!(split_message("unconfined: no seccomp\nis empty\nx"), (Some("no seccomp"), "is empty\nx"));
    assert_eq!(split_message("x\nunconfined: y"), (None, "x\nunconfined: y"));
}

#[tokio::test]
async fn an_unstartable_compiler_is_retried() {
    let compiler = Compiler { program: "/nonexistent".into(), ..self::tests::compiler() };
    let file = Sealed::copy(&b"\0asm"[..]).expect("copied");
    let rejection = compiler.permit(file.length()).await.compile(&file).await.expect_err("there is no compiler");
    assert_eq!(rejection.retry, RetryPolicy::Backoff);
    expect!["cannot be compiled now: No such file or directory (os error 2); leave the agent room for another process"]
        .assert_eq(&rejection.text());
}

#[tokio::test]
async fn a_dropped_wait_loses_no_permit() {
    let compiler = compiler();
    let running = compiler.permit(LARGE_BYTES).await;
    let mut admitted = Box::pin(compiler.permit(LARGE_BYTES));
    let mut waiting = Box::pin(compiler.permit(LARGE_BYTES + 1));
    let mut last = pin!(compiler.permit(LARGE_BYTES + 2));
    assert!(poll(admitted.as_mut()).is_pending() && poll(waiting.as_mut()).is_pending());
    assert!(poll(last.as_mut()).is_pending());
    drop(waiting);
    drop(running);
    // It was given the permit, and never learns of it.
    drop(admitted);
    assert!(poll(last.as_mut()).is_ready());
    assert!(compiler.lock().admit().is_none(), "nothing waits");
}

#[tokio::test]
async fn files_wait_until_the_budget_is_free() {
    let (budget, hour) = (Duration::from_millis(1), Duration::from_millis(600));
    let limits = AgentLimits { compile_cpu_per_hour: Some(budget), ..AgentLimits::default() };
    let ledger = Arc::new(Ledger::with_wall_time(&limits, hour));
    let compiler = Compiler { limits, ledger: Arc::clone(&ledger), ..compiler() };
    let (compilation, began) = (ledger.start(), Instant::now());
    while began.elapsed() < budget * 2 {
        std::hint::spin_loop();
    }
    drop(compilation);
    let mut waiting = Box::pin(compiler.permit(0));
    assert!(poll(waiting.as_mut()).is_pending());
    drop(waiting.await);
    assert_eq!(ledger.cpu().1, Some(budget));
}

#[tokio::test]
async fn a_small_file_overtakes_large_ones() {
    let compiler = compiler();
    let large = compiler.permit(LARGE_BYTES).await;
    let mut waiting = pin!(compiler.permit(LARGE_BYTES));
    assert!(poll(waiting.as_mut()).is_pending());
    drop(compiler.permit(0).await);
    assert!(poll(waiting.as_mut()).is_pending(), "the permit is kept for small files");
    drop(large);
    assert!(poll(waiting.as_mut()).is_ready());
}

#[tokio::test]
async fn a_long_child_message_is_cut() {
    let endless = tokio::io::repeat(b'x').take(10 * MESSAGE_BYTES);
    assert_eq!(read_message(endless).await.expect("read").len() as u64, MESSAGE_BYTES);
}
