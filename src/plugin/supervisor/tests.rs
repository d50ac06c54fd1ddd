//! The supervisor's machine beside a small model of it, under random events.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::PluginConfig;
use crate::plugin::grants::Grants;
use crate::plugin::guest::description::Description;
use crate::plugin::guest::engine::{Engine, Loaded};
use crate::plugin::guest::engine_options::Purpose;
use crate::plugin::guest::fault::{CallError, CallErrorKind, Disabled, DisabledCause, Fault, FaultKind};
use crate::plugin::guest::fixture;
use crate::plugin::guest::instance::{Code, Instance};
use crate::plugin::load::Outcome;
use crate::plugin::offload::pool::OffloadPool;
use crate::plugin::rejection::Rejection;

/// An event around a supervisor.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// The file was written, with this content.
    Written(u8),
    Reconfigured,
    /// The job that is under way ends.
    Finished(Ending),
    /// All pauses are over.
    Paused,
    Tick,
    /// One of the calls that are under way returns, in time or late.
    Returned(usize, Return, bool),
}

/// How a load or a trial ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Passed,
    /// The plugin returned this error: of its call, with an instance, or of its configuration, without.
    Error(CallErrorKind, Keeps),
    Fault,
    Rejected,
    RejectedForGood,
    Unreadable,
    Panicked,
}

/// Whether the instance is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    Instance,
    Nothing,
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Return {
    Result,
    Error(CallErrorKind, Keeps),
    Fault,
    Disabled,
}

fn error() -> impl Strategy<Value = (CallErrorKind, Keeps)> {
    let kinds = prop_oneof![Just(CallErrorKind::Unavailable), Just(CallErrorKind::Failed)];
    (kinds, prop_oneof![Just(Keeps::Instance), Just(Keeps::Nothing)])
}

fn event() -> impl Strategy<Value = Event> {
    let ending = prop_oneof![
        4 => Just(Ending::Passed),
        2 => error().prop_map(|(kind, keeps)| Ending::Error(kind, keeps)),
        1 => Just(Ending::Fault),
        1 => Just(Ending::Rejected),
        1 => Just(Ending::RejectedForGood),
        1 => Just(Ending::Unreadable),
        1 => Just(Ending::Panicked),
    ];
    let returned = prop_oneof![
        4 => Just(Return::Result),
        2 => error().prop_map(|(kind, keeps)| Return::Error(kind, keeps)),
        1 => Just(Return::Fault),
        1 => Just(Return::Disabled),
    ];
    prop_oneof![
        2 => (0_u8..4).prop_map(Event::Written),
        2 => Just(Event::Reconfigured),
        4 => ending.prop_map(Event::Finished),
        1 => Just(Event::Paused),
        4 => Just(Event::Tick),
        3 => (any::<usize>(), returned, any::<bool>())
            .prop_map(|(index, returned, is_late)| Event::Returned(index, returned, is_late)),
    ]
}

/// A job that is under way: the content that is loaded, or none for a trial, and the configuration.
type Running = (Option<u8>, u64);

/// A supervisor with everything that its owner has, and the model.
struct Machine {
    runtime: tokio::runtime::Runtime,
    code: Arc<Code>,
    supervisor: Supervisor,
    now: Instant,
    job: Option<Running>,
    /// The calls that are under way, by generation.
    calls: Vec<u64>,
    ticks: u64,

    /// The newest content and configuration.
    file: u8,
    config: u64,
    /// The content and configuration that serve.
    serving: Option<(u8, u64)>,
    generation: u64,
    state: PluginState,
    is_in_flight: bool,
    /// Whether it has no instance, and pauses before it gets another.
    is_paused: bool,
    /// Whether a rejected configuration is tried again after a pause.
    is_retried: bool,
    skipped: u64,
    late: u64,
    errors: u64,
}

