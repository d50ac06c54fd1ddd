//! Reloads the configuration: reads it on a thread of its own, prepares what changed, and hands it to the main loop, which
//! commits it in one step between two ticks.
//!
//! ```text
//!         requested            read           addresses open          plugins tried          committed
//!  Idle ────────────▶ Reading ──────▶ Listening ──────────────▶ Preparing ─────────────▶ Ready ──────────▶ Idle
//!    ▲                   │ invalid: logged, nothing changes
//!    └───────────────────┘
//! ```
//!
//! Any number of requests while one is carried out are one more after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub use super::reading::ConfigLoader;
use super::reading::{Loaded, Reading};
use super::reload::{Change, Difference, keys};
use crate::clock::schedule::wall_clock;
use crate::clock::sleep::sleep_until;
use crate::clock::wall_timer::WallTimer;
use crate::config::{Config, Problem};
use crate::delivery::Delivery;
use crate::plugin::Plugins;
use crate::sink::{PreparedSink, SinkError};
use crate::{status, thread};

/// How long the plugins have to be tried with their new tables: one that takes the longest timeout, twice. The others are
/// tried at the same time. What is not tried by then is tried after the commit.
const PREPARATION: Duration = Duration::from_secs(2 * 60 + 5);

/// How many reading threads may be given up: each stays until its file system responds.
const MAX_ABANDONED: usize = 8;

/// How long the delivery thread may take to open addresses: it may have to look whether somebody listens at a unix socket.
const OPENING: Duration = Duration::from_secs(10);

/// When the guest thread, which had no room for a command, is asked again, and a round that is open is looked at again.
const RETRY: Duration = Duration::from_millis(20);

/// The result of the last reload, for metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReloadFacts {
    /// Whether the whole configuration is in effect.
    pub(super) is_successful: bool,
    /// When the configuration came into effect, since the Unix epoch.
    pub(super) time: Duration,
    pub(super) hash: u64,
}

impl ReloadFacts {
    /// The facts about the configuration that the agent starts with.
    pub(super) fn at_start(config: &Config) -> Self {
        Self { is_successful: true, time: wall_clock(), hash: config.hash() }
    }
}

/// What the main loop has to put into effect between two ticks.
pub(super) struct Commit {
    pub(super) config: Arc<Config>,
    pub(super) difference: Difference,
    /// The timer for another interval.
    pub(super) timer: Option<WallTimer>,
    /// The sinks that are new, or write to something else.
    pub(super) sinks: BTreeMap<String, PreparedSink>,
    /// The parts that could not be prepared, besides those of the difference.
    refused: Vec<Refused>,
}

/// A part of the configuration that could not be prepared.
struct Refused {
    key: String,
    /// Reason and remedy; none where the part itself shows them.
    why: Option<(String, String)>,
}

impl Refused {
    /// A part that has a problem of its own.
    fn shown(key: String) -> Self {
        Self { key, why: None }
    }

    fn problem(&self, now: Duration) -> status::Problem {
        match &self.why {
            Some((reason, remedy)) => reload_problem(&format!("{} was refused: {reason}", self.key), remedy, now),
            None => reload_problem(&format!("{} was refused", self.key), "see its own problem", now),
        }
    }
}

/// The reload that is under way.
enum Stage {
    Idle,
    /// The thread reads the configuration and opens files.
    Reading(Reading),
    Read(Box<Loaded>),
    /// The addresses of the HTTP server are being opened, until this moment at the latest.
    Listening(Box<Followed>, oneshot::Receiver<Result<(), String>>, Instant),
    Listened(Box<Followed>, Result<(), String>),
    /// The plugins that change are being tried, until this moment at the latest.
    Preparing(Box<Commit>, Preparation, Instant),
    Ready(Box<Commit>),
}

/// The changes that are followed, and the sinks that were opened for them.
struct Followed {
    difference: Difference,
    sinks: BTreeMap<String, Result<PreparedSink, SinkError>>,
}

/// The trials of the plugins that change.
enum Preparation {
    /// The guest thread has no room for the command.
    Unsent,
    /// The reply has the plugins that were rejected.
    Sent(oneshot::Receiver<Vec<String>>),
    /// The plugins that were rejected; none when there was no reply in time.
    Done(Option<Vec<String>>),
}

