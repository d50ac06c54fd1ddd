//! The main loop: at each tick the collectors are called, and the sample goes to the sinks. Only the wiring is here: the
//! moments come from `clock`, the metrics from the collectors and the plugins, and the sinks write the samples.

use std::fs::File;
use std::future::Future;
use std::io::{self, IsTerminal as _};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::mpsc;

use crate::clock::schedule::{Schedule, Tick, wall_clock};
use crate::clock::wall_timer::WallTimer;
use crate::collector::Collector;
use crate::collector::native::NATIVE;
use crate::config::Config;
use crate::hostname::Hostname;
use crate::plugin::{Plugins, sleep_until};
use crate::sample::{Sample, Value};
use crate::sink::Style;
use crate::sink::stdout::{self, Stdout};
use crate::watch;

/// The shortest time over which cpu percentages are meaningful: 25 of the kernel's clock ticks.
const CPU_WINDOW: Duration = Duration::from_millis(250);

/// A sample waits for its plugins for this share of the interval, so that it leaves on time whatever they do …
const PATIENCE_SHARE: u32 = 20;

/// … at least this long, for a busy host may keep this thread waiting …
const MIN_PATIENCE: Duration = Duration::from_millis(20);

/// … and at most this long. A later result goes with the next sample, unless there is a newer one by then.
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
    tick: Tick,
    began: Instant,
    /// When the sample is completed without the results that are missing.
    until: Instant,
}

