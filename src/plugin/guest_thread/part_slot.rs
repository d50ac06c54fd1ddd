//! The place where a guest thread leaves the plugins' part of a sample for the tick thread. Neither waits for the other; a newer
//! part replaces an older one, which cannot happen as long as one round is open at most.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Instant;

use tokio::sync::Notify;

use crate::plugin::guest_thread::round::Part;

/// The tick thread's side.
pub(crate) struct PartReceiver(Arc<PartSlot>);

/// The guest thread's side. When it is dropped, no further part comes.
pub(crate) struct PartSender(Arc<PartSlot>);

struct PartSlot {
    /// Behind a lock because two threads use it; it is held for a move.
    state: Mutex<SlotState>,
    /// The tick thread.
    receiver: Thread,
    changed: Notify,
}

#[derive(Default)]
struct SlotState {
    part: Option<Box<Part>>,
    has_ended: bool,
}

/// Both sides of a slot. The calling thread is the one that receives.
pub(crate) fn part_slot() -> (PartSender, PartReceiver) {
    let slot = Arc::new(PartSlot { state: Mutex::default(), receiver: thread::current(), changed: Notify::new() });
    (PartSender(Arc::clone(&slot)), PartReceiver(slot))
}

impl PartSlot {
    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.receiver.unpark();
        self.changed.notify_one();
    }
}

impl PartSender {
    /// Leaves a part.
    pub(crate) fn put(&self, part: Box<Part>) {
        let older = self.0.lock().part.replace(part);
        self.0.wake();
        drop(older);
    }
}

impl Drop for PartSender {
    fn drop(&mut self) {
        self.0.lock().has_ended = true;
        self.0.wake();
    }
}

impl PartReceiver {
    /// The part that was left, if one was.
    pub(crate) fn try_take(&self) -> Option<Box<Part>> {
        self.0.lock().part.take()
    }

    /// Blocks the thread until a part is left, no longer than until a moment that is near: a thread that sleeps is woken sooner
    /// than one that waits for everything, and at a lower price.
    pub(crate) fn take_by(&self, until: Instant) -> Option<Box<Part>> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let part = self.try_take();
            if part.is_some() || left.is_zero() {
                return part;
            }
            thread::park_timeout(left);
        }
    }

    /// Waits for a part. None when no further one comes. Cancellation safe.
    pub(crate) async fn take(&self) -> Option<Box<Part>> {
        loop {
            {
                let mut state = self.0.lock();
                if state.part.is_some() || state.has_ended {
                    return state.part.take();
                }
            }
            self.0.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn part(tick: u64) -> Box<Part> {
        Box::new(Part { tick: Duration::from_secs(tick), ..Part::default() })
    }

    fn tick(part: Option<Box<Part>>) -> Option<u64> {
        part.map(|part| part.tick.as_secs())
    }

    #[tokio::test]
    async fn parts_arrive_however_they_are_awaited() {
        let (sender, receiver) = part_slot();
        assert_eq!(tick(receiver.try_take()), None);
        sender.put(part(1));
        assert_eq!(tick(receiver.try_take()), Some(1));
        sender.put(part(2));
        sender.put(part(3));
        assert_eq!(tick(receiver.take().await), Some(3), "it replaces the older one");
        let thread = thread::spawn(move || {
            sender.put(part(4));
            sender
        });
        assert_eq!(tick(receiver.take_by(Instant::now() + Duration::from_secs(60))), Some(4));
        let sender = thread.join().expect("no panic");
        assert_eq!(tick(receiver.take_by(Instant::now())), None, "none comes in time");
        let thread = thread::spawn(move || drop(sender));
        assert_eq!(tick(receiver.take().await), None, "the sender is gone");
        thread.join().expect("no panic");
    }
}
