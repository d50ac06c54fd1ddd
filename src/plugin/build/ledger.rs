//! The account of all compilations of the agent: their number, and their processor time against its budget. It outlasts a guest
//! thread that hangs: the next one continues it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::AgentLimits;
use crate::plugin::build::cpu_budget::{BudgetChange, CpuBudget, HOUR};
use crate::procfs::KeptFile;

/// How long after the end of a compiler its processor time is looked for at each tick: one that was killed is awaited by the
/// runtime, a moment after nobody waits for it any more.
const SETTLING: Duration = Duration::from_secs(10);

/// The compilations so far, and the reports about compilers.
#[derive(Debug)]
pub(crate) struct Ledger {
    started: AtomicU64,
    is_unconfined_reported: AtomicBool,
    /// The zero of the budget's clock.
    clock: Instant,
    /// Behind a lock because a guest thread that hangs has it, too; it is held while the time is read.
    time: Mutex<CompileTime>,
}

/// The processor time of all compilers.
#[derive(Debug)]
struct CompileTime {
    budget: CpuBudget,
    source: ChildTime,
    total: Duration,
    /// How many compilers run.
    running: usize,
    /// How many files wait for one.
    waiting: usize,
    /// When the last one ended.
    ended: Option<Instant>,
}

/// Whether files may be compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowance {
    Allowed,
    /// Not before this moment.
    From(Instant),
}

impl Ledger {
    pub(crate) fn new(limits: &AgentLimits) -> Self {
        Self::from_source(limits, HOUR, ChildTime::new())
    }

    /// With an hour of another length, in which the time counts that compilers took.
    #[cfg(test)]
    pub(crate) fn with_wall_time(limits: &AgentLimits, hour: Duration) -> Self {
        let source = ChildTime { stat: None, taken: Duration::ZERO, wall: Duration::ZERO };
        Self::from_source(limits, hour, source)
    }

    fn from_source(limits: &AgentLimits, hour: Duration, source: ChildTime) -> Self {
        let budget = CpuBudget::new(limits.compile_cpu_per_hour, hour);
        let time = CompileTime { budget, source, total: Duration::ZERO, running: 0, waiting: 0, ended: None };
        Self {
            started: AtomicU64::new(0),
            is_unconfined_reported: AtomicBool::new(false),
            clock: Instant::now(),
            time: Mutex::new(time),
        }
    }

    /// Follows another budget. What was used of the one before counts.
    pub(crate) fn set_limits(&self, limits: &AgentLimits) {
        self.lock().budget.set_budget(limits.compile_cpu_per_hour);
    }

    /// Counts a compilation, from its start until this is dropped.
    pub(crate) fn start(&self) -> Compilation<'_> {
        self.started.fetch_add(1, Ordering::Relaxed);
        self.lock().running += 1;
        Compilation { ledger: self, began: Instant::now() }
    }

    /// How many compilations were started.
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// Whether a file may be compiled now, while so many wait. The log has a line when that changes.
    pub(crate) fn allowance(&self, waiting: usize) -> Allowance {
        let mut time = self.lock();
        time.waiting = waiting;
        let spent = time.source.take();
        self.update(&mut time, spent);
        time.budget.free_at().map_or(Allowance::Allowed, |at| Allowance::From(self.clock + at))
    }

    /// The processor time of all compilations, and what is left of the budget if there is one; for metrics.
    pub(crate) fn cpu(&self) -> (Duration, Option<Duration>) {
        let mut time = self.lock();
        let is_settled = time.running == 0 && time.ended.is_none_or(|ended| ended.elapsed() > SETTLING);
        let spent = if is_settled { Duration::ZERO } else { time.source.take() };
        self.update(&mut time, spent);
        (time.total, time.budget.remaining())
    }

    /// Adds processor time, and slides the hour on. Logs a change.
    fn update(&self, time: &mut CompileTime, spent: Duration) {
        time.total += spent;
        let change = time.budget.update(self.clock.elapsed(), spent);
        let (Some(change), Some(budget)) = (change, time.budget.budget()) else { return };
        let (used, budget, waiting) = (rounded(time.budget.used()), rounded(budget), time.waiting);
        match change {
            BudgetChange::Reached => {
                let remedy = "remove files that take long to compile or are rewritten all the time, or raise \
                              compile_cpu_per_hour under [limits]";
                let consequence = "files that are not in the cache wait until enough of the hour has passed";
                tracing::warn!(used, budget, waiting, remedy, consequence, "compile budget reached");
            }
            BudgetChange::Freed => tracing::info!(used, budget, waiting, "compile budget free again"),
        }
    }

    /// Logs, once, that compilers have all system calls.
    pub(crate) fn report_unconfined(&self, reason: &str) {
        if !self.is_unconfined_reported.swap(true, Ordering::Relaxed) {
            let remedy = "run the agent on a kernel with seccomp filters, and let its sandbox allow seccomp(2)";
            let consequence = "plugins are compiled all the same, within limits of time, memory and files only";
            tracing::warn!(reason, remedy, consequence, "compiler not confined");
        }
    }

    fn lock(&self) -> MutexGuard<'_, CompileTime> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A duration as people read it, without its nanoseconds.
