//! The main loop: at each tick the collectors are called, and the sample goes to the sinks. Only the wiring is here: the
//! moments come from `clock`, the metrics from the collectors and the plugins, and the sinks write the samples.

mod about;
mod usage;

use std::fs::File;
use std::future::Future;
use std::io::{self, IsTerminal as _};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::mpsc;

pub use self::about::METRICS;
use self::about::{AgentModule, TickFacts};
use crate::clock::schedule::{Schedule, Tick, wall_clock};
use crate::clock::wall_timer::WallTimer;
use crate::collector::native::Natives;
use crate::collector::slow::SlowReadings;
use crate::config::Config;
use crate::plugin::source::watch;
use crate::plugin::{Plugins, sleep_until};
use crate::sample::{Recycler, Sample, SeriesAccount, SeriesTable};
use crate::sink::Style;
use crate::sink::stdout::{self, Stdout};

/// The shortest time over which cpu percentages are meaningful: 25 of the kernel's clock ticks.
const CPU_WINDOW: Duration = Duration::from_millis(250);

/// A sample waits for its plugins for this share of the interval, so that it leaves on time whatever they do …
const PATIENCE_SHARE: u32 = 20;

/// … at least this long, for a busy host may keep this thread waiting …
const MIN_PATIENCE: Duration = Duration::from_millis(20);

/// … and at most this long. A later result goes with the next sample.
const MAX_PATIENCE: Duration = Duration::from_secs(1);

/// How long a single sample waits for plugins to be loaded: three Python guests.
const LOADING: Duration = Duration::from_secs(30);

/// How long the end waits for the last samples to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// An event of the main loop.
enum Event {
    Shutdown,
    /// The reader of the samples has closed the pipe.
    OutputClosed,
    /// Time has passed: a tick may be due, or the open round may have waited long enough.
    Time,
    DirectoryChanged,
    /// The plugins have done a piece of work.
    Plugins,
}

/// A tick whose sample is not complete yet.
struct OpenRound {
    sample: Sample,
    /// The memory in which the sample is shared.
    shared: Option<Arc<Sample>>,
    began: Instant,
    /// How much later than scheduled it began.
    delay: Duration,
    /// When the sample is completed without the results that are missing.
    until: Instant,
}

/// Runs until `shutdown` completes, or until the reader of `output` has closed it. `observe` gets each sample, too; it must
/// not take long.
///
/// # Errors
///
/// When the host has no threads, timers or memory for guests.
pub async fn run(
    config: Config,
    output: File,
    mut observe: impl FnMut(&Arc<Sample>),
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut shutdown = pin!(shutdown);
    let patience = (config.interval / PATIENCE_SHARE).clamp(MIN_PATIENCE, MAX_PATIENCE);
    let mut timer = WallTimer::new(config.interval)?;
    let (mut stdout, mut output_closed) = Stdout::start(output)?;
    let slow = tokio::select! {
        biased;
        () = &mut shutdown => {
            tracing::info!("shutting down");
            return Ok(());
        }
        slow = SlowReadings::start(&config) => slow?,
    };
    let mut parts = Parts::new(&config, &slow)?;
    let (hints, mut changes) = mpsc::channel(1);
    if let Some(directory) = &config.plugins_directory {
        watch::watch(directory.clone(), hints)?;
    }
    let mut schedule = Schedule::new(config.interval);
    let mut due = schedule.next(wall_clock() + CPU_WINDOW);
    let mut open: Option<OpenRound> = None;

    loop {
        let deadline = open.as_ref().map(|open| open.until);
        let event = tokio::select! {
            biased;
            () = &mut shutdown => Event::Shutdown,
            Ok(()) = &mut output_closed => Event::OutputClosed,
            waited = timer.wait(due.since_epoch), if deadline.is_none() => waited.map(|()| Event::Time)?,
            () = sleep_until(deadline), if deadline.is_some() => Event::Time,
            Some(()) = changes.recv() => Event::DirectoryChanged,
            () = parts.plugins.step() => Event::Plugins,
        };
        match event {
            Event::Shutdown => break,
            Event::OutputClosed => return Ok(()),
            Event::DirectoryChanged => parts.plugins.rescan(),
            Event::Time if open.is_none() => {
                let now = wall_clock();
                if let Some(tick) = schedule.serve(due, now) {
                    let round = parts.begin(tick, now, patience);
                    // Most plugins are back before there is anything to wait for.
                    parts.plugins.catch_up(round.until).await;
                    open = Some(round);
                }
                due = schedule.next(wall_clock());
            }
            Event::Time | Event::Plugins => {}
        }
        if open.as_ref().is_some_and(|open| open.until <= Instant::now()) {
            // A busy host may have kept this thread from its work, and not the plugins from theirs.
            parts.plugins.catch_up(Instant::now()).await;
        }
        if let Some(round) = open.take_if(|open| parts.plugins.outstanding() == 0 || open.until <= Instant::now()) {
            let sample = parts.finish(round, schedule.missed(), stdout.dropped());
            stdout.put(&sample);
            observe(&sample);
            drop(sample);
            parts.release();
        }
    }

    tracing::info!("shutting down");
    if let Some(round) = open {
        let sample = parts.finish(round, schedule.missed(), stdout.dropped());
        stdout.put(&sample);
        observe(&sample);
    }
    if !stdout.end(FLUSH) {
        tracing::error!(
            reason = "its reader does not read",
            remedy = "check the program that reads standard output",
            "last samples lost"
        );
    }
    Ok(())
}