/// Runs until `shutdown` completes, or until the reader of `output` has closed it.
///
/// # Errors
///
/// When the host has no threads, timers or memory for guests.
pub async fn run(config: Config, output: File, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let mut shutdown = pin!(shutdown);
    let patience = (config.interval / PATIENCE_SHARE).clamp(MIN_PATIENCE, MAX_PATIENCE);
    let mut timer = WallTimer::new(config.interval)?;
    let (mut stdout, mut output_closed) = Stdout::start(output)?;
    let mut plugins = Plugins::new(&config)?;
    let (hints, mut changes) = mpsc::channel(1);
    if let Some(directory) = &config.plugins_directory {
        watch::watch(directory.clone(), hints)?;
    }
    let mut natives = natives(&config);
    let mut own_metrics = OwnMetrics::new(&config);
    let mut schedule = Schedule::new(config.interval);
    let mut due = schedule.next(wall_clock() + CPU_WINDOW);
    let mut open: Option<OpenRound> = None;
    let mut sample = Arc::new(Sample::default());

    loop {
        let deadline = open.as_ref().map(|open| open.until);
        let event = tokio::select! {
            biased;
            () = &mut shutdown => Event::Shutdown,
            Ok(()) = &mut output_closed => Event::OutputClosed,
            waited = timer.wait(due.since_epoch), if deadline.is_none() => waited.map(|()| Event::Time)?,
            () = sleep_until(deadline), if deadline.is_some() => Event::Time,
            Some(()) = changes.recv() => Event::DirectoryChanged,
            () = plugins.step() => Event::Plugins,
        };
        match event {
            Event::Shutdown => break,
            Event::OutputClosed => return Ok(()),
            Event::DirectoryChanged => plugins.rescan(),
            Event::Time if open.is_none() => {
                if let Some(tick) = schedule.serve(due, wall_clock()) {
                    let began = Instant::now();
                    open = Some(OpenRound { tick, began, until: began + patience });
                    collect(&mut natives, cleared(&mut sample));
                    plugins.call(tick);
                    // Most plugins are back before there is anything to wait for.
                    plugins.catch_up(began + patience).await;
                }
                due = schedule.next(wall_clock());
            }
            Event::Time | Event::Plugins => {}
        }
        if open.as_ref().is_some_and(|open| open.until <= Instant::now()) {
            // A busy host may have kept this thread from its work, and not the plugins from theirs.
            plugins.catch_up(Instant::now()).await;
        }
        if let Some(complete) = open.take_if(|open| plugins.outstanding() == 0 || open.until <= Instant::now()) {
            complete.finish(owned(&mut sample), &mut plugins, &mut own_metrics, schedule.missed(), stdout.dropped());
            stdout.put(&sample);
        }
    }

    tracing::info!("shutting down");
    if let Some(complete) = open {
        complete.finish(owned(&mut sample), &mut plugins, &mut own_metrics, schedule.missed(), stdout.dropped());
        stdout.put(&sample);
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
async fn sample(config: &Config) -> anyhow::Result<(Sample, Vec<String>)> {
    let mut plugins = Plugins::new(config)?;
    let mut own_metrics = OwnMetrics::new(config);
    // The plugins first: compiling them would be most of the cpu time that is measured.
    let loading = async {
        while !plugins.is_settled() {
            plugins.step().await;
        }
    };
    if tokio::time::timeout(LOADING, loading).await.is_err() {
        tracing::warn!(waited_s = LOADING.as_secs(), "sample taken before all plugins are loaded");
    }
    let mut natives = natives(config);
    tokio::time::sleep(CPU_WINDOW).await;
    let now = wall_clock();
    let tick = Tick { index: 0, previous: None, since_epoch: Duration::from_secs(now.as_secs()) };
    let began = Instant::now();
    let mut sample = Sample::default();
    collect(&mut natives, &mut sample);
    plugins.call(tick);
    while plugins.outstanding() > 0 {
        plugins.step().await;
    }
    OpenRound { tick, began, until: began }.finish(&mut sample, &mut plugins, &mut own_metrics, 0, 0);
    let missing = plugins.missing();
    Ok((sample, missing))
}

fn natives(config: &Config) -> Vec<Box<dyn Collector>> {
    NATIVE.iter().map(|native| (native.make)(config)).collect()
}

/// An empty sample: the one of the tick before, unless a sink still has it.
fn cleared(sample: &mut Arc<Sample>) -> &mut Sample {
    if Arc::get_mut(sample).is_none() {
        *sample = Arc::default();
    }
    let sample = owned(sample);
    sample.clear();
    sample
}

/// The sample of the open tick, which no sink has yet.
fn owned(sample: &mut Arc<Sample>) -> &mut Sample {
    Arc::get_mut(sample).expect("a sample is shared when it is complete, and not before")
}

fn collect(natives: &mut [Box<dyn Collector>], sample: &mut Sample) {
    // It comes first and is filled last.
    sample.module(OwnMetrics::MODULE);
    for native in natives {
        native.collect(sample);
    }
}

impl OpenRound {
    fn finish(
        self,
        sample: &mut Sample,
        plugins: &mut Plugins,
        own_metrics: &mut OwnMetrics,
        missed: u64,
        dropped: u64,
    ) {
        plugins.deliver(sample);
        own_metrics.refresh();
        let agent = &mut sample.modules[0];
        agent.push("timestamp", seconds(self.tick.since_epoch));
        agent.push("hostname", own_metrics.hostname_value.clone());
        agent.push("version", own_metrics.version.clone());
        agent.push("interval", seconds(own_metrics.interval));
        agent.push("collect_seconds", self.began.elapsed().as_secs_f64());
        agent.push("missed_ticks_total", missed);
        agent.push("dropped_samples_total", dropped);
        plugins.append_metrics(agent);
    }
}

/// The metrics of the module `agent` that seldom change.
struct OwnMetrics {
    hostname: Hostname,
    hostname_value: Value,
    version: Value,
    interval: Duration,
}

impl OwnMetrics {
    const MODULE: &str = "agent";

    fn new(config: &Config) -> Self {
        let hostname = Hostname::new(config.hostname.clone(), Instant::now());
        Self {
            hostname_value: hostname.get().into(),
            hostname,
            version: env!("CARGO_PKG_VERSION").into(),
            interval: config.interval,
        }
    }

    fn refresh(&mut self) {
        if self.hostname.refresh(Instant::now()) {
            self.hostname_value = self.hostname.get().into();
        }
    }
}

/// A number of seconds, an integer where it is one.
fn seconds(duration: Duration) -> Value {
    if duration.subsec_nanos() == 0 {
        Value::Unsigned(duration.as_secs())
    } else {
        Value::Float(duration.as_secs_f64())
    }
}
