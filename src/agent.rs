//! The main loop: at each tick the collectors are called, and the sample goes to the sinks. Only the wiring is here: the
//! moments come from `clock`, the metrics from the collectors and the plugins, and the sinks write the samples.

mod about;
mod ending;
mod once;
mod outputs;
mod parts;
mod reading;
mod reload;
mod reloader;
mod service;
mod status;
mod threads;
mod usage;

use std::fs::File;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::about::LoopFacts;
pub use self::about::METRICS;
use self::ending::end;
pub use self::once::once;
use self::outputs::Outputs;
use self::parts::{CPU_WINDOW, OpenRound, Parts};
use self::reading::report_certificates;
pub use self::reloader::ConfigLoader;
use self::reloader::{Commit, Reloader};
use self::service::Service;
use self::threads::Threads;
use crate::clock::sleep::sleep_until;
use crate::clock::source::Source;
use crate::clock::ticker::Ticker;
use crate::clock::wall_timer::WallTimer;
use crate::collector::slow::SlowReadings;
use crate::config::Config;
use crate::delivery::Delivery;
use crate::log::Log;
use crate::plugin::Plugins;
use crate::process::{Request, log_ignored};
use crate::sample::Sample;
use crate::sink::Sinks;
use crate::state_directory::StateDirectory;
use crate::state_directory::plugin_states::PluginStates;
use crate::status::StatusServer;

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
    let state = StateDirectory::new(config.state_directory.clone());
    let kept = PluginStates::in_directory(state.clone());
    let mut parts = Parts::new(config, &slow, kept.clone());
    let status = StatusServer::new(parts.status.slot(), &socket_places);
    let delivery = Delivery::new(&parts.config, parts.status.slot(), parts.push.inlet());
    let sinks = Sinks::new(&parts.config, output, delivery.tasks(), &state)?;
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
    end(outputs, parts.plugins, &state, &kept, &mut requests).await;
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