impl Machine {
    fn new(code: &Arc<Code>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self {
            runtime,
            code: Arc::clone(code),
            supervisor: Supervisor::new(context(0), "ticks.wasm".to_owned()),
            // The pause after a fault ends later than all ticks, which are now.
            now: Instant::now() + Duration::from_secs(3600),
            job: None,
            calls: Vec::new(),
            ticks: 0,
            file: 0,
            config: 0,
            serving: None,
            generation: 0,
            state: PluginState::Rejected,
            is_in_flight: false,
            is_paused: false,
            is_retried: false,
            skipped: 0,
            late: 0,
            errors: 0,
        }
    }

    fn apply(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Written(content) => {
                self.file = content;
                let job = self.supervisor.file_changed();
                self.start(job)?;
            }
            Event::Reconfigured => {
                self.config += 1;
                self.is_retried = false;
                let job = self.supervisor.reconfigure(context(self.config), self.now);
                self.start(job)?;
            }
            Event::Finished(ending) => self.finish(ending)?,
            Event::Paused => {
                let job = self.supervisor.take_due_reload(self.now + Duration::from_secs(3600));
                self.start(job)?;
            }
            Event::Tick => self.tick()?,
            Event::Returned(index, returned, is_late) if !self.calls.is_empty() => {
                let generation = self.calls.swap_remove(index % self.calls.len());
                self.end_call(generation, returned, is_late);
            }
            Event::Returned(..) => {}
        }
        self.check()
    }

    /// Runs what the supervisor asks for: at most one job at a time.
    fn start(&mut self, job: Option<Job>) -> Result<(), TestCaseError> {
        let Some(job) = job else { return Ok(()) };
        prop_assert_eq!(self.job, None, "one job at a time");
        self.job = Some(match job {
            Job::Load => (Some(self.file), number(self.supervisor.newest())),
            Job::Trial(trial) => {
                prop_assert_eq!(Some(trial.version.hash), self.serving.map(|(content, _)| hash(content)));
                self.is_retried = false;
                (None, number(&trial.plugin))
            }
        });
        Ok(())
    }

    fn finish(&mut self, ending: Ending) -> Result<(), TestCaseError> {
        let Some((content, config)) = self.job.take() else { return Ok(()) };
        let is_known = content.is_some_and(|content| self.supervisor.known_hashes().contains(&Some(hash(content))));
        let (outcome, state) = self.outcome(content, ending, is_known);
        let is_newest = config == self.config;
        let is_accepted = match ending {
            Ending::Passed => true,
            // Only a version that is up is better.
            Ending::Error(..) => self.state != PluginState::Up,
            Ending::Fault => self.serving.is_none(),
            _ => false,
        };
        if let (true, false, Ending::Error(..)) = (is_newest, is_known, ending) {
            self.errors += 1;
        }
        if is_newest && is_accepted && !is_known {
            let content =
                content.or_else(|| self.serving.map(|(content, _)| content)).expect("only what serves is tried");
            self.serving = Some((content, config));
            self.generation += 1;
            self.is_in_flight = false;
            self.is_paused = matches!(ending, Ending::Fault | Ending::Error(_, Keeps::Nothing));
            self.state = state;
            self.is_retried = false;
        } else if is_newest && content.is_none() {
            self.is_retried = matches!(ending, Ending::Rejected | Ending::Unreadable | Ending::Error(..));
        }
        let (next, _) = self.supervisor.handle_outcome(outcome, Path::new("/plugins"), self.now);
        self.start(next)
    }

    fn instance(&self) -> Box<Instance> {
        let description = version(&self.code, 0).description;
        let plugin = self.supervisor.newest().clone();
        let instance = self.runtime.block_on(Instance::new(&self.code, &plugin, &description));
        Box::new(instance.expect("it starts"))
    }

    /// The outcome of a load or a trial, and the state of the plugin if it is accepted.
    fn outcome(&self, content: Option<u8>, ending: Ending, is_known: bool) -> (JobOutcome, PluginState) {
        let rejection = || Rejection::from("is wrong; fix it".to_owned());
        let tried = match ending {
            Ending::Passed => Ok((Trial::Passed(self.instance()), PluginState::Up)),
            Ending::Error(kind, keeps) => {
                let instance = (keeps == Keeps::Instance).then(|| self.instance());
                Ok((Trial::Error(call_error(kind), instance), kind.into()))
            }
            Ending::Fault => Ok((Trial::Fault(fault()), PluginState::Failed)),
            Ending::RejectedForGood => Err(rejection()),
            _ => Err(rejection().retryable()),
        };
        let state = tried.as_ref().map_or(PluginState::Rejected, |(_, state)| *state);
        let tried = tried.map(|(trial, _)| trial);
        let outcome = match (content, tried) {
            _ if ending == Ending::Panicked => JobOutcome::Panicked("on purpose".to_owned()),
            (None, tried) => JobOutcome::Tried(tried),
            (Some(_), _) if ending == Ending::Unreadable => {
                JobOutcome::Loaded(Outcome::Unreadable(io::Error::from_raw_os_error(5)))
            }
            (Some(content), _) if is_known => JobOutcome::Loaded(Outcome::AlreadyKnown(hash(content))),
            (Some(content), Ok(trial)) => JobOutcome::Loaded(Outcome::Ready(version(&self.code, content), trial)),
            (Some(content), Err(rejection)) => JobOutcome::Loaded(Outcome::Rejected(hash(content), rejection)),
        };
        (outcome, state)
    }

    fn tick(&mut self) -> Result<(), TestCaseError> {
        let previous = self.ticks.checked_sub(1);
        let tick = Tick { index: self.ticks, previous, since_epoch: Duration::from_secs(self.ticks) };
        self.ticks += 1;
        let is_called = self.supervisor.call(tick, 0, Instant::now()).is_some();
        let is_callable = self.state != PluginState::Disabled && !self.is_paused && self.serving.is_some();
        self.skipped += u64::from(self.is_in_flight);
        prop_assert_eq!(is_called, is_callable && !self.is_in_flight, "{:?}", self.state);
        if is_called {
            prop_assert!(!self.calls.contains(&self.generation), "two calls of one version at a time");
            self.calls.push(self.supervisor.generation());
            self.is_in_flight = true;
        }
        Ok(())
    }

    fn end_call(&mut self, generation: u64, returned: Return, is_late: bool) {
        let (result, state) = match returned {
            Return::Result => (Ok(Collected::default()), PluginState::Up),
            Return::Error(kind, _) => (Err(Failure::Error(call_error(kind))), kind.into()),
            Return::Fault => (Err(Failure::Fault(fault())), PluginState::Failed),
            Return::Disabled => {
                let cause = DisabledCause::Denied;
                let (reason, remedy) = ("is missing a grant".to_owned(), "grant it".to_owned());
                (
                    Err(Failure::Disabled(Disabled { cause, reason, remedy, denied: None, settings: Vec::new() })),
                    PluginState::Disabled,
                )
            }
        };
        self.late += u64::from(is_late && returned == Return::Result);
        self.errors += u64::from(matches!(returned, Return::Error(..)));
        let keeps = match returned {
            Return::Error(_, keeps) => keeps,
            Return::Result | Return::Disabled => Keeps::Instance,
            Return::Fault => Keeps::Nothing,
        };
        if generation == self.generation {
            self.state = state;
            self.is_in_flight = false;
            self.is_paused = keeps == Keeps::Nothing;
        }
        let instance = (keeps == Keeps::Instance).then(|| self.instance());
        let returned = CallResult::new(None, instance, result, Duration::ZERO);
        self.supervisor.handle_result(returned, generation, is_late, self.now);
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let supervisor = &self.supervisor;
        let serving = supervisor.serving().map(|serving| serving.version.hash);
        prop_assert_eq!(serving, self.serving.map(|(content, _)| hash(content)));
        // Without a version, the newest configuration is in effect.
        let config = self.serving.map_or(self.config, |(_, config)| config);
        prop_assert_eq!((number(&supervisor.plugin), number(supervisor.newest())), (config, self.config));
        prop_assert_eq!(supervisor.generation(), self.generation);
        prop_assert_eq!(supervisor.work == Work::None, self.job.is_none());
        prop_assert!(self.job.is_none() || supervisor.reload_at().is_none());
        prop_assert!(self.job.is_some() || !self.is_retried || supervisor.reload_at().is_some(), "nothing is retried");
        match (self.serving, self.job) {
            (Some(_), _) => prop_assert_eq!(supervisor.state(), self.state),
            (None, Some(_)) => prop_assert_eq!(supervisor.state(), PluginState::Loading),
            (None, None) => prop_assert_eq!(supervisor.state(), PluginState::Rejected),
        }
        let counters = &supervisor.plugin.accounts.counters;
        let counts = (counters.skipped.get(), counters.late.get(), counters.errors.get());
        prop_assert_eq!(counts, (self.skipped, self.late, self.errors));
        Ok(())
    }
}

