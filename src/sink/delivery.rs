//! The delivery thread: hands samples to observers, each of which may take its time. A tick never waits for them; an observer
//! that falls behind loses the oldest samples, which are counted.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::queue::Queue;
use crate::sample::Sample;
use crate::thread::hand_over;

/// The capacity of the queue: the samples of ten minutes at the default interval.
const QUEUE_SAMPLES: usize = 60;

type SampleQueue = Queue<Arc<Sample>>;

/// A function that gets each sample.
pub(crate) type Observer = Box<dyn FnMut(&Arc<Sample>) + Send>;

/// The queue in front of the delivery thread.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// None without observers: there is no thread then.
    queue: Option<Arc<SampleQueue>>,
    /// None once the thread has them.
    observers: Option<Observers>,
    /// Completes when the thread has ended.
    ended: oneshot::Receiver<()>,
}

impl Delivery {
    /// A delivery without its thread.
    pub(crate) fn new(observers: Vec<Observer>) -> Self {
        let (end, ended) = oneshot::channel();
        let queue = (!observers.is_empty()).then(|| Arc::new(SampleQueue::new(QUEUE_SAMPLES)));
        let observers = queue.is_some().then_some(Observers { observers, _end: end });
        Self { queue, observers, ended }
    }

    /// Starts the thread, unless it runs or is not needed.
    pub(crate) fn start_thread(&mut self) -> io::Result<()> {
        let Some(queue) = self.queue.clone() else { return Ok(()) };
        hand_over("delivery", &mut self.observers, move |mut observers| {
            while let Some(sample) = queue.take() {
                observers.deliver(&sample);
            }
            queue.close();
        })
    }

    /// Whether there is anything to deliver to.
    pub(crate) fn has_observers(&self) -> bool {
        self.queue.is_some()
    }

    /// Puts in a sample, without waiting.
    pub(crate) fn put(&self, sample: &Arc<Sample>) {
        if let Some(queue) = &self.queue {
            queue.put(Arc::clone(sample));
        }
    }

    #[cfg(test)]
    fn dropped(&self) -> u64 {
        self.queue.as_ref().map_or(0, |queue| queue.dropped())
    }

    /// Waits at most this long for the thread to deliver the remaining samples, and not at all without it. Returns whether
    /// they were delivered.
    pub(crate) async fn end(mut self, patience: Duration) -> bool {
        let Some(queue) = &self.queue else { return true };
        queue.finish();
        if self.observers.is_some() { queue.is_idle() } else { timeout(patience, &mut self.ended).await.is_ok() }
    }
}

/// Ends the thread after the samples that wait, whether or not anybody has awaited that.
impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.finish();
        }
    }
}

/// The observers, and the end of their thread.
struct Observers {
    observers: Vec<Observer>,
    /// Completes with the end of the thread.
    _end: oneshot::Sender<()>,
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observers").field("observers", &self.observers.len()).finish_non_exhaustive()
    }
}

impl Observers {
    /// Calls each observer. One that panics gets no more samples; the others go on.
    fn deliver(&mut self, sample: &Arc<Sample>) {
        self.observers.retain_mut(|observer| {
            let observed = catch_unwind(AssertUnwindSafe(|| observer(sample)));
            if let Err(panic) = &observed {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                tracing::error!(
                    reason = text.unwrap_or_else(|| "a panic without a text".to_owned()),
                    remedy = "report it as a bug of the agent, and restart it",
                    consequence = "this receiver gets no more samples; the others go on",
                    "receiver of samples failed"
                );
            }
            observed.is_ok()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn sample(seconds: u64) -> Arc<Sample> {
        Arc::new(Sample { tick: Duration::from_secs(seconds), ..Sample::default() })
    }

    /// An observer that sends on the seconds of each sample.
    fn observer() -> (Observer, Receiver<u64>) {
        let (sender, seconds) = sync_channel(1000);
        (Box::new(move |sample| sender.send(sample.tick.as_secs()).expect("received")), seconds)
    }

    #[tokio::test]
    async fn observers_get_all_samples_in_order() {
        let ((first, seen), (second, also_seen)) = (observer(), observer());
        let mut delivery = Delivery::new(vec![first, second]);
        delivery.put(&sample(0));
        for _ in 0..2 {
            delivery.start_thread().expect("a thread");
        }
        (1..20).for_each(|seconds| delivery.put(&sample(seconds)));
        assert_eq!(delivery.dropped(), 0);
        assert!(delivery.end(PATIENCE).await);
        let expected: Vec<u64> = (0..20).collect();
        assert_eq!(
            (seen.iter().collect::<Vec<_>>(), also_seen.iter().collect::<Vec<_>>()),
            (expected.clone(), expected)
        );
    }

    #[tokio::test]
    async fn panicking_observer_is_left_out() {
        let (good, seen) = observer();
        let mut calls = 0;
        let bad = move |_: &Arc<Sample>| {
            calls += 1;
            panic!("call {calls} of a test");
        };
        let (last, also_seen) = observer();
        let mut delivery = Delivery::new(vec![good, Box::new(bad), last]);
        delivery.start_thread().expect("a thread");
        (0..3).for_each(|seconds| delivery.put(&sample(seconds)));
        assert!(delivery.end(PATIENCE).await);
        assert_eq!((seen.iter().count(), also_seen.iter().count()), (3, 3));
    }

    #[tokio::test]
    async fn hanging_observer_drops_the_oldest_samples() {
        let (release, wait) = sync_channel::<()>(1);
        let mut delivery = Delivery::new(vec![Box::new(move |_| {
            let _ = wait.recv();
        })]);
        delivery.start_thread().expect("a thread");
        (0..200).for_each(|seconds| delivery.put(&sample(seconds)));
        assert!(delivery.dropped() >= 200 - QUEUE_SAMPLES as u64 - 1);
        assert!(!delivery.end(Duration::from_millis(1)).await);
        drop(release);
    }

    #[tokio::test]
    async fn end_without_the_thread_does_not_wait() {
        let (observer, _seen) = observer();
        let delivery = Delivery::new(vec![observer]);
        delivery.put(&sample(1));
        // For ever, if it waited.
        assert!(!delivery.end(Duration::MAX).await);
    }

    #[tokio::test]
    async fn delivery_without_observers_has_no_thread() {
        let mut delivery = Delivery::new(Vec::new());
        delivery.start_thread().expect("nothing is started");
        (0..200).for_each(|seconds| delivery.put(&sample(seconds)));
        assert!(delivery.dropped() == 0 && !delivery.has_observers());
        assert!(delivery.end(Duration::MAX).await);
    }
}
