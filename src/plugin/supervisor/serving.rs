//! The version of a plugin that serves, and its calls. At most one is under way at a time.
//!
//! ```text
//!                  call
//!  trial ──▶ Idle ──────▶ InFlight ── an error that lasts ──▶ Disabled
//!             ▲              │
//!             ├── Up ────────┤ a result: it keeps the instance
//!             ├── Error ─────┤ an error that it returned: so it does, unless that was of its configuration
//!             └── Fault ─────┘ a fault: without an instance
//! ```
//!
//! Without an instance the next call starts one, after a pause that grows.
//!
//! Only its successor ends it: another version, or the same with another configuration. A call under way then returns to
//! nobody, but its result is delivered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::schedule::Tick;
use crate::plugin::context::PluginContext;
use crate::plugin::guest::backoff::Backoff;
use crate::plugin::guest::fault::{CallError, Failure, Fault};
use crate::plugin::guest::instance::Instance;
use crate::plugin::guest::result::Collected;
use crate::plugin::rejection::{Rejection, RetryPolicy};
use crate::plugin::supervisor::call::{Call, CallResult};
use crate::plugin::supervisor::results::Results;
use crate::plugin::supervisor::state::PluginState;
use crate::plugin::supervisor::wording;
use crate::plugin::trial::Trial;
use crate::plugin::version::Version;
use crate::sample::Module;

/// A version that serves.
pub(crate) struct Serving {
    pub(crate) version: Arc<Version>,
    /// How many versions and configurations have served: the number of this one.
    pub(crate) generation: u64,
    activity: Activity,
    /// When it is started again, after a fault or an error of its configuration.
    restart: Backoff,
    reported: Reported,
    /// The configuration that is to replace its own; none unless it is being tried or was rejected.
    pub(crate) candidate: Option<Box<Candidate>>,
}

enum Activity {
    /// Between two calls. Without an instance, the next call starts one.
    Idle { instance: Option<Box<Instance>>, due: Due, health: Health },
    /// The call has the instance, and returns it unless it fails.
    InFlight { health: Health },
    /// It is not called any more.
    Disabled,
}

/// When a call is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// At the next tick, whatever the plugin's interval: it was not called yet.
    NextTick,
    Interval,
}

/// The outcome of the last call, or of the trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    Up,
    /// It returned an error, and whether that was logged.
    Error(CallError, bool),
    Fault,
}

/// The problems of a version that were reported, and are not reported again.
#[derive(Debug, Default)]
struct Reported {
    /// Another collector has the same module.
    conflict: bool,
    /// Metrics were dropped.
    loss: bool,
}

/// A new configuration of the version that serves.
pub(crate) struct Candidate {
    pub(crate) plugin: PluginContext,
    /// When it is tried again, if it was rejected for a cause that may pass.
    retry: Backoff,
    /// Reason and remedy of the last rejection.
    rejection: Option<(String, String)>,
    pub(crate) hold: Hold,
}

/// Whether a new configuration waits for the commit of the others that were changed with it.
#[derive(Default)]
pub(crate) enum Hold {
    /// It comes into effect when its trial has passed.
    #[default]
    None,
    /// It is being tried, and waits then.
    Trying,
    /// It waits: the trial, or why it was rejected.
    Tried(Result<Trial, Rejection>),
}

impl Serving {
    /// Begins to serve. `previous` is the health of the version before.
    pub(crate) fn new(
        version: Arc<Version>,
        generation: u64,
        trial: Trial,
        previous: Option<&Health>,
        plugin: &PluginContext,
        results: &mut Results,
        now: Instant,
    ) -> Self {
        let mut serving = Self {
            version,
            generation,
            activity: Activity::Disabled,
            restart: Backoff::default(),
            reported: Reported::default(),
            candidate: None,
        };
        let (instance, health) = match trial {
            Trial::Passed(instance) => (Some(instance), Health::Up),
            Trial::Error(error, instance) => {
                results.fail(generation);
                let health = serving.record_error(error, instance.is_some(), previous, plugin, now);
                (instance, health)
            }
            Trial::Fault(fault) => {
                serving.record_fault(&fault, plugin, results, now);
                (None, Health::Fault)
            }
        };
        serving.rest(instance, Due::NextTick, health);
        serving
    }

