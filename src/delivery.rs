//! The delivery thread: everything that talks to peers over the network, with a runtime of its own: the HTTP server, and a task for each
//! network sink. The tick thread sends it a configuration now and then, and never waits for it. At a tick only the tasks of sinks are
//! woken.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::clock::schedule::wall_clock;
use crate::config::{Config, HttpConfig, ListenAddress};
use crate::http::{self, Controls, Preparation, Statistics};
use crate::local_tasks::{LocalTaskReceiver, LocalTasks, local_tasks};
use crate::push::Inlet;
use crate::status::{AddressStatus, Problem, ProblemKind, Slot};
use crate::thread::{hand_over, remedy};

/// How many preparations may wait: there is one reload at a time.
const PREPARATIONS: usize = 1;

/// How long the pause is when the host cannot give the thread what it needs.
const RETRY: Duration = Duration::from_secs(10);

/// How many threads may wait for names to be resolved. Each task resolves one at a time.
const BLOCKING_THREADS: usize = 16;

/// How long such a thread waits for the next name.
const BLOCKING_IDLE: Duration = Duration::from_secs(2);

/// The thread, as the tick thread has it.
#[derive(Debug)]
pub(crate) struct Delivery {
    config: watch::Sender<Arc<Config>>,
    preparations: mpsc::Sender<Preparation>,
    tasks: LocalTasks,
    statistics: Arc<Statistics>,
    /// None once the thread has it.
    job: Option<Job>,
    /// Dropped to end the thread.
    running: Option<oneshot::Sender<()>>,
    started: oneshot::Receiver<()>,
    /// Completes when the thread has ended.
    ended: oneshot::Receiver<()>,
}

/// The thread's end of that.
#[derive(Debug)]
struct Job {
    controls: Controls,
    tasks: LocalTaskReceiver,
    /// Dropped with the job.
    _ended: oneshot::Sender<()>,
}

impl Delivery {
    /// A delivery without its thread.
    pub(crate) fn new(config: &Arc<Config>, slot: &Arc<Slot>, inlet: &Arc<Inlet>) -> Self {
        let statistics = Arc::<Statistics>::default();
        show_unopened(slot, config);
        let (config, new_config) = watch::channel(Arc::clone(config));
        let (preparations, prepared) = mpsc::channel(PREPARATIONS);
        let (tasks, sent) = local_tasks();
        let ((running, is_running), (start, started)) = (oneshot::channel(), oneshot::channel());
        let (end, ended) = oneshot::channel();
        let controls = Controls {
            slot: Arc::clone(slot),
            statistics: Arc::clone(&statistics),
            inlet: Arc::clone(inlet),
            config: new_config,
            preparations: prepared,
            running: is_running,
            started: start,
        };
        let job = Some(Job { controls, tasks: sent, _ended: end });
        Self { config, preparations, tasks, statistics, job, running: Some(running), started, ended }
    }

    /// The way of tasks to the thread.
    pub(crate) fn tasks(&self) -> &LocalTasks {
        &self.tasks
    }

    /// Whether anybody can ask the thread for a sample.
    pub(crate) fn serves(&self) -> bool {
        self.config.borrow().http.is_some()
    }

    /// Whether there is anything to do for the thread.
    fn is_needed(&self) -> bool {
        let config = self.config.borrow();
        config.http.is_some() || config.has_network_sinks()
    }

    /// Whether its thread has to be started.
    pub(crate) fn is_waiting(&self) -> bool {
        self.job.is_some() && self.is_needed()
    }

    /// Starts the thread, unless it runs.
    pub(crate) fn start_thread(&mut self) -> io::Result<()> {
        hand_over("delivery", &mut self.job, Job::run)
    }

    /// Waits at most this long until the addresses are open, as far as they can be had.
    pub(crate) async fn started(&mut self, patience: Duration) {
        if self.job.is_none() {
            let _ = timeout(patience, &mut self.started).await;
        }
    }

    /// The numbers of the server; none without it.
    pub(crate) fn statistics(&self) -> Option<&Statistics> {
        self.serves().then_some(&*self.statistics)
    }

    /// Opens the addresses of another configuration. The reply has why they cannot be had.
    ///
    /// # Errors
    ///
    /// Reason and remedy when there is no thread for that.
    pub(crate) fn prepare(&mut self, http: &Arc<HttpConfig>) -> Result<oneshot::Receiver<Result<(), String>>, String> {
        self.start_thread().map_err(|error| format!("{error}; {}", remedy(&error)))?;
        let (reply, prepared) = oneshot::channel();
        let preparation = Preparation { http: Arc::clone(http), reply };
        let sent = self.preparations.try_send(preparation);
        sent.map_err(|_| "the delivery thread does not respond; restart the agent, and report this".to_owned())?;
        Ok(prepared)
    }

    /// Puts a configuration into effect.
    pub(crate) fn reconfigure(&self, config: &Arc<Config>) {
        if let Some(job) = &self.job {
            show_unopened(&job.controls.slot, config);
        }
        self.config.send_replace(Arc::clone(config));
    }

    /// Ends the thread, and waits at most this long until its peers have got their answers and its sockets are removed.
    pub(crate) async fn end(self, patience: Duration) {
        let Self { running, job, tasks, ended, .. } = self;
        drop((running, job, tasks));
        // Peers that take longer end with the process.
        let _ = timeout(patience, ended).await;
    }
}

impl Job {
    fn run(mut self) {
        let mut is_reported = false;
        let runtime = loop {
            let mut builder = Builder::new_current_thread();
            builder.enable_all().max_blocking_threads(BLOCKING_THREADS).thread_keep_alive(BLOCKING_IDLE);
            // With a `LocalSet` each event of a socket or timer would wake the thread twice.
            match builder.build_local(LocalOptions::default()) {
                Ok(runtime) => break runtime,
                Err(error) => {
                    if !std::mem::replace(&mut is_reported, true) {
                        let reason = error.to_string();
                        let remedy = "leave the agent more memory or open files";
                        let consequence =
                            "nothing is sent, and nobody is answered over HTTP; it is tried again every 10 s";
                        tracing::warn!(reason, remedy, consequence, "delivery thread without a runtime");
                    }
                    std::thread::sleep(RETRY);
                    if self.controls.running.try_recv() == Err(oneshot::error::TryRecvError::Closed) {
                        return;
                    }
                }
            }
        };
        let Self { controls, tasks, _ended } = self;
        runtime.block_on(async { tokio::join!(http::run(controls), tasks.run()) });
        runtime.shutdown_background();
    }
}

/// Shows the addresses of a server that does not run, until its thread shows better.
fn show_unopened(slot: &Slot, config: &Config) {
    let status = |address: &ListenAddress| {
        let problem = Problem::new(ProblemKind::Address, "the HTTP server does not run yet", "see the agent's log");
        let problem = Some(problem.wrong_if(true).since([], wall_clock()));
        AddressStatus { address: address.to_string(), is_open: false, problem }
    };
    slot.addresses().set(config.http.iter().flat_map(|http| &http.listen).map(status).collect());
}