/// The plugin with the configuration of a number.
fn context(number: u64) -> PluginContext {
    static POOL: LazyLock<OffloadPool> = LazyLock::new(|| OffloadPool::start().expect("threads"));
    let config = PluginConfig { config: number.to_string(), ..PluginConfig::default() };
    PluginContext::new("ticks", Arc::new(config), Grants::none(), &POOL)
}

fn number(plugin: &PluginContext) -> u64 {
    plugin.config.config.parse().expect("a number")
}

fn hash(content: u8) -> Hash {
    Hash([content; 32])
}

fn version(code: &Arc<Code>, content: u8) -> Version {
    let (hash, name) = (hash(content), Text::Static("1.0.0"));
    let description = Description::new(&"ticks".into(), name.clone(), "", Arc::default(), []);
    Version { name, description, hash, digits: hash.to_string().into(), code: Arc::clone(code) }
}

fn call_error(kind: CallErrorKind) -> CallError {
    CallError { kind, reason: "is down".to_owned() }
}

fn fault() -> Fault {
    Fault { kind: FaultKind::Trap, message: "on purpose".to_owned() }
}

fn code() -> Arc<Code> {
    let engine = Engine::new(Purpose::Serve).expect("this machine runs guests");
    let (_, artifact) = fixture::compiled("ticks");
    let pool = OffloadPool::start().expect("threads");
    let plugin = PluginContext::new("ticks", Arc::default(), Grants::none(), &pool);
    let loaded = engine.load(&artifact, &plugin.admission()).expect("it was compiled for this engine");
    let Loaded::Artifact(artifact) = loaded else { panic!("a small one") };
    Arc::new(Code::link(&engine, artifact).expect("a plugin"))
}