    /// Begins the call for a tick. None when it is not due, is disabled, pauses, or is still in flight; the last is counted as
    /// skipped.
    pub(crate) fn call(&mut self, tick: Tick, skipped: u64, clock: Instant, plugin: &PluginContext) -> Option<Call> {
        let is_due = tick.is_due(plugin.every);
        if skipped > 0 && self.health().is_some() {
            // Ticks without a round, as far as they were the plugin's.
            plugin.accounts.counters.skipped.add(skipped.min(tick.passed(plugin.every)));
        }
        let start = Instant::now();
        let (instance, health) = match &mut self.activity {
            Activity::Idle { instance, due, health }
                if (is_due || *due == Due::NextTick) && !self.restart.is_waiting(start) =>
            {
                (instance.take(), health.take())
            }
            Activity::InFlight { .. } if is_due => {
                plugin.accounts.counters.skipped.add(1);
                return None;
            }
            _ => return None,
        };
        self.activity = Activity::InFlight { health };
        let version = Arc::clone(&self.version);
        let collect = move |mut instance: Box<Instance>, version| async move {
            let result = instance.collect(tick, clock.elapsed()).await;
            CallResult::new(Some(version), Some(instance), result, start.elapsed())
        };
        if let Some(mut instance) = instance {
            instance.set_step(plugin.step);
            return Some(Box::pin(collect(instance, version)));
        }
        let plugin = plugin.clone();
        Some(Box::pin(async move {
            match plugin.start(&version.code, &version.description).await {
                Ok((instance, _needs)) => collect(Box::new(instance), version).await,
                Err(failure) => {
                    let (result, took) = (Err(failure), start.elapsed());
                    CallResult::new(Some(version), None, result, took)
                }
            }
        }))
    }

    /// Handles the end of its call. Returns the result for the sample, if there is one.
    pub(crate) fn handle_return(
        &mut self,
        instance: Option<Box<Instance>>,
        result: Result<Collected, Failure>,
        plugin: &PluginContext,
        results: &mut Results,
        now: Instant,
    ) -> Option<Collected> {
        let Activity::InFlight { health } = &mut self.activity else { return None };
        let previous = health.take();
        match result {
            Ok(collected) => {
                if let Health::Error(_, true) = previous {
                    wording::log_available_again(plugin);
                }
                if let Some(loss) = collected.losses.first().filter(|_| !self.reported.loss) {
                    self.reported.loss = true;
                    wording::log_metrics_dropped(plugin, &self.version, loss);
                }
                self.rest(instance, Due::Interval, Health::Up);
                self.restart.record_success(now);
                return Some(collected);
            }
            Err(Failure::Error(error)) => {
                results.fail(self.generation);
                let health = self.record_error(error, instance.is_some(), Some(&previous), plugin, now);
                self.rest(instance, Due::Interval, health);
            }
            Err(Failure::Disabled(disabled)) => {
                results.end(self.generation);
                wording::log_disabled(plugin, &disabled);
                self.activity = Activity::Disabled;
            }
            Err(Failure::Fault(fault)) => {
                self.record_fault(&fault, plugin, results, now);
                self.rest(None, Due::Interval, Health::Fault);
            }
        }
        None
    }

    fn rest(&mut self, instance: Option<Box<Instance>>, due: Due, health: Health) {
        self.activity = Activity::Idle { instance, due, health };
    }

