//! Compiles a plugin file in a child process: this program again, with the file's content as standard input and a file in
//! memory for the artifact as standard output. The compiler's memory, and the harm of a malicious file, end with the child.
//! Nothing else in the agent starts processes; `gauged plugin dev` starts builds.

#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::time::Instant;

use rustix::process::{Resource, Signal};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{sleep, sleep_until, timeout};

use crate::config::AgentLimits;
use crate::plugin::build::budget::{
    ARTIFACT_BYTES, ARTIFACT_TOO_LARGE, CompileOptions, MEMORY_BYTES, OUT_OF_MEMORY, REJECTED, UNCONFINED,
};
use crate::plugin::build::ledger::{Allowance, Ledger};
use crate::plugin::build::queue::{Queue, Ticket};
use crate::plugin::build::sealed::{Sealed, blank};
use crate::plugin::guest::engine_options::{EngineOptions, MemoryLayout, Purpose};
use crate::plugin::inherited_limit::InheritedLimit;
use crate::plugin::offload::pool::OffloadPool;
use crate::plugin::rejection::{Rejection, RetryPolicy};
use crate::thread;

/// The wall-clock time for one file, in times of its CPU time: the compiler runs at low priority. It ends a compiler that is
/// stopped or starved.
const WALL_FACTOR: u32 = 10;

/// How much of a child's message is kept: a reason, or the message of a panic.
const MESSAGE_BYTES: u64 = 8 << 10;

/// How long the report of a killed child waits: a shutdown kills the agent, too, and then the report is noise.
const SIGNAL_GRACE: Duration = Duration::from_secs(2);

/// The exit code of a Rust program that panics.
const PANICKED: i32 = 101;

/// The stack of a child under the usual limit. A file that overflows it is made to.
const STACK_BYTES: u64 = 8 << 20;

/// The text by which Rust's library aborts a child whose stack was not enough.
const STACK_OVERFLOWED: &str = "has overflowed its stack";

/// The text by which Rust's library aborts a child whose memory was not enough.
const ALLOCATION_FAILED: &str = "memory allocation of";

/// Compiles files, a few at a time, without blocking the caller's thread.
#[derive(Clone)]
pub(crate) struct Compiler {
    /// This program.
    program: PathBuf,
    /// The loads that wait for a permit or have one. Behind a lock because each load is a task.
    queue: Arc<Mutex<Queue<oneshot::Sender<()>>>>,
    ledger: Arc<Ledger>,
    limits: AgentLimits,
    /// Those of the engine which loads the artifacts.
    engine: EngineOptions,
    /// Whether a task waits for the budget of the ledger.
    is_awaiting_budget: Arc<AtomicBool>,
    pool: OffloadPool,
}

impl Compiler {
    /// A compiler that accounts for the compilations that it starts.
    pub(crate) fn new(limits: AgentLimits, engine: EngineOptions, pool: OffloadPool, ledger: Arc<Ledger>) -> Self {
        let queue = Arc::new(Mutex::new(Queue::new()));
        Self { program: program(), queue, ledger, limits, engine, is_awaiting_budget: Arc::default(), pool }
    }

    /// Follows other limits. Loads that are under way keep theirs, but for the budget.
    pub(crate) fn set_limits(&mut self, limits: AgentLimits) {
        self.limits = limits;
        self.ledger.set_limits(&limits);
        self.admit();
    }

