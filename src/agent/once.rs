//! One sample, printed as soon as all plugins are loaded and have returned. No sink, listener, spool or lock is opened for it.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::about::LoopFacts;
use super::ending::end_requested;
use super::parts::{CPU_WINDOW, Parts, SINGLE_PATIENCE};
use super::reloader::ReloadFacts;
use super::threads::report_missing;
use crate::clock::schedule::{Tick, wall_clock};
use crate::collector::slow::SlowReadings;
use crate::config::Config;
use crate::plugin::Settled;
use crate::process::Request;
use crate::sample::Sample;
use crate::sink::{Encoder, SeriesSettings, Style, stdout};
use crate::state_directory::plugin_states::PluginStates;

/// How long a single sample waits for plugins to be loaded: three Python guests.
const LOADING: Duration = Duration::from_secs(30);

/// Prints one sample, as soon as all plugins are loaded and have returned. The exit code is a failure when a plugin of the
/// configuration is not in it, or when the agent is requested to end before.
///
/// # Errors
///
/// As [`run`](super::run), and when the sample cannot be written.
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
    let mut parts = Parts::new(config, &slow, PluginStates::default());
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