fn rounded(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    humantime::format_duration(Duration::from_millis(milliseconds)).to_string()
}

/// A compilation that is under way.
pub(crate) struct Compilation<'a> {
    ledger: &'a Ledger,
    began: Instant,
}

impl Drop for Compilation<'_> {
    fn drop(&mut self) {
        let mut time = self.ledger.lock();
        time.running = time.running.saturating_sub(1);
        time.ended = Some(Instant::now());
        time.source.record_wall_time(self.began.elapsed());
    }
}

/// The processor time of the agent's children, all of which are compilers.
///
/// It is the kernel's own sum over children that were awaited, and so has those that were killed, and those whose plugin was
/// removed meanwhile. The usage of one child is known only to the caller of `wait4`, which is the runtime.
#[derive(Debug)]
struct ChildTime {
    /// `/proc/self/stat`, on Linux.
    stat: Option<KeptFile>,
    /// The time that was taken before.
    taken: Duration,
    /// The time that compilers took, where their processor time is not known: they use no more than one processor.
    wall: Duration,
}

impl ChildTime {
    fn new() -> Self {
        let stat = cfg!(target_os = "linux").then(|| KeptFile::whole(Path::new("/"), "/proc/self/stat"));
        let mut source = Self { stat, taken: Duration::ZERO, wall: Duration::ZERO };
        // A shell that became the agent may have had children.
        source.take();
        source
    }

    fn record_wall_time(&mut self, lasted: Duration) {
        self.wall += lasted;
    }

    /// The time used since this was called last.
    fn take(&mut self) -> Duration {
        let total = match &mut self.stat {
            Some(stat) => stat.read(child_time).unwrap_or(self.taken),
            None => self.wall,
        };
        let spent = total.saturating_sub(self.taken);
        self.taken = total.max(self.taken);
        spent
    }
}

/// The processor time of all children that were awaited: `cutime` and `cstime` of `/proc/self/stat` (proc(5)).
fn child_time(stat: &[u8]) -> Result<Duration, &'static str> {
    // The second field is a name, in which there may be anything; `cutime` is the sixteenth.
    let name_end = stat.iter().rposition(|byte| *byte == b')').ok_or("no name")?;
    let rest = str::from_utf8(&stat[name_end + 1..]).map_err(|_| "not text")?;
    let mut fields = rest.split_ascii_whitespace().skip(13);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok()).ok_or("no times of children");
    let ticks = ticks()?.saturating_add(ticks()?);
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_children_is_parsed() {
        let ticks = rustix::param::clock_ticks_per_second();
        let rest = format!(" b) S 1 7 7 0 -1 4194560 9 9 0 0 5 6 {ticks} {} 25 5 2 0 99 1 1", ticks * 2);
        let stat = [b"7 (a)\xff", rest.as_bytes()].concat();
        assert_eq!(child_time(&stat), Ok(Duration::from_secs(3)));
        for incomplete in ["", "7 (a", "7 (a) S 1 2 3", "7 (a) S 1 7 7 0 -1 4194560 9 9 0 0 5 6 x 7"] {
            assert!(child_time(incomplete.as_bytes()).is_err(), "{incomplete}");
        }
    }

    #[test]
    fn wall_time_stands_for_unknown_processor_time() {
        let mut source = ChildTime { stat: None, taken: Duration::ZERO, wall: Duration::ZERO };
        source.record_wall_time(Duration::from_secs(2));
        source.record_wall_time(Duration::from_secs(3));
        assert_eq!((source.take(), source.take()), (Duration::from_secs(5), Duration::ZERO));
    }
}