/// Reloads the configuration.
pub(super) struct Reloader {
    load: ConfigLoader,
    /// The configuration in effect.
    config: Arc<Config>,
    stage: Stage,
    /// Whether another reload was requested meanwhile.
    is_requested: bool,
    /// How many threads were given up since their file system does not respond.
    abandoned: usize,
    /// The keys of the plugins whose tables were refused the last time: they are tried again, even if they are the same.
    refused_plugins: BTreeSet<String>,
    pub(super) facts: ReloadFacts,
    /// Why the configuration that was read last is not in effect, or not all of it.
    pub(super) problems: Arc<[status::Problem]>,
}

impl Reloader {
    pub(super) fn new(load: ConfigLoader, config: &Config) -> Self {
        let facts = ReloadFacts::at_start(config);
        Self {
            load,
            config: Arc::new(config.clone()),
            stage: Stage::Idle,
            is_requested: false,
            abandoned: 0,
            refused_plugins: BTreeSet::new(),
            facts,
            problems: Arc::default(),
        }
    }

    /// Whether a reload is under way.
    pub(super) fn is_active(&self) -> bool {
        !matches!(self.stage, Stage::Idle)
    }

    /// Requests a reload. It begins at once, or after the one that is under way.
    pub(super) fn request(&mut self) {
        self.is_requested = true;
        if let Stage::Reading(reading) = &self.stage
            && reading.is_hanging()
            && self.abandoned < MAX_ABANDONED
        {
            // The configuration may have changed, and not name that file any more.
            self.abandoned += 1;
            self.stage = Stage::Idle;
        }
        if self.is_active() {
            tracing::info!("reload requested while another one is carried out");
        }
        self.begin();
    }

    fn begin(&mut self) {
        if !self.is_requested || !matches!(self.stage, Stage::Idle) {
            return;
        }
        self.is_requested = false;
        tracing::info!("reloading configuration");
        match Reading::start(&self.load, &self.config) {
            Ok(reading) => self.stage = Stage::Reading(reading),
            Err(error) => {
                let (reason, remedy) = (error.to_string(), thread::remedy(&error));
                tracing::warn!(reason, remedy, consequence = UNCHANGED, "configuration not reloaded");
                self.fail([reload_problem(&reason, remedy, wall_clock())]);
            }
        }
    }

    /// Waits until there is something to [`advance`](Self::advance); for ever when no reload is under way.
    /// Cancellation safe.
    pub(super) async fn wait(&mut self) {
        match &mut self.stage {
            Stage::Idle => std::future::pending().await,
            Stage::Read(_) | Stage::Listened(..) | Stage::Preparing(_, Preparation::Done(_), _) => {}
            Stage::Listening(_, opened, until) => {
                let silent = || "the delivery thread does not respond; restart the agent, and report this".to_owned();
                let opened = tokio::select! {
                    opened = opened => opened.unwrap_or_else(|_| Err(silent())),
                    () = sleep_until(Some(*until)) => Err(silent()),
                };
                if let Stage::Listening(followed, ..) = std::mem::replace(&mut self.stage, Stage::Idle) {
                    self.stage = Stage::Listened(followed, opened);
                }
            }
            Stage::Reading(reading) => {
                if let Some(loaded) = reading.wait().await {
                    self.stage = Stage::Read(Box::new(loaded));
                    return;
                }
                let (reason, remedy) = reading.report_late();
                let consequence = "the configuration before stays in effect until it responds";
                tracing::warn!(reason, remedy, consequence, "configuration not reloaded");
                self.fail([reload_problem(&reason, remedy, wall_clock())]);
            }
            Stage::Preparing(_, Preparation::Unsent, _) | Stage::Ready(_) => tokio::time::sleep(RETRY).await,
            Stage::Preparing(_, preparation @ Preparation::Sent(_), until) => {
                let Preparation::Sent(reply) = preparation else { return };
                let rejected = tokio::select! {
                    // A guest thread that hangs sends none.
                    rejected = reply => rejected.ok(),
                    () = sleep_until(Some(*until)) => None,
                };
                *preparation = Preparation::Done(rejected);
            }
        }
    }

