//! The connections of all addresses: how many there may be, and which has to make room when there are too many. A new peer is
//! never refused for that: its connection waits until there is room.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::activity::{Activity, Phase};
use super::limits::{CONNECTIONS, CONNECTIONS_OF_A_PEER, DESCRIPTOR_SHARE, TENURE};
use super::statistics::{Rejection, Statistics};

/// The connections that are open.
#[derive(Debug)]
pub(super) struct Connections {
    permits: Arc<Semaphore>,
    open: RefCell<Vec<(Origin, Rc<Activity>)>>,
    statistics: Arc<Statistics>,
}

/// Where connections come from: those of one origin make room for those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// Local programs.
    Unix,
    /// A host, or a network of IPv6, in which a host has as many addresses as it likes.
    Tcp(IpAddr),
}

impl Origin {
    pub(super) fn tcp(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self::Tcp(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
            address @ IpAddr::V4(_) => Self::Tcp(address),
        }
    }
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
            permits: Arc::new(Semaphore::new(places(getrlimit(Resource::Nofile).current))),
            open: RefCell::default(),
            statistics: Arc::clone(statistics),
        })
    }

    /// Waits until there is room for another connection, for which an older one ends.
    pub(super) async fn admit(self: &Rc<Self>, phase: Phase, origin: Origin) -> Admission {
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
        self.open.borrow_mut().push((origin, Rc::clone(&activity)));
        self.statistics.connections.fetch_add(1, Ordering::Relaxed);
        Admission { activity, connections: Rc::clone(self), _permit: permit }
    }

    /// Ends the connection that has been in its phase for the longest; where an origin has many, it is one of that with the most. All
    /// of these may be too young for that: then the others keep their places nevertheless.
    pub(super) fn displace_oldest(&self) {
        let now = Instant::now();
        let open = self.open.borrow();
        let movable = || open.iter().filter(|(_, activity)| activity.is_movable());
        let mut counts = HashMap::new();
        for (origin, _) in movable() {
            counts.entry(*origin).and_modify(|count| *count += 1).or_insert(1_usize);
        }
        let most = counts.values().max().filter(|most| **most > CONNECTIONS_OF_A_PEER);
        let candidates = movable().filter(|(origin, _)| most.is_none() || counts.get(origin) == most);
        let oldest = candidates.filter_map(|(_, activity)| Some((activity.displaceable_since(now)?, activity)));
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

/// How many connections there may be where the agent may open so many files.
fn places(descriptors: Option<u64>) -> usize {
    let share = descriptors.unwrap_or(u64::MAX) / DESCRIPTOR_SHARE;
    usize::try_from(share).unwrap_or(usize::MAX).clamp(1, CONNECTIONS)
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut open = self.connections.open.borrow_mut();
        if let Some(at) = open.iter().position(|(_, activity)| Rc::ptr_eq(activity, &self.activity)) {
            open.swap_remove(at);
        }
        self.connections.statistics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_a_share_of_the_files() {
        let places: Vec<usize> = [None, Some(1 << 20), Some(512), Some(120), Some(1)].map(places).into();
        assert_eq!(places, [CONNECTIONS, CONNECTIONS, CONNECTIONS, 30, 1]);
    }

    #[test]
    fn host_is_one_origin() {
        let origin = |address: &str| Origin::tcp(address.parse().expect("an address"));
        assert_eq!(origin("::ffff:10.0.0.1"), origin("10.0.0.1"));
        assert_ne!(origin("10.0.0.2"), origin("10.0.0.1"));
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:0:0:1"));
        assert_ne!(origin("2001:db8:0:1::1"), origin("2001:db8::1"));
    }

    #[tokio::test]
    async fn crowded_origin_makes_room_first() {
        let statistics = Arc::<Statistics>::default();
        let connections = Connections::new(&statistics);
        let (few, many) = (Origin::tcp([10, 0, 0, 1].into()), Origin::tcp([10, 0, 0, 2].into()));
        let mut open = Vec::new();
        for at in 0..=2 * CONNECTIONS_OF_A_PEER {
            let origin = if at < CONNECTIONS_OF_A_PEER { few } else { many };
            open.push(connections.admit(Phase::Idle, origin).await);
        }
        let displaced = || open.iter().position(|admission| admission.activity.is_displaced());
        for admission in &open[CONNECTIONS_OF_A_PEER..] {
            admission.activity.enter(Phase::First, Instant::now());
        }
        connections.displace_oldest();
        assert_eq!(displaced(), None, "those are too young");
        open[CONNECTIONS_OF_A_PEER + 1].activity.enter(Phase::Idle, Instant::now());
        connections.displace_oldest();
        assert_eq!(displaced(), Some(CONNECTIONS_OF_A_PEER + 1));
        connections.displace_oldest();
        assert_eq!(displaced(), Some(0), "no origin has many");
    }

    #[tokio::test]
    async fn oldest_makes_room_for_the_next() {
        let statistics = Arc::<Statistics>::default();
        let connections = Connections::new(&statistics);
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS {
            open.push(connections.admit(Phase::First, Origin::Unix).await);
        }
        open[0].activity.enter(Phase::Stream, Instant::now());
        open[1].activity.enter(Phase::Idle, Instant::now());
        assert!(connections.permits.try_acquire().is_err());
        connections.displace_oldest();
        let displaced: Vec<usize> = (0..CONNECTIONS).filter(|&at| open[at].activity.is_displaced()).collect();
        assert_eq!(displaced, [1], "the others are too young");
        drop(open.remove(1));
        let next = connections.admit(Phase::First, Origin::Unix).await;
        assert!(!next.activity.is_displaced());
        assert_eq!(connections.open.borrow().len(), CONNECTIONS);
    }
}