/// Prints one sample, as soon as all plugins are loaded and have returned. The exit code is a failure when a plugin of the
/// configuration is not in it, or when `shutdown` completes before.
///
/// # Errors
///
/// As [`run`], and when the sample cannot be written.
pub async fn once(
    config: Config,
    style: Option<Style>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<ExitCode> {
    let printed = async {
        let (sample, missing) = sample(&config).await?;
        let style = style.unwrap_or(if io::stdout().is_terminal() { Style::Pretty } else { Style::Line });
        // On another thread: a reader that does not read must not keep the program from ending.
        match tokio::task::spawn_blocking(move || stdout::once(&sample, style)).await? {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.context("failed to write the sample to standard output")?,
        }
        anyhow::Ok(missing)
    };
    let missing = tokio::select! {
        biased;
        missing = printed => missing?,
        () = shutdown => {
            tracing::error!("agent ended before its sample");
            return Ok(ExitCode::FAILURE);
        }
    };
    if missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    tracing::error!(missing = missing.join(", "), remedy = "see the warnings above", "sample incomplete");
    Ok(ExitCode::FAILURE)
}

/// Takes one sample. Returns the plugins that had to be in it and are not, too.
async fn sample(config: &Config) -> anyhow::Result<(Arc<Sample>, Vec<String>)> {
    let slow = SlowReadings::start(config).await?;
    let mut parts = Parts::new(config, &slow)?;
    // The plugins first: compiling them would be most of the cpu time that is measured.
    let loading = async {
        while !parts.plugins.is_settled() {
            parts.plugins.step().await;
        }
    };
    if tokio::time::timeout(LOADING, loading).await.is_err() {
        tracing::warn!(waited_s = LOADING.as_secs(), "sample taken before all plugins are loaded");
    }
    parts.natives = Natives::with_slow(config, &SeriesAccount::unlimited(&parts.series), &slow);
    tokio::time::sleep(CPU_WINDOW).await;
    let now = Duration::from_secs(wall_clock().as_secs());
    let round = parts.begin(Tick { index: 0, previous: None, since_epoch: now }, now, Duration::ZERO);
    while parts.plugins.outstanding() > 0 {
        parts.plugins.step().await;
    }
    let sample = parts.finish(round, 0, 0);
    Ok((sample, parts.plugins.missing()))
}

/// The parts of the agent that make samples.
struct Parts {
    interval: Duration,
    series: Arc<SeriesTable>,
    natives: Natives,
    plugins: Plugins,
    about: AgentModule,
    samples: Recycler<Sample>,
}

impl Parts {
    fn new(config: &Config, slow: &Arc<SlowReadings>) -> anyhow::Result<Self> {
        let series = Arc::<SeriesTable>::default();
        Ok(Self {
            interval: config.interval,
            plugins: Plugins::new(config, Arc::clone(&series))?,
            natives: Natives::with_slow(config, &SeriesAccount::unlimited(&series), slow),
            about: AgentModule::new(config, &series, slow),
            series,
            samples: Recycler::default(),
        })
    }

    /// Begins a tick: collects natively and calls the plugins.
    fn begin(&mut self, tick: Tick, now: Duration, patience: Duration) -> OpenRound {
        let began = Instant::now();
        // One that was cleared: to release modules would delay the tick.
        let mut shared = self.samples.take(|sample| sample.modules.is_empty());
        let mut sample = shared.as_mut().and_then(Arc::get_mut).map(std::mem::take).unwrap_or_default();
        (sample.tick, sample.interval) = (tick.since_epoch, self.interval);
        self.natives.collect(&mut sample);
        self.plugins.call(tick);
        let delay = now.saturating_sub(tick.since_epoch);
        OpenRound { sample, shared, began, delay, until: began + patience }
    }

    /// Releases the samples that no sink has any more, so that the collectors can use the memory of their modules again. After
    /// a tick there is time for that.
    fn release(&mut self) {
        self.samples.free().for_each(Sample::clear);
    }

    /// Completes the sample of a tick.
    fn finish(&mut self, round: OpenRound, missed: u64, dropped: u64) -> Arc<Sample> {
        let OpenRound { mut sample, shared, began, delay, .. } = round;
        self.plugins.deliver(&mut sample);
        let facts = TickFacts { began, delay, missed, dropped };
        self.about.complete(&mut sample, &facts, &self.natives, &mut self.plugins);
        let sample = Recycler::fill(shared, sample);
        self.samples.keep(&sample);
        sample
    }
}
