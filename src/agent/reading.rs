//! The thread of a reload: it reads the configuration and opens the files of new sinks, and may have to wait for a disk. One that
//! does not come back is given up for another one.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::reload::lost_files;
use crate::clock::schedule::wall_clock;
use crate::clock::sleep::sleep_until;
use crate::config::{Config, Problem, SinkConfig};
use crate::sink::{PreparedSink, SinkError};
use crate::{client, http, thread};

/// How long it may take before that is reported: longer than a disk takes to spin up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads the configuration, with the command line that the agent was started with. May wait for a disk.
pub type ConfigLoader = Arc<dyn Fn() -> Result<Config, Vec<Problem>> + Send + Sync>;

/// The thread that reads the configuration and opens files.
pub(super) struct Reading {
    loaded: oneshot::Receiver<Loaded>,
    /// When it is late, until that is reported.
    late_at: Option<Instant>,
    /// The file that is being opened.
    opening: Arc<Mutex<Option<String>>>,
}

impl Reading {
    /// Starts a thread that reads the configuration, and opens what the one in effect does not have.
    pub(super) fn start(load: &ConfigLoader, config: &Arc<Config>) -> io::Result<Self> {
        let (reply, loaded) = oneshot::channel();
        let (load, config) = (Arc::clone(load), Arc::clone(config));
        let opening = Arc::<Mutex<Option<String>>>::default();
        let opened = Arc::clone(&opening);
        let work = move || {
            // The agent may have ended, or have given it up.
            let _ = reply.send(load().and_then(|new| Opened::new(new, &config, &opened)));
        };
        thread::start("reload", work)?;
        Ok(Self { loaded, late_at: Some(Instant::now() + PATIENCE), opening })
    }

    /// Waits for the configuration; none when it is late, once. Cancellation safe.
    pub(super) async fn wait(&mut self) -> Option<Loaded> {
        tokio::select! {
            // The thread has panicked if it sends nothing.
            loaded = &mut self.loaded => Some(loaded.unwrap_or_else(|_| Err(Vec::new()))),
            () = sleep_until(self.late_at) => None,
        }
    }

    /// Whether it does not come back, as far as is known.
    pub(super) fn is_hanging(&self) -> bool {
        self.late_at.is_none()
    }

    /// Reports that it is late. Returns reason and remedy.
    pub(super) fn report_late(&mut self) -> (String, &'static str) {
        self.late_at = None;
        let file = self.opening.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let file = file.map(|file| format!(": {file}")).unwrap_or_default();
        (
            format!("the file system does not respond{file}"),
            "check the mount, or name another file; then reload the agent",
        )
    }
}

/// The configuration as it was read, or its errors.
pub(super) type Loaded = Result<Opened, Vec<Problem>>;

/// A configuration with what it needs opened: by the thread that reads it, since a file system may not respond.
pub(super) struct Opened {
    pub(super) config: Config,
    pub(super) sinks: BTreeMap<String, Result<PreparedSink, SinkError>>,
}

impl Opened {
    /// Opens what a configuration needs and the one before does not have, unless it is not followed.
    fn new(config: Config, old: &Config, opening: &Mutex<Option<String>>) -> Loaded {
        let lost = lost_files(old, &config);
        if !lost.is_empty() {
            return Err(lost);
        }
        let changed = config.sinks.iter().filter(|(name, sink)| old.sinks.get(*name) != Some(sink));
        let prepare = |(name, sink): (&String, &SinkConfig)| {
            *opening.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("sinks.{name} is being opened"));
            (name.clone(), PreparedSink::prepare(name, sink, &old.sinks, &config.root))
        };
        report_certificates(&config);
        Ok(Self { sinks: changed.map(prepare).collect(), config })
    }
}

/// Reports the certificates that somebody has to look after, of the server and of clients.
pub(super) fn report_certificates(config: &Config) {
    let now = wall_clock();
    http::report_certificates(config.http.as_ref(), now);
    client::report_certificates(config, now);
}