    /// Counts an error that the plugin returned. Without an instance, which could not be configured, another is started after a
    /// pause, as after a fault: to do so at each tick costs more than a call. Returns the health.
    fn record_error(
        &mut self,
        error: CallError,
        has_instance: bool,
        previous: Option<&Health>,
        plugin: &PluginContext,
        now: Instant,
    ) -> Health {
        let pause = (!has_instance).then(|| self.restart.record_failure(now));
        Health::error(error, previous, plugin, pause)
    }

    fn record_fault(&mut self, fault: &Fault, plugin: &PluginContext, results: &mut Results, now: Instant) {
        results.fail(self.generation);
        plugin.accounts.counters.faults.add(fault.kind);
        let pause = humantime::format_duration(self.restart.record_failure(now)).to_string();
        wording::log_failed(plugin, &self.version, fault, &pause);
    }

    /// Reports, once, that another collector has one of its modules.
    pub(crate) fn report_conflict(&mut self, plugin: &PluginContext, module: &Module) {
        if !std::mem::replace(&mut self.reported.conflict, true) {
            wording::log_module_dropped(plugin, &self.version, module);
        }
    }

    /// The outcome of the last call, unless it has ended all.
    pub(crate) fn health(&self) -> Option<&Health> {
        match &self.activity {
            Activity::Idle { health, .. } | Activity::InFlight { health } => Some(health),
            Activity::Disabled => None,
        }
    }

    /// Whether it was never called.
    pub(crate) fn awaits_call(&self) -> bool {
        matches!(self.activity, Activity::Idle { due: Due::NextTick, .. })
    }

    pub(crate) fn is_up(&self) -> bool {
        self.health() == Some(&Health::Up)
    }

    pub(crate) fn state(&self) -> PluginState {
        match self.health() {
            Some(Health::Up) => PluginState::Up,
            Some(Health::Error(error, _)) => error.kind.into(),
            Some(Health::Fault) => PluginState::Failed,
            None => PluginState::Disabled,
        }
    }
}

impl Health {
    /// Moves it out, to where it is kept next.
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Fault)
    }

    /// The health after an error that the plugin returned. That is counted, and logged until it changes, as far as the plugin
    /// has log lines left. `pause` is that before it is started again; none if it keeps its instance.
    fn error(error: CallError, previous: Option<&Self>, plugin: &PluginContext, pause: Option<Duration>) -> Self {
        plugin.accounts.counters.errors.add(1);
        let is_known = matches!(previous, Some(Self::Error(known, true)) if *known == error);
        let is_logged = is_known || plugin.accounts.log.take();
        if is_logged && !is_known {
            wording::log_error(plugin, &error, pause);
        }
        Self::Error(error, is_logged)
    }
}

impl Candidate {
    pub(crate) fn new(plugin: PluginContext) -> Self {
        Self { plugin, retry: Backoff::default(), rejection: None, hold: Hold::None }
    }

    /// One that waits for the commit.
    pub(crate) fn held(plugin: PluginContext) -> Self {
        Self { hold: Hold::Trying, ..Self::new(plugin) }
    }

    /// When it is tried again.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry.at
    }

    /// Reason and remedy of its last rejection.
    pub(crate) fn rejection(&self) -> Option<&(String, String)> {
        self.rejection.as_ref()
    }

    /// Records that it is being tried. Returns the plugin with the configuration.
    pub(crate) fn begin_trial(&mut self) -> PluginContext {
        self.retry.at = None;
        self.plugin.clone()
    }

    /// Records a rejection. It is logged unless it is that of the trial before.
    pub(crate) fn reject(&mut self, version: &Version, rejection: &Rejection, now: Instant) {
        if matches!(rejection.retry, RetryPolicy::Backoff | RetryPolicy::Soon) {
            self.retry.record_failure(now);
        }
        if self.rejection.as_ref().is_none_or(|(reason, _)| *reason != rejection.reason) {
            wording::log_configuration_rejected(&self.plugin, version, rejection);
        }
        self.rejection = Some((rejection.reason.clone(), rejection.full_remedy()));
    }
}
