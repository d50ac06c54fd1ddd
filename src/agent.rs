//! The main loop: at each tick the collectors are called, and the sample goes to the sinks. Only the wiring is here: the
//! moments come from `clock`, the metrics from the collectors and the plugins, and the sinks write the samples.

mod about;
mod ending;
mod outputs;
mod reading;
mod reload;
mod reloader;
mod service;
mod status;
mod threads;
mod usage;

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

pub use self::about::METRICS;
use self::about::{AgentModule, LoopFacts, TickFacts};
use self::ending::{end, end_requested};
use self::outputs::Outputs;
use self::reading::report_certificates;
use self::reload::Change;
pub use self::reloader::ConfigLoader;
use self::reloader::{Commit, ReloadFacts, Reloader};
use self::service::Service;
use self::status::StatusPublisher;
use self::threads::{Threads, report_missing};
use crate::clock::schedule::{Tick, wall_clock};
use crate::clock::sleep::sleep_until;
use crate::clock::source::Source;
use crate::clock::ticker::Ticker;
use crate::clock::wall_timer::WallTimer;
use crate::collector::native::Natives;
use crate::collector::slow::SlowReadings;
use crate::config::Config;
use crate::delivery::Delivery;
use crate::log::Log;
use crate::plugin::{Plugins, Settled};
use crate::process::{Request, log_ignored};
use crate::push::PushedModules;
use crate::sample::{Recycler, Sample, SeriesAccount, SeriesTable};
use crate::sink::{Encoder, SeriesSettings, Sinks, Style, stdout};
use crate::status::StatusServer;

/// The shortest time over which cpu percentages are meaningful: 25 of the kernel's clock ticks.
const CPU_WINDOW: Duration = Duration::from_millis(250);

/// A sample waits for its plugins for this share of the interval, so that it leaves on time whatever they do …
const PATIENCE_SHARE: u32 = 20;

/// … at least this long, for a busy host may keep this thread waiting …
const MIN_PATIENCE: Duration = Duration::from_millis(20);

/// … and at most this long. A later result goes with the next sample.
const MAX_PATIENCE: Duration = Duration::from_secs(1);

/// How much longer the sample waits for the guest thread to say what has returned: for this share of the interval …
const GRACE_SHARE: u32 = 2;

/// … and at most this long. The thread answers within microseconds, unless it has no processor, which a busy host may take from
/// it for long, or it hangs, and then the next ticks do not wait for it any more.
const MAX_GRACE: Duration = Duration::from_secs(1);

/// How long a single sample waits for its plugins: their longest timeout, and a guest thread that hangs.
const SINGLE_PATIENCE: Duration = Duration::from_secs(70);

/// How long a single sample waits for plugins to be loaded: three Python guests.
const LOADING: Duration = Duration::from_secs(30);

/// How long the start waits until the addresses are open that the delivery thread listens on: a dead file system, on which one of
/// them may be, does not keep the agent from its samples.
const DELIVERY_START: Duration = Duration::from_secs(2);

