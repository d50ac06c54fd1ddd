//! The connections of all addresses: how many there may be, and which has to make room when there are too many. A new peer is
//! never refused for that: its connection waits until there is room.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::activity::{Activity, Phase};
use super::limits::{CONNECTIONS, TENURE};
use super::statistics::{Rejection, Statistics};

/// The connections that are open.
#[derive(Debug)]
pub(super) struct Connections {
    permits: Arc<Semaphore>,
    open: RefCell<Vec<Rc<Activity>>>,
    statistics: Arc<Statistics>,
}

/// The place of one connection. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) activity: Rc<Activity>,
    connections: Rc<Connections>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(statistics: &Arc<Statistics>) -> Rc<Self> {
        Rc::new(Self {
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
            open: RefCell::default(),
            statistics: Arc::clone(statistics),
        })
    }

    /// Waits until there is room for another connection. Those that have kept a place for the longest make room for it.
    pub(super) async fn admit(self: &Rc<Self>, phase: Phase) -> Admission {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                break permit;
            }
            self.displace_oldest();
            // It is not closed. All may be too young to make room.
            if let Ok(Ok(permit)) = timeout(TENURE, Arc::clone(&self.permits).acquire_owned()).await {
                break permit;
            }
        };
        let activity = Rc::new(Activity::new(phase, Instant::now()));
        self.open.borrow_mut().push(Rc::clone(&activity));
        self.statistics.connections.fetch_add(1, Ordering::Relaxed);
        Admission { activity, connections: Rc::clone(self), _permit: permit }
    }

    /// Ends the connection that has been in its phase for the longest.
    pub(super) fn displace_oldest(&self) {
        let now = Instant::now();
        let open = self.open.borrow();
        let oldest = open.iter().filter_map(|activity| Some((activity.displaceable_since(now)?, activity)));
        if let Some((_, activity)) = oldest.min_by_key(|(since, _)| *since) {
            activity.displace();
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// Counts the end of a connection that made room for another one.
    pub(super) fn count_displaced(&self) {
        self.statistics.reject(Rejection::Displaced);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut open = self.connections.open.borrow_mut();
        if let Some(at) = open.iter().position(|activity| Rc::ptr_eq(activity, &self.activity)) {
            open.swap_remove(at);
        }
        self.connections.statistics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn oldest_makes_room_for_the_next() {
        let statistics = Arc::<Statistics>::default();
        let connections = Connections::new(&statistics);
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS {
            open.push(connections.admit(Phase::First).await);
        }
        open[0].activity.enter(Phase::Stream, Instant::now());
        open[1].activity.enter(Phase::Idle, Instant::now());
        assert!(connections.permits.try_acquire().is_err());
        connections.displace_oldest();
        let displaced: Vec<usize> = (0..CONNECTIONS).filter(|&at| open[at].activity.is_displaced()).collect();
        assert_eq!(displaced, [1], "the others are too young");
        drop(open.remove(1));
        let next = connections.admit(Phase::First).await;
        assert!(!next.activity.is_displaced());
        assert_eq!(connections.open.borrow().len(), CONNECTIONS);
    }
}