    /// Goes on with what was awaited. A guest thread that has ended is replaced: the next tick may be far.
    pub(super) fn advance(&mut self, config: &Arc<Config>, plugins: &mut Plugins, delivery: &mut Delivery) {
        plugins.check();
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Read(loaded) => match *loaded {
                Ok(new) => {
                    let difference = Difference::between(config, &new.config);
                    self.listen(Followed { difference, sinks: new.sinks }, config, plugins, delivery);
                }
                Err(problems) => {
                    report(&problems);
                    self.fail(problems.iter().map(problem));
                    self.begin();
                }
            },
            Stage::Listened(followed, opened) => self.prepare(*followed, opened, config, plugins),
            Stage::Preparing(commit, Preparation::Unsent, until) if Instant::now() < until => {
                self.try_plugins(commit, until, plugins);
            }
            Stage::Preparing(commit, Preparation::Unsent, _) => self.finish_preparation(commit, None),
            Stage::Preparing(commit, Preparation::Done(rejected), _) => self.finish_preparation(commit, rejected),
            stage => self.stage = stage,
        }
    }

    /// Records that a configuration is not in effect.
    fn fail(&mut self, problems: impl IntoIterator<Item = status::Problem>) {
        self.facts.is_successful = false;
        self.problems = problems.into_iter().collect();
    }

    /// Notes the plugins that were rejected, or that none was tried.
    fn finish_preparation(&mut self, mut commit: Box<Commit>, rejected: Option<Vec<String>>) {
        let key = |plugin: &str| format!("plugins.{plugin}");
        if let Some(rejected) = rejected {
            commit.refused.extend(rejected.iter().map(|plugin| Refused::shown(key(plugin))));
        } else {
            let mut untried = self.refused_plugins.clone();
            untried.extend(commit.difference.followed.iter().filter_map(Change::plugin).map(key));
            untried.retain(|untried| commit.config.plugins.keys().any(|plugin| key(plugin) == *untried));
            let plugins = untried.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let reason = "the guest thread did not respond";
            let remedy = "see its own lines; it tries them once it responds";
            tracing::warn!(plugins, reason, remedy, "plugins not tried with their new tables");
            commit.refused.extend(untried.into_iter().map(Refused::shown));
        }
        self.stage = Stage::Ready(commit);
    }

    /// Opens the addresses of the HTTP server, if it changes.
    fn listen(&mut self, followed: Followed, config: &Config, plugins: &Plugins, delivery: &mut Delivery) {
        let http = followed.difference.followed.iter().find_map(|change| match change {
            Change::Http(http) => http.as_ref(),
            _ => None,
        });
        match http.map(|http| delivery.prepare(http)) {
            None => self.prepare(followed, Ok(()), config, plugins),
            Some(Err(why)) => self.prepare(followed, Err(why), config, plugins),
            Some(Ok(opened)) => {
                self.stage = Stage::Listening(Box::new(followed), opened, Instant::now() + OPENING);
            }
        }
    }

    /// Prepares what else can fail: a timer, and the trials of the plugins that change. If a sink or an address of the HTTP server
    /// could not be opened, all outputs stay as they are: one may be meant to take the place of another.
    fn prepare(&mut self, followed: Followed, opened: Result<(), String>, config: &Config, plugins: &Plugins) {
        let Followed { mut difference, sinks: opened_sinks } = followed;
        let (mut timer, mut refused, mut sinks) = (None, Vec::new(), BTreeMap::new());
        if let Err(why) = opened {
            let (reason, remedy) = why.rsplit_once("; ").unwrap_or((&why, ""));
            tracing::warn!(reason, remedy, consequence = SAME_OUTPUTS, "HTTP server not changed");
            refused.push(Refused { key: "http".to_owned(), why: Some((reason.to_owned(), remedy.to_owned())) });
        }
        for (name, opened) in opened_sinks {
            match opened {
                Ok(prepared) => drop(sinks.insert(name, prepared)),
                Err(SinkError { text, remedy, .. }) => {
                    tracing::warn!(
                        sink = name,
                        reason = text,
                        remedy,
                        consequence = SAME_OUTPUTS,
                        "sink configuration rejected"
                    );
                    refused.push(Refused { key: format!("sinks.{name}"), why: Some((text, remedy.to_owned())) });
                }
            }
        }
        if !refused.is_empty() {
            sinks.clear();
            difference.followed.retain(|change| {
                let is_output = matches!(change, Change::Sink(..) | Change::Http(_));
                let key = change.to_string();
                if is_output && refused.iter().all(|refused| refused.key != key) {
                    let reason = "another output could not be opened".to_owned();
                    refused.push(Refused { key, why: Some((reason, "correct that one".to_owned())) });
                }
                !is_output
            });
        }
        difference.followed.retain(|change| {
            let Change::Interval(interval) = change else { return true };
            let prepared = WallTimer::new(*interval);
            refused.extend(prepared.as_ref().err().map(|error| Refused {
                key: change.to_string(),
                why: Some((error.to_string(), "leave the agent more open files, and reload it again".to_owned())),
            }));
            timer = prepared.ok();
            timer.is_some()
        });
        let changes_plugins = difference.followed.iter().any(|change| change.plugin().is_some());
        let config = Arc::new(difference.apply(config.clone()));
        let commit = Box::new(Commit { config, difference, timer, sinks, refused });
        if changes_plugins || !self.refused_plugins.is_empty() {
            self.try_plugins(commit, Instant::now() + PREPARATION, plugins);
        } else {
            self.stage = Stage::Ready(commit);
        }
    }

    fn try_plugins(&mut self, commit: Box<Commit>, until: Instant, plugins: &Plugins) {
        let preparation = plugins.prepare(Arc::clone(&commit.config)).map_or(Preparation::Unsent, Preparation::Sent);
        self.stage = Stage::Preparing(commit, preparation, until);
    }

    /// Takes what is ready to be put into effect.
    pub(super) fn take_ready(&mut self) -> Option<Box<Commit>> {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Ready(commit) => Some(commit),
            stage => {
                self.stage = stage;
                None
            }
        }
    }

    /// Puts back what cannot be put into effect yet.
    pub(super) fn put_back(&mut self, commit: Box<Commit>) {
        self.stage = Stage::Ready(commit);
    }

    /// Records that the configuration is in effect, reports it, and begins the reload that was requested meanwhile.
    pub(super) fn record(&mut self, commit: &Commit) {
        let Commit { config, difference, refused, .. } = commit;
        self.config = Arc::clone(config);
        let refused_keys: Vec<&str> = refused.iter().map(|refused| &*refused.key).collect();
        let is_plugin = |key: &&&str| key.starts_with("plugins.");
        self.refused_plugins = refused_keys.iter().filter(is_plugin).map(|key| (*key).to_owned()).collect();
        let needs_restart = keys(&difference.refused);
        self.facts = ReloadFacts {
            is_successful: refused.is_empty() && needs_restart.is_empty(),
            time: wall_clock(),
            hash: config.hash(),
        };
        let now = wall_clock();
        let restart = (!needs_restart.is_empty()).then(|| format!("changes of {needs_restart} are not in effect"));
        let restart = restart.map(|reason| reload_problem(&reason, "restart the agent", now));
        self.problems = restart.into_iter().chain(refused.iter().map(|refused| refused.problem(now))).collect();
        let is_followed = |change: &&Change| !refused_keys.contains(&&*change.to_string());
        let followed = difference.followed.iter().filter(is_followed).cloned();
        let followed: Vec<Change> = followed.collect();
        let changed = if followed.is_empty() { "nothing".to_owned() } else { keys(&followed) };
        if !needs_restart.is_empty() {
            let remedy = "restart the agent";
            tracing::warn!(keys = needs_restart, remedy, "changes need a restart");
        }
        if refused.is_empty() {
            tracing::info!(changed, "configuration reloaded");
        } else {
            let remedy = "see their own lines, correct them, and reload again";
            tracing::warn!(changed, refused = refused_keys.join(", "), remedy, "configuration reloaded in part");
        }
        self.begin();
    }
}