/// Whatever happens, the supervisor is in the state of the model. Once all that comes passes, the newest content serves with the
/// newest configuration.
#[test]
fn supervisor_follows_its_model() {
    let code = code();
    let events = prop::collection::vec(event(), 1..60);
    let config = ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let checked = runner.run(&events, |events| {
        let mut machine = Machine::new(&code);
        machine.apply(Event::Written(1))?;
        for event in events {
            machine.apply(event)?;
        }
        machine.apply(Event::Reconfigured)?;
        machine.apply(Event::Written(2))?;
        while machine.job.is_some() {
            machine.apply(Event::Finished(Ending::Passed))?;
        }
        prop_assert_eq!(machine.serving, Some((machine.file, machine.config)));
        Ok(())
    });
    checked.expect("the machine follows its model");
}

/// Applies events to a machine that serves.
fn served(events: &[Event]) -> Machine {
    let mut machine = Machine::new(&code());
    for event in [Event::Written(1), Event::Finished(Ending::Passed)].iter().chain(events) {
        machine.apply(*event).expect("the machine follows its model");
    }
    machine
}

#[test]
fn rejected_configuration_is_tried_again_after_a_pause() {
    let machine = served(&[Event::Reconfigured, Event::Finished(Ending::Rejected)]);
    assert!(machine.job.is_none() && machine.supervisor.reload_at().is_some());
    let machine = served(&[
        Event::Reconfigured,
        Event::Finished(Ending::Rejected),
        Event::Paused,
        Event::Finished(Ending::Passed),
    ]);
    assert_eq!((machine.serving, machine.supervisor.reload_at()), (Some((1, 1)), None));
    let machine = served(&[Event::Reconfigured, Event::Finished(Ending::RejectedForGood)]);
    assert_eq!(machine.supervisor.reload_at(), None);
}

