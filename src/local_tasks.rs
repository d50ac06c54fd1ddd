//! Tasks that another thread runs, and that stay there: what they are made of is sent, and they are made on that thread.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How many tasks may wait for the thread to take them: those of all sinks, and of as many that a reload has made.
const TASKS: usize = 64;

/// The way of tasks to a thread, and the thread's end of it.
pub(crate) fn local_tasks() -> (LocalTasks, LocalTaskReceiver) {
    let (sender, receiver) = mpsc::channel(TASKS);
    (LocalTasks(sender), LocalTaskReceiver(receiver))
}

/// A task for the thread: it is made there.
type LocalTask = Box<dyn FnOnce() -> LocalFuture + Send>;

/// A task that stays on the thread.
pub(crate) type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// The way of tasks to the thread. It ends after the last of these is dropped, and the last task.
#[derive(Clone)]
pub(crate) struct LocalTasks(mpsc::Sender<LocalTask>);

impl fmt::Debug for LocalTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalTasks")
    }
}

impl LocalTasks {
    /// Gives the thread a task that is made of a state. The state stays where it is if that fails; where there is none, the thread has it
    /// already. Whether the thread runs makes no difference.
    ///
    /// # Errors
    ///
    /// When it has not taken many others yet.
    pub(crate) fn hand_over<T: Send + 'static>(
        &self,
        state: &mut Option<T>,
        run: impl FnOnce(T) -> LocalFuture + Send + 'static,
    ) -> io::Result<()> {
        if state.is_none() {
            return Ok(());
        }
        let place = self.0.try_reserve().map_err(|_| io::Error::other("its thread does not respond"))?;
        if let Some(state) = state.take() {
            place.send(Box::new(move || run(state)));
        }
        Ok(())
    }
}

/// The thread's end of the way of tasks.
pub(crate) struct LocalTaskReceiver(mpsc::Receiver<LocalTask>);

impl fmt::Debug for LocalTaskReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalTaskReceiver")
    }
}

impl LocalTaskReceiver {
    /// Runs tasks until nobody sends any more and the last one has ended.
    pub(crate) async fn run(mut self) {
        let mut tasks = JoinSet::new();
        let mut is_open = true;
        while is_open || !tasks.is_empty() {
            tokio::select! {
                biased;
                task = self.0.recv(), if is_open => match task {
                    Some(task) => drop(tasks.spawn_local(task())),
                    None => is_open = false,
                },
                Some(_ended) = tasks.join_next() => {}
            }
        }
    }
}
