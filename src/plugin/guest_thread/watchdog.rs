//! The guest thread in use. It is checked from time to time; one that hangs is abandoned, and another takes its place.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::config::Config;
use crate::plugin::guest::fault::FaultKind;
use crate::plugin::guest_thread::abandonment::{Abandonments, Suspension};
use crate::plugin::guest_thread::heartbeat::{CHECK_EVERY, LONGEST_SILENCE, Silence};
use crate::plugin::guest_thread::setup::Setup;
use crate::plugin::guest_thread::{Command, GuestThread, Standby};
use crate::sample::Text;
use crate::thread::remedy;

/// How long the end waits for the guest thread, which may hang: long enough to log what it has gathered.
const END_PATIENCE: Duration = Duration::from_millis(100);

/// How long the start of another thread pauses after it has failed.
const RETRY: Duration = Duration::from_secs(10);

/// The guest thread in use, and what is known of those before.
pub(crate) struct Watchdog {
    setup: Arc<Setup>,
    standby: Arc<Standby>,
    /// None until it was started, and when no further one is.
    thread: Option<GuestThread>,
    silence: Silence,
    /// The zero of the silence's clock.
    clock: Instant,
    /// When the thread is checked although there may be no tick.
    check_at: Option<Instant>,
    abandonments: Abandonments,
    restarts: u64,
}

impl Watchdog {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            setup: Arc::new(setup),
            standby: Arc::default(),
            thread: None,
            silence: Silence::default(),
            clock: Instant::now(),
            check_at: None,
            abandonments: Abandonments::default(),
            restarts: 0,
        }
    }

    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Starts a guest thread if there is none, unless too many hung.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        if self.thread.is_none() && !self.abandonments.is_final() {
            let suspensions = self.abandonments.suspensions();
            self.thread = Some(GuestThread::start(&self.setup, &self.standby, suspensions)?);
            self.silence = Silence::default();
        }
        Ok(())
    }

    /// Follows another configuration, also after too many threads hung. Returns whether the guest thread took it; if not, it is
    /// to be given again.
    ///
    /// # Errors
    ///
    /// When a thread that is missing cannot be started.
    pub(crate) fn reconfigure(&mut self, config: Arc<Config>, natives: Arc<[Text]>) -> io::Result<bool> {
        let setup = Arc::new(self.setup.with_config(config, natives));
        if self.thread.as_ref().is_some_and(|thread| !thread.send(Command::Reconfigure(Arc::clone(&setup)))) {
            return Ok(false);
        }
        (self.setup, self.abandonments) = (setup, Abandonments::default());
        self.start().map(|()| true)
    }

    /// Has the plugins that another configuration changes tried with it. The reply has those that were rejected; none comes without
    /// a guest thread. None when that has no room for the command.
    pub(crate) fn prepare(&self, config: Arc<Config>) -> Option<oneshot::Receiver<Vec<String>>> {
        let (reply, prepared) = oneshot::channel();
        let setup = Arc::new(self.setup.with_config(config, Arc::clone(&self.setup.natives)));
        let is_sent = self.thread.as_ref().is_none_or(|thread| thread.send(Command::Prepare(setup, reply)));
        is_sent.then_some(prepared)
    }

    pub(crate) fn thread(&mut self) -> Option<&mut GuestThread> {
        self.thread.as_mut()
    }

    /// Whether there is a thread.
    pub(crate) fn has_thread(&self) -> bool {
        self.thread.is_some()
    }

    /// How many guest threads took the place of one that hung.
    pub(crate) fn restarts(&self) -> u64 {
        self.restarts
    }

    /// When the thread is to be checked although there may be no tick.
    pub(crate) fn check_at(&self) -> Option<Instant> {
        self.check_at
    }

    /// Checks the thread; `is_overdue` says that it has not answered in time. Returns whether it was replaced, or given up.
    pub(crate) fn check(&mut self, is_overdue: bool) -> bool {
        let now = Instant::now();
        let Some(thread) = &self.thread else {
            if self.check_at.is_some_and(|at| at <= now) {
                self.restart(now);
            }
            return false;
        };
        self.silence.check(thread.heartbeat.reading(), now.saturating_duration_since(self.clock));
        self.check_at = (is_overdue || self.silence.is_suspicious()).then(|| now + CHECK_EVERY);
        let has_ended = thread.has_ended();
        if !has_ended && !self.silence.is_over() {
            return false;
        }
        let plugin = thread.heartbeat.plugin();
        (self.thread, self.check_at) = (None, None);
        self.abandonments.record(plugin.clone(), now);
        if let Some(plugin) = &plugin {
            self.setup.accounts.count_fault(plugin, FaultKind::Stuck);
        }
        self.report(plugin.as_deref(), has_ended);
        self.restart(now);
        true
    }

    /// Starts another thread in place of one that hung, now or later.
    fn restart(&mut self, now: Instant) {
        let is_retry = self.check_at.take().is_some();
        match self.start() {
            Ok(()) => self.restarts += u64::from(self.thread.is_some()),
            Err(error) => {
                self.check_at = Some(now + RETRY);
                if !is_retry {
                    let (reason, remedy) = (error.to_string(), remedy(&error));
                    let consequence = "only native metrics until then; it is tried again every 10 s";
                    tracing::error!(reason, remedy, consequence, "plugins not started");
                }
            }
        }
    }

    fn report(&self, plugin: Option<&str>, has_ended: bool) {
        let silence = humantime::format_duration(LONGEST_SILENCE);
        let reason = if has_ended {
            "the thread ended by a panic of the agent's own code".to_owned()
        } else {
            format!("no sign of life for {silence}: a call cannot be interrupted")
        };
        let plugins = self.abandonments.plugins().join(", ");
        if self.abandonments.is_final() {
            let remedy = "remove the plugins, and restart the agent";
            let consequence = "only native metrics until then";
            tracing::error!(plugin, plugins, reason, remedy, consequence, "guest threads given up");
        } else {
            let remedy = "replace or remove the plugin";
            let consequence = match plugin.and_then(|plugin| self.abandonments.suspensions().get(plugin).copied()) {
                Some(Suspension::Disabled) => {
                    "the others are loaded again on another thread, this one once its file changes"
                }
                Some(Suspension::Until(_)) => "all plugins are loaded again on another thread, this one after a pause",
                None => "all plugins are loaded again on another thread",
            };
            tracing::error!(plugin, reason, remedy, consequence, "guest thread abandoned");
        }
    }

    /// Ends the thread, and waits a moment for it.
    pub(crate) async fn end(self) {
        if let Some(thread) = self.thread {
            // A thread that hangs ends with the process.
            let _ = tokio::time::timeout(END_PATIENCE, thread.end()).await;
        }
    }
}
