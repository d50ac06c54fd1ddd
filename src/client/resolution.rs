//! Name resolution by the system's resolver, which may hang: on a thread of its own, one at a time. A late result is awaited by the next
//! request, not asked for again.

use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};

use tokio::sync::oneshot;

use crate::thread;

/// Something that is computed on a thread of its own, for those who ask for it, one after the other.
#[derive(Debug)]
pub(super) struct Pending<K, T> {
    under_way: Option<(K, oneshot::Receiver<T>)>,
}

impl<K, T> Default for Pending<K, T> {
    fn default() -> Self {
        Self { under_way: None }
    }
}

impl<K: PartialEq, T: Send + 'static> Pending<K, T> {
    /// The result for a key: that of the thread under way if it is for this key, otherwise of a new one. Cancellation safe: the thread
    /// stays under way.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub(super) async fn result(
        &mut self,
        key: K,
        name: &'static str,
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        if self.under_way.as_ref().is_none_or(|(known, _)| *known != key) {
            let (sender, receiver) = oneshot::channel();
            // Nobody receives it when another key is asked for meanwhile.
            thread::start(name, move || drop(sender.send(compute())))?;
            self.under_way = Some((key, receiver));
        }
        let result = match &mut self.under_way {
            Some((_, receiver)) => receiver.await,
            None => return Err(io::Error::other("no thread")),
        };
        self.under_way = None;
        result.map_err(|_| io::Error::other("the thread failed"))
    }
}

/// Look-ups of names.
pub(super) type Resolution = Pending<String, io::Result<Vec<IpAddr>>>;

/// The addresses of a name, in the order in which they are to be tried.
pub(super) fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for address in (name, 0).to_socket_addrs()? {
        // A resolver may have one for each protocol.
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn late_result_is_awaited_not_repeated() {
        let (release, hang) = mpsc::sync_channel::<()>(1);
        let hang = Arc::new(std::sync::Mutex::new(hang));
        let started = Arc::new(AtomicUsize::new(0));
        let mut pending = Pending::<&str, usize>::default();
        let compute = || {
            let (hang, started) = (Arc::clone(&hang), Arc::clone(&started));
            move || {
                let number = started.fetch_add(1, Ordering::SeqCst);
                let _ = hang.lock().expect("one at a time").recv();
                number
            }
        };
        for _ in 0..3 {
            let late = timeout(Duration::from_millis(1), pending.result("a", "test", compute())).await;
            assert!(late.is_err(), "it hangs");
        }
        release.send(()).expect("it hangs");
        assert_eq!(pending.result("a", "test", compute()).await.ok(), Some(0));
        release.send(()).expect("there is another one");
        assert_eq!(pending.result("a", "test", compute()).await.ok(), Some(1), "a new one after it");
    }

    #[test]
    fn addresses_of_a_name_are_each_once() {
        let addresses = resolve("127.0.0.1").expect("an address");
        assert_eq!(addresses, [IpAddr::from([127, 0, 0, 1])]);
    }
}