    /// Waits until a file of this size may be compiled. A wait that is dropped leaves the queue.
    pub(crate) async fn permit(&self, bytes: u64) -> CompilePermit<'_> {
        let (waiter, admission) = oneshot::channel();
        let ticket = self.lock().enter(bytes, waiter);
        // From now on its drop leaves the queue, admitted or not.
        let permit = CompilePermit { compiler: self, ticket };
        self.admit();
        // A sender is dropped by the queue only once this future is dropped.
        let _ = admission.await;
        permit
    }

    /// Wakes the loads that have a permit now; later, when the budget of the hour is used up.
    fn admit(&self) {
        let waiting = self.lock().waiting();
        match self.ledger.allowance(waiting) {
            Allowance::Allowed => {}
            Allowance::From(at) if waiting > 0 => return self.admit_at(at),
            Allowance::From(_) => return,
        }
        let next = || self.lock().admit();
        while let Some(waiter) = next() {
            // It fails if the load is being dropped, which gives the permit back.
            let _ = waiter.send(());
        }
    }

    /// Wakes them at this moment, or later: a compiler that runs meanwhile may use more of the next hour.
    fn admit_at(&self, at: Instant) {
        // At the end of the agent there is no runtime, and nobody to wake.
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.is_awaiting_budget.swap(true, Ordering::Relaxed) {
            let compiler = self.clone();
            runtime.spawn(async move {
                sleep_until(at.into()).await;
                compiler.is_awaiting_budget.store(false, Ordering::Relaxed);
                compiler.admit();
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<oneshot::Sender<()>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The permit for one compilation, until it is dropped.
pub(crate) struct CompilePermit<'a> {
    compiler: &'a Compiler,
    ticket: Ticket,
}

impl Drop for CompilePermit<'_> {
    fn drop(&mut self) {
        let _waiter = self.compiler.lock().leave(self.ticket);
        self.compiler.admit();
    }
}

impl CompilePermit<'_> {
    /// Whether a file of this size may be compiled with it: the file may have changed during the wait.
    pub(crate) fn covers(&self, bytes: u64) -> bool {
        self.ticket.covers(bytes)
    }

    /// Compiles a plugin file. The child is killed when this future is dropped.
    ///
    /// # Errors
    ///
    /// Why there is no artifact, with the remedy.
    pub(crate) async fn compile(&self, file: &Sealed) -> Result<Sealed, Rejection> {
        let _compilation = self.compiler.ledger.start();
        let limits = self.compiler.limits;
        let transient = |error: io::Error| {
            Rejection::transient("cannot be compiled now", &error, "leave the agent room for another process")
        };
        let options = CompileOptions { cpu: limits.compile_cpu, engine: self.compiler.engine };
        let (program, input) = (self.compiler.program.clone(), file.open().map_err(transient)?);
        // To start a process takes milliseconds, and longer on a busy host.
        let runtime = Handle::current();
        let started = self.compiler.pool.run(move || {
            // Only there a child's end and message can be awaited.
            let _context = runtime.enter();
            start(&program, options, input)
        });
        let (child, artifact) = started.await?.map_err(transient)?;
        let most = limits.compile_cpu * WALL_FACTOR;
        let (status, message) = match timeout(most, end(child)).await {
            Ok(ended) => ended.map_err(transient)?,
            Err(_elapsed) => {
                let limit = humantime::format_duration(most);
                let text = format!("was not compiled within {limit}; give the host time for it, or make it smaller");
                return Err(Rejection::from(text).retryable());
            }
        };
        let (unconfined, message) = split_message(&message);
        if let Some(reason) = unconfined {
            self.compiler.ledger.report_unconfined(reason);
        }
        if let Some(rejection) = exit_rejection(status, message, &limits) {
            if rejection.retry == RetryPolicy::Backoff {
                sleep(SIGNAL_GRACE).await;
            }
            return Err(rejection);
        }
        self.compiler.pool.run(move || Sealed::seal(artifact)).await?.map_err(transient)
    }
}

/// This program. On Linux by a path that stays valid when the file is replaced, as in an upgrade: the engine of another
/// version makes other artifacts.
fn program() -> PathBuf {
    let own = Path::new("/proc/self/exe");
    if cfg!(target_os = "linux") { own.to_owned() } else { std::env::current_exe().unwrap_or_else(|_| own.to_owned()) }
}

/// Starts a child. Returns it and the file that it writes the artifact to.
fn start(program: &Path, options: CompileOptions, input: std::fs::File) -> io::Result<(Child, std::fs::File)> {
    let artifact = blank()?;
    #[expect(clippy::disallowed_methods, reason = "it is this program that is run, and nowhere else")]
    let child = Command::new(program)
        .arg0("gauged")
        .arg("compile")
        .arg(format!("--cpu={}", options.cpu.as_secs()))
        .args((options.engine.layout == MemoryLayout::Compact).then_some("--compact"))
        .args(match options.engine.purpose {
            Purpose::Serve => None,
            Purpose::Diagnose => Some("--diagnose"),
            Purpose::Develop => Some("--develop"),
        })
        .env_clear()
        .current_dir("/")
        .stdin(input)
        .stdout(artifact.try_clone()?)
        .stderr(Stdio::piped())
        // Signals from the terminal go to the agent only.
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    Ok((child.map_err(thread::process_error)?, artifact))
}

/// Waits for the end of a child. Returns its status and its message.
async fn end(mut child: Child) -> io::Result<(ExitStatus, String)> {
    let message = match child.stderr.take() {
        Some(stderr) => read_message(stderr).await?,
        None => String::new(),
    };
    Ok((child.wait().await?, message))
}

/// Reads to the end, and keeps the first [`MESSAGE_BYTES`].
async fn read_message(mut from: impl AsyncRead + Unpin) -> io::Result<String> {
    let mut message = Vec::new();
    (&mut from).take(MESSAGE_BYTES).read_to_end(&mut message).await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&message).trim_end().to_owned())
}

