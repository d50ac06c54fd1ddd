//! The agent at work: ticks come, collectors are asked, samples go to the sinks. Everything is wired together here and
//! nothing is decided here: when is `schedule`'s business, what is the collectors' and the plugins', where to is `sink`'s.

use std::fs::File;
use std::future::Future;
use std::io::{self, IsTerminal as _};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::clock::schedule::{Schedule, Tick, wall_clock};
use crate::clock::wall_timer::WallTimer;
use crate::collector::{Collector, NATIVE};
use crate::config::Config;
use crate::plugin::{Plugins, sleep_until};
use crate::sample::{Sample, Value};
use crate::sink::Style;
use crate::sink::stdout::{self, Stdout};
use crate::watch;

/// The shortest time over which cpu percentages are worth anything: 25 of the kernel's clock ticks.
const CPU_WINDOW: Duration = Duration::from_millis(250);

/// A sample waits for its plugins a twentieth of the interval, so that it leaves on time whatever they do …
const PATIENCE_SHARE: u32 = 20;

/// … at least this long, which a busy host may keep this thread from its work …
const MIN_PATIENCE: Duration = Duration::from_millis(20);

/// … and at most this long. What comes later goes with the next sample, unless there is something newer by then.
const MAX_PATIENCE: Duration = Duration::from_secs(1);

/// How long a single sample waits for plugins to be loaded: three Python guests.
const LOADING: Duration = Duration::from_secs(30);

/// How long the end waits for the last samples to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// What the main loop waits for.
enum Event {
    Shutdown,
    /// Nobody reads the samples any more.
    Unread,
    /// Time has passed: a tick may be due, or a sample overdue.
    Time,
    DirectoryChanged,
    /// The plugins have done a piece of work.
    Plugins,
}

/// A tick whose sample is not complete yet.
struct OpenRound {
    tick: Tick,
    began: Instant,
    until: Instant,
}

/// Runs until it is told to shut down, or until nobody reads its samples, which go to `output`.
///
/// # Errors
///
/// When the machine does not give what the agent needs to start: threads, and memory for guests.
pub async fn run(config: Config, output: File, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let mut shutdown = pin!(shutdown);
    let patience = (config.interval / PATIENCE_SHARE).clamp(MIN_PATIENCE, MAX_PATIENCE);
    let mut timer = WallTimer::new(config.interval)?;
    let (mut stdout, mut unread) = Stdout::start(output)?;
    let mut plugins = Plugins::new(&config)?;
    let (hints, mut changes) = mpsc::channel(1);
    watch::watch(config.plugins_directory.clone(), hints)?;
    let mut natives = natives(&config);
    let about = About::new(&config);
    let mut schedule = Schedule::new(config.interval);
    let mut due = schedule.next(wall_clock() + CPU_WINDOW);
    let mut open: Option<OpenRound> = None;
    let mut sample = Arc::new(Sample::default());

    loop {
        let overdue = open.as_ref().map(|open| open.until);
        let event = tokio::select! {
            biased;
            () = &mut shutdown => Event::Shutdown,
            Ok(()) = &mut unread => Event::Unread,
            waited = timer.wait(due.since_epoch), if overdue.is_none() => waited.map(|()| Event::Time)?,
            () = sleep_until(overdue), if overdue.is_some() => Event::Time,
            Some(()) = changes.recv() => Event::DirectoryChanged,
            () = plugins.step() => Event::Plugins,
        };
        match event {
            Event::Shutdown => break,
            Event::Unread => return Ok(()),
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
            complete.finish(owned(&mut sample), &mut plugins, &about, schedule.missed(), stdout.dropped());
            stdout.put(&sample);
        }
    }

    tracing::info!("shutting down");
    if let Some(complete) = open {
        complete.finish(owned(&mut sample), &mut plugins, &about, schedule.missed(), stdout.dropped());
        stdout.put(&sample);
    }
    if !stdout.end(FLUSH) {
        tracing::warn!("standard output does not take the last samples; they are lost");
    }
    Ok(())
}

/// Prints one sample, once the plugins are loaded, and waits for all of them.
///
/// # Errors
///
/// As [`run`], and when the sample cannot be written.
pub async fn once(config: Config, style: Option<Style>, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    tokio::select! {
        biased;
        () = shutdown => Ok(()),
        sample = sample(&config) => {
            let style = style.unwrap_or(if io::stdout().is_terminal() { Style::Pretty } else { Style::Line });
            match stdout::once(&sample?, style) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                written => Ok(written?),
            }
        }
    }
}

async fn sample(config: &Config) -> anyhow::Result<Sample> {
    let mut plugins = Plugins::new(config)?;
    let about = About::new(config);
    // The plugins first: compiling them would be most of what the cpu is seen to do.
    let loading = async {
        while !plugins.is_settled() {
            plugins.step().await;
        }
    };
    if tokio::time::timeout(LOADING, loading).await.is_err() {
        tracing::warn!("some plugins are not loaded after {} s; the sample goes without them", LOADING.as_secs());
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
    OpenRound { tick, began, until: began }.finish(&mut sample, &mut plugins, &about, 0, 0);
    Ok(sample)
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
    sample.module(About::MODULE);
    for native in natives {
        native.collect(sample);
    }
}

impl OpenRound {
    fn finish(self, sample: &mut Sample, plugins: &mut Plugins, about: &About, missed: u64, dropped: u64) {
        plugins.deliver(sample);
        let agent = &mut sample.modules[0];
        agent.push("timestamp", seconds(self.tick.since_epoch));
        agent.push("hostname", about.hostname.clone());
        agent.push("version", about.version.clone());
        agent.push("interval", seconds(about.interval));
        agent.push("collect_seconds", self.began.elapsed().as_secs_f64());
        agent.push("missed_ticks_total", missed);
        agent.push("dropped_samples_total", dropped);
        plugins.append_metrics(agent);
    }
}

/// What the agent tells of itself and never changes.
struct About {
    hostname: Value,
    version: Value,
    interval: Duration,
}

impl About {
    const MODULE: &str = "agent";

    fn new(config: &Config) -> Self {
        Self {
            hostname: sysinfo::System::host_name().ok().as_deref().into(),
            version: env!("CARGO_PKG_VERSION").into(),
            interval: config.interval,
        }
    }
}

/// Whole where it is whole.
fn seconds(duration: Duration) -> Value {
    if duration.subsec_nanos() == 0 {
        Value::Unsigned(duration.as_secs())
    } else {
        Value::Float(duration.as_secs_f64())
    }
}