#[test]
fn rejected_configuration_is_tried_with_the_next_file() {
    let rejected = [Event::Reconfigured, Event::Finished(Ending::RejectedForGood)];
    let next = [Event::Written(2), Event::Finished(Ending::Passed)];
    assert_eq!(served(&[&rejected[..], &next].concat()).serving, Some((2, 1)));
}

#[test]
fn rewritten_file_tries_a_rejected_configuration_again() {
    let rejected = [Event::Reconfigured, Event::Finished(Ending::RejectedForGood)];
    let rewritten = [Event::Written(1), Event::Finished(Ending::Passed)];
    let machine = served(&[&rejected[..], &rewritten].concat());
    assert_eq!((machine.job, machine.serving), (Some((None, 1)), Some((1, 0))), "the content is known");
    let machine = served(&[&rejected[..], &rewritten, &[Event::Finished(Ending::Passed)]].concat());
    assert_eq!(machine.serving, Some((1, 1)));
}

#[test]
fn rejected_file_is_loaded_again_after_reconfiguration() {
    let machine = served(&[Event::Written(2), Event::Finished(Ending::RejectedForGood), Event::Reconfigured]);
    assert_eq!(machine.job, Some((None, 1)), "first what serves is tried");
    let events = [
        Event::Written(2),
        Event::Finished(Ending::RejectedForGood),
        Event::Reconfigured,
        Event::Finished(Ending::Passed),
        Event::Finished(Ending::Passed),
    ];
    assert_eq!(served(&events).serving, Some((2, 1)));
}

#[test]
fn configuration_error_pauses_before_the_next_start() {
    for kind in [CallErrorKind::Unavailable, CallErrorKind::Failed] {
        let returned =
            |keeps| served(&[Event::Tick, Event::Returned(0, Return::Error(kind, keeps), false), Event::Tick]);
        let [kept, lost] = [Keeps::Instance, Keeps::Nothing].map(returned);
        assert_eq!((kept.calls.len(), lost.calls.len()), (1, 0), "with its instance it is called at each tick");
        assert_eq!(lost.supervisor.faults().total(), 0);
        let tried = served(&[Event::Tick, Event::Returned(0, Return::Disabled, false), Event::Written(2)]);
        let mut tried = tried;
        for event in [Event::Finished(Ending::Error(kind, Keeps::Nothing)), Event::Tick] {
            tried.apply(event).expect("the machine follows its model");
        }
        assert_eq!((tried.serving, tried.calls.len()), (Some((2, 0)), 0));
    }
}

#[test]
fn errors_of_trials_and_replaced_versions_count() {
    let rejected = Event::Finished(Ending::Error(CallErrorKind::Failed, Keeps::Instance));
    let replaced = Event::Returned(0, Return::Error(CallErrorKind::Failed, Keeps::Instance), false);
    let passed = Event::Finished(Ending::Passed);
    let machine = served(&[Event::Tick, Event::Written(2), rejected, Event::Written(3), passed, replaced]);
    assert_eq!((machine.serving, machine.supervisor.plugin.accounts.counters.errors.get()), (Some((3, 0)), 2));
}

#[test]
fn counters_outlast_a_configuration() {
    let fault = Event::Returned(0, Return::Fault, false);
    let machine = served(&[Event::Tick, fault, Event::Reconfigured, Event::Finished(Ending::Passed)]);
    let faults: BTreeMap<&str, u64> =
        machine.supervisor.faults().nonzero().map(|(kind, count)| (kind.name(), count)).collect();
    assert_eq!((machine.serving, faults), (Some((1, 1)), BTreeMap::from([("trap", 1)])));
}