fn reload_problem(reason: &str, remedy: &str, now: Duration) -> status::Problem {
    status::Problem::new(status::ProblemKind::Configuration, reason, remedy).wrong_if(true).since([], now)
}

/// An error of the configuration, as the status shows it.
fn problem(problem: &Problem) -> status::Problem {
    let text = problem.to_string();
    let (reason, remedy) = text.rsplit_once("; ").unwrap_or((&text, ""));
    reload_problem(reason, remedy, wall_clock())
}

/// The consequence of an output that could not be opened.
const SAME_OUTPUTS: &str = "all outputs stay as they are";

/// The consequence of a reload that failed.
const UNCHANGED: &str = "the configuration before stays in effect";

/// Reports the errors of a configuration that is not put into effect.
fn report(problems: &[Problem]) {
    for Problem { file, line, key, message } in problems {
        let (reason, remedy) = message.rsplit_once("; ").map_or((&**message, None), |(why, help)| (why, Some(help)));
        let (file, key) = (file.display().to_string(), Some(key).filter(|key| !key.is_empty()));
        tracing::warn!(file, line, key, reason, remedy, consequence = UNCHANGED, "configuration not reloaded");
    }
    if problems.is_empty() {
        let reason = "it could not be read";
        tracing::warn!(reason, remedy = "report this", consequence = UNCHANGED, "configuration not reloaded");
    }
}