/// Splits a child's message into why the child was not confined, if it was not, and the rest.
fn split_message(message: &str) -> (Option<&str>, &str) {
    match message.strip_prefix(UNCONFINED) {
        Some(unconfined) => {
            let (reason, rest) = unconfined.split_once('\n').unwrap_or((unconfined, ""));
            (Some(reason), rest)
        }
        None => (None, message),
    }
}

/// The rejection for the exit status of a child. None when the file was compiled.
fn exit_rejection(status: ExitStatus, message: &str, limits: &AgentLimits) -> Option<Rejection> {
    // Under a lower limit of the agent's own, which the child has, too, the file may be as it should be.
    let inherited = |resources: &[Resource], needed| {
        let limit = InheritedLimit::below(resources, needed)?;
        let text = format!("cannot be compiled now: its compiler reached {limit}; {}", limit.remedy());
        Some(Rejection::from(text).retryable())
    };
    let memory = bytesize::ByteSize(MEMORY_BYTES);
    let too_much_memory = || {
        inherited(&[Resource::As, Resource::Data], MEMORY_BYTES).unwrap_or_else(|| {
            format!("takes more than {memory} of memory to compile; make it smaller, above all its largest function")
                .into()
        })
    };
    let too_large = || {
        inherited(&[Resource::Fsize], ARTIFACT_BYTES).unwrap_or_else(|| {
            let limit = bytesize::ByteSize(ARTIFACT_BYTES);
            format!("becomes more than {limit} of native code; make it smaller").into()
        })
    };
    let signal = status.signal().and_then(Signal::from_named_raw);
    let text = match (status.code(), signal) {
        (Some(0), _) => return None,
        (Some(code), _) if code == i32::from(REJECTED) => message.to_owned(),
        (Some(code), _) if code == i32::from(OUT_OF_MEMORY) => return Some(too_much_memory()),
        (Some(code), _) if code == i32::from(ARTIFACT_TOO_LARGE) => return Some(too_large()),
        // It has not examined the file.
        (Some(1), _) => {
            return Some(Rejection::from(format!("cannot be compiled now: {message}")).retryable());
        }
        (Some(PANICKED), _) => format!("makes the compiler panic: {message}; rebuild it, and report this"),
        // The dynamic linker, for one, ends so without memory.
        (Some(code), _) => {
            let other = || {
                let text =
                    format!("cannot be compiled now: its compiler ended with code {code}: {message}; report this");
                Rejection::from(text).retryable()
            };
            return Some(inherited(&[Resource::As, Resource::Data], MEMORY_BYTES).unwrap_or_else(other));
        }
        (None, Some(Signal::XCPU)) => {
            if let Some(rejection) = inherited(&[Resource::Cpu], limits.compile_cpu.as_secs()) {
                return Some(rejection);
            }
            let limit = humantime::format_duration(limits.compile_cpu);
            let raise = if limits.has_most_compile_cpu() { "" } else { ", or raise compile_cpu under [limits]" };
            format!("takes more than {limit} of CPU to compile; make it smaller, above all its largest function{raise}")
        }
        (None, Some(Signal::XFSZ)) => return Some(too_large()),
        (None, Some(Signal::ABORT)) if message.contains(ALLOCATION_FAILED) => return Some(too_much_memory()),
        (None, Some(Signal::ABORT))
            if message.contains(STACK_OVERFLOWED)
                && let Some(rejection) = inherited(&[Resource::Stack], STACK_BYTES) =>
        {
            return Some(rejection);
        }
        (None, Some(signal @ (Signal::KILL | Signal::TERM | Signal::INT | Signal::HUP | Signal::QUIT))) => {
            let signal = signal.as_raw();
            let text = format!(
                "cannot be compiled now: its compiler was killed (signal {signal}), as the kernel does when memory is \
                 short; leave it up to {memory}"
            );
            return Some(Rejection::from(text).retryable());
        }
        (None, _) => {
            let signal = status.signal().unwrap_or_default();
            format!("makes the compiler crash (signal {signal}); rebuild it, and report this")
        }
    };
    Some(text.into())
}