/// An event of the main loop.
enum Event {
    Shutdown,
    /// The configuration is to be read again.
    Reload,
    /// The files of sinks are to be opened again.
    Reopen,
    /// The reload of the configuration goes on.
    ReloadStep,
    /// The reader of the samples has closed the pipe.
    OutputClosed,
    /// Time has passed: a tick may be due, or the open round may have waited long enough.
    Time,
    /// The plugins of the open round have returned.
    Round,
    /// The guest thread has not answered for a while.
    Check,
    /// The service manager waits for a sign of life.
    Sign,
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

/// Runs until a request to end, or until the reader of `output` has closed it. While the last samples are written, another
/// request to end ends it at once. `load` reads the configuration again. `log` is the program's log, if it has one.
///
/// # Errors
///
/// When the host has no timers, or the output cannot be examined.
pub async fn run(
    config: Config,
    load: ConfigLoader,
    log: Option<&Log>,
    output: File,
    requests: impl AsyncFnMut() -> Request,
) -> anyhow::Result<()> {
    run_observed(config, load, log, output, |_| {}, requests).await
}

/// Runs as [`run`] does, and hands each sample to `observe` at the end of its tick: for tests.
///
/// # Errors
///
/// As [`run`].
pub async fn run_observed(
    config: Config,
    load: ConfigLoader,
    log: Option<&Log>,
    output: File,
    mut observe: impl FnMut(&Arc<Sample>),
    mut requests: impl AsyncFnMut() -> Request,
) -> anyhow::Result<()> {
    report_certificates(&config);
    let mut reloader = Reloader::new(load, &config);
    let mut timer = WallTimer::new(config.interval)?;
    let slow = SlowReadings::new(&config);
    let mut service = Service::new(&config.service_manager);
    let socket_places = config.status_socket.clone();
    let mut parts = Parts::new(config, &slow);
    let status = StatusServer::new(parts.status.slot(), &socket_places);
    let delivery = Delivery::new(&parts.config, parts.status.slot(), parts.push.inlet());
    let sinks = Sinks::new(&parts.config, output, delivery.tasks())?;
    let mut outputs = Outputs { sinks, delivery, status };
    let mut threads = Threads::new(log);
    threads.start(&mut outputs, &slow, &mut parts.plugins);
    if !has_started(&slow, &mut parts.plugins, &mut outputs.delivery, &mut reloader, &mut requests).await {
        service.notifier.stopping();
        outputs.end_at_once().await;
        return Ok(());
    }
    if service.is_managed() {
        parts.read_natives();
        service.notifier.ready();
        service.show(parts.interval, parts.plugins.roster());
    }
    let mut ticker = Ticker::new(Source::System, parts.interval, CPU_WINDOW);
    let mut open: Option<OpenRound> = None;

    let mut is_closed = false;
    loop {
        let deadline = open.as_ref().map(|open| open.until);
        let check_at = parts.plugins.check_at();
        service.expect(ticker.due());
        service.follow_reload(reloader.is_active());
        let event = tokio::select! {
            biased;
            request = requests() => match request {
                Request::End => Event::Shutdown,
                Request::Reload => Event::Reload,
                Request::Reopen => Event::Reopen,
            },
            () = outputs.sinks.closed() => Event::OutputClosed,
            waited = timer.wait(ticker.due_at()), if deadline.is_none() => waited.map(|()| Event::Time)?,
            () = parts.plugins.returned() => Event::Round,
            () = sleep_until(deadline), if deadline.is_some() => Event::Time,
            () = sleep_until(check_at) => Event::Check,
            () = reloader.wait() => Event::ReloadStep,
            () = sleep_until(service.wake_at()) => Event::Sign,
        };
        match event {
            Event::Shutdown => break,
            Event::OutputClosed => {
                is_closed = true;
                break;
            }
            Event::Time if open.is_none() => {
                if let Some((tick, delay)) = ticker.serve() {
                    open = Some(parts.begin(tick, delay, Some(parts.patience)));
                    parts.plugins.wait_briefly();
                }
            }
            Event::Check => parts.plugins.check(),
            Event::Reload => {
                service.reloading();
                reloader.request();
            }
            Event::Reopen => outputs.reopen(),
            Event::ReloadStep => reloader.advance(&parts.config, &mut parts.plugins, &mut outputs.delivery),
            Event::Sign => {
                service.give_sign();
                service.show_between_ticks(parts.interval, || parts.plugins.roster());
            }
            Event::Time | Event::Round => {}
        }
        if let Some(round) = open.take_if(|open| !parts.plugins.is_awaited() || open.until <= Instant::now()) {
            observe(&complete(round, &mut parts, &mut outputs, &ticker, &reloader));
            parts.release();
            threads.retry(&mut outputs, &slow, &mut parts.plugins);
            service.show(parts.interval, parts.plugins.roster());
        }
        if open.is_none()
            && let Some(commit) = commit_ready(&mut reloader, &mut parts, &mut outputs, &slow, log)
        {
            threads.start(&mut outputs, &slow, &mut parts.plugins);
            if let Some(prepared) = commit.timer {
                timer = prepared;
                ticker.set_interval(parts.interval);
            }
        }
    }

    service.notifier.stopping();
    // A pipeline ends quietly, unless somebody else gets the samples.
    if !is_closed || outputs.sinks.count() > 1 {
        tracing::info!("shutting down");
    }
    if let Some(round) = open {
        observe(&complete(round, &mut parts, &mut outputs, &ticker, &reloader));
    }
    end(outputs, parts.plugins, &mut requests).await;
    Ok(())
}

/// Completes the sample of a tick, and hands it to all outputs.
fn complete(
    round: OpenRound,
    parts: &mut Parts,
    outputs: &mut Outputs,
    ticker: &Ticker,
    reloader: &Reloader,
) -> Arc<Sample> {
    let sample = parts.finish(round, &LoopFacts::new(ticker, &outputs.sinks, reloader, &outputs.delivery));
    // First: whoever has read the line may ask for the same sample.
    if outputs.serves() {
        let sinks = outputs.sinks.view();
        parts.status.publish(&sample, &parts.natives, &parts.plugins, sinks, &reloader.problems);
    }
    outputs.put(&sample);
    sample
}

/// Puts a configuration that is ready into effect, and returns it.
fn commit_ready(
    reloader: &mut Reloader,
    parts: &mut Parts,
    outputs: &mut Outputs,
    slow: &Arc<SlowReadings>,
    log: Option<&Log>,
) -> Option<Box<Commit>> {
    let mut commit = reloader.take_ready()?;
    if !parts.commit(&commit, slow, log) {
        reloader.put_back(commit);
        return None;
    }
    outputs.commit(&mut commit);
    reloader.record(&commit);
    Some(commit)
}

/// Waits until all threads have started and the natives have their first readings. Returns false when the agent is requested to end
/// before.
async fn has_started(
    slow: &SlowReadings,
    plugins: &mut Plugins,
    delivery: &mut Delivery,
    reloader: &mut Reloader,
    requests: &mut impl AsyncFnMut() -> Request,
) -> bool {
    let mut started =
        pin!(async { tokio::join!(slow.wait_first(), plugins.started(), delivery.started(DELIVERY_START)) });
    loop {
        tokio::select! {
            biased;
            request = requests() => match request {
                Request::Reload => reloader.request(),
                // The sinks have just opened their files, or will.
                Request::Reopen => log_ignored("USR1"),
                Request::End => {
                    tracing::info!("shutting down");
                    return false;
                }
            },
            _ = &mut started => return true,
        }
    }
}

/// Prints one sample, as soon as all plugins are loaded and have returned. The exit code is a failure when a plugin of the
/// configuration is not in it, or when the agent is requested to end before.
///
/// # Errors
///
/// As [`run`], and when the sample cannot be written.
pub async fn once(
    config: Config,
    style: Option<Style>,
    mut requests: impl AsyncFnMut() -> Request,
) -> anyhow::Result<ExitCode> {
    let printed = async {
        let encoder = Encoder::new(Arc::new(SeriesSettings::agent_wide(&config)));
        let (sample, missing) = sample(config).await?;
        let style = style.unwrap_or(if io::stdout().is_terminal() { Style::Pretty } else { Style::Line });
        match stdout::once(sample, encoder, style).await {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.context("failed to write the sample to standard output")?,
        }
        anyhow::Ok(missing)
    };
    let missing = tokio::select! {
        biased;
        missing = printed => missing?,
        () = end_requested(&mut requests) => {
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
async fn sample(mut config: Config) -> anyhow::Result<(Arc<Sample>, Vec<String>)> {
    // It ends by itself, and is not to wait for an hour.
    config.limits.compile_cpu_per_hour = None;
    let slow = SlowReadings::new(&config);
    let facts = LoopFacts { missed: 0, steps: 0, sinks: None, reload: ReloadFacts::at_start(&config), http: None };
    let mut parts = Parts::new(config, &slow);
    for (thread, started) in [("slow", slow.start_thread()), ("guests", parts.plugins.start_thread())] {
        if let Err(error) = started {
            report_missing(thread, &error);
        }
    }
    slow.wait_first().await;
    // The plugins first: compiling them would be most of the cpu time that is measured.
    let Settled { mut missing, is_complete } = parts.plugins.settled(LOADING).await;
    if !is_complete {
        tracing::warn!(waited_s = LOADING.as_secs(), "sample taken before all plugins are loaded");
    }
    parts.restart_natives(&slow);
    tokio::time::sleep(CPU_WINDOW).await;
    let now = Duration::from_secs(wall_clock().as_secs());
    let round = parts.begin(Tick { index: 0, previous: None, since_epoch: now }, Duration::ZERO, None);
    if parts.plugins.is_awaited() && tokio::time::timeout(SINGLE_PATIENCE, parts.plugins.returned()).await.is_err() {
        missing.extend(parts.plugins.current().map(|plugin| plugin.to_string()));
    }
    Ok((parts.finish(round, &facts), missing))
}

/// How long a sample waits for its plugins, at this interval.
fn patience(interval: Duration) -> Duration {
    (interval / PATIENCE_SHARE).clamp(MIN_PATIENCE, MAX_PATIENCE)
}

/// How much longer it waits for the guest thread to say what has returned.
fn grace(interval: Duration) -> Duration {
    (interval / GRACE_SHARE).min(MAX_GRACE)
}

/// The parts of the agent that make samples.
struct Parts {
    config: Arc<Config>,
    interval: Duration,
    /// How long a sample waits for its plugins.
    patience: Duration,
    grace: Duration,
    series: Arc<SeriesTable>,
    natives: Natives,
    plugins: Plugins,
    push: PushedModules,
    about: AgentModule,
    status: StatusPublisher,
    samples: Recycler<Sample>,
}

impl Parts {
    fn new(config: Config, slow: &Arc<SlowReadings>) -> Self {
        let (config, series) = (Arc::new(config), Arc::<SeriesTable>::default());
        let natives = Natives::with_slow(&config, &SeriesAccount::unlimited(&series), slow);
        Self {
            interval: config.interval,
            patience: patience(config.interval),
            grace: grace(config.interval),
            plugins: Plugins::new(&config, Arc::clone(&series), natives.modules().cloned().collect(), METRICS),
            natives,
            push: PushedModules::new(&series, config.takes_points()),
            about: AgentModule::new(&config, &series, slow),
            status: StatusPublisher::new(&config),
            series,
            config,
            samples: Recycler::default(),
        }
    }

    /// Puts another configuration into effect, between two ticks. Returns whether it did: the guest thread may have no room for it
    /// yet, and then nothing has changed.
    fn commit(&mut self, commit: &Commit, slow: &Arc<SlowReadings>, log: Option<&Log>) -> bool {
        let (old, new) = (Arc::clone(&self.config), &commit.config);
        let natives = Natives::enabled_modules(new);
        // Without a thread it is followed by the next one.
        if self.plugins.reconfigure(Arc::clone(new), natives).is_ok_and(|is_taken| !is_taken) {
            return false;
        }
        let account = SeriesAccount::unlimited(&self.series);
        self.natives.reconfigure(&old, new, &account, slow);
        for change in &commit.difference.followed {
            match change {
                Change::Interval(interval) => {
                    (self.interval, self.patience, self.grace) = (*interval, patience(*interval), grace(*interval));
                    self.about.set_interval(*interval);
                }
                Change::Hostname(_) | Change::Cpu(_) | Change::Host(_) => slow.reconfigure(new),
                Change::Log(config) => {
                    if let Some(log) = log {
                        log.reconfigure(*config);
                    }
                }
                // The natives and the plugins have followed, and the rest is for those who ask.
                _ => {}
            }
        }
        self.push.set_open(new.takes_points());
        self.status.reconfigure(new);
        self.config = Arc::clone(new);
        true
    }

    /// Begins the intervals of native rates anew.
    fn restart_natives(&mut self, slow: &Arc<SlowReadings>) {
        self.natives = Natives::with_slow(&self.config, &SeriesAccount::unlimited(&self.series), slow);
    }

    /// Reads all native files once, without a sample: problems of the host show at the start.
    fn read_natives(&mut self) {
        self.natives.collect(&mut Sample::default());
    }

    /// Begins a tick, which is this late: collects natively and calls the plugins.
    fn begin(&mut self, tick: Tick, delay: Duration, patience: Option<Duration>) -> OpenRound {
        let began = Instant::now();
        // One that was cleared: to release modules would delay the tick.
        let mut shared = self.samples.take(|sample| sample.modules.is_empty());
        let mut sample = shared.as_mut().and_then(Arc::get_mut).map(std::mem::take).unwrap_or_default();
        (sample.tick, sample.interval) = (tick.since_epoch, self.interval);
        self.natives.collect(&mut sample);
        self.push.collect();
        let until = patience.map(|patience| began + patience);
        self.plugins.call(tick, until);
        self.status.record_delay(delay);
        OpenRound { sample, shared, began, delay, until: until.unwrap_or(began + SINGLE_PATIENCE) + self.grace }
    }

    /// Releases the samples that no sink has any more, so that the collectors can use the memory of their modules again. After
    /// a tick there is time for that.
    fn release(&mut self) {
        // The module `agent` is the first.
        let own = 1 + self.natives.modules().count();
        for sample in self.samples.free() {
            self.push.release(sample);
            if self.plugins.reclaim(sample, own) {
                sample.clear();
            }
        }
    }

    /// Completes the sample of a tick.
    fn finish(&mut self, round: OpenRound, facts: &LoopFacts) -> Arc<Sample> {
        let OpenRound { mut sample, shared, began, delay, .. } = round;
        self.plugins.deliver(&mut sample);
        self.push.deliver(&mut sample);
        let facts = TickFacts { began, delay, push: self.push.statistics(), in_loop: facts };
        self.about.complete(&mut sample, &facts, &self.natives, &mut self.plugins);
        let sample = Recycler::fill(shared, sample);
        self.samples.keep(&sample);
        sample
    }
}
