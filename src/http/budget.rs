//! The memory of responses that are not sent yet. Peers that read slowly keep theirs, each of another tick: when all together have
//! too much, there are no new ones until some have been read or given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::body::Bytes;

use super::limits::{LARGEST_RESPONSES, RESPONSE_BYTES};

/// The account of the memory.
#[derive(Debug, Default)]
pub(super) struct ResponseBudget {
    // Shared with the texts, which may be dropped anywhere; one thread counts.
    held: Arc<AtomicUsize>,
    largest: AtomicUsize,
}

/// A text that is in the account.
struct Held {
    text: Vec<u8>,
    held: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.fetch_sub(self.text.capacity(), Ordering::Relaxed);
    }
}

impl ResponseBudget {
    /// Whether another text may be made.
    pub(super) fn has_room(&self) -> bool {
        let largest = self.largest.load(Ordering::Relaxed).saturating_mul(LARGEST_RESPONSES);
        self.held.load(Ordering::Relaxed) <= RESPONSE_BYTES.max(largest)
    }

    /// Takes a text into the account until it is sent.
    pub(super) fn hold(&self, text: Vec<u8>) -> Bytes {
        let size = text.capacity();
        self.largest.fetch_max(size, Ordering::Relaxed);
        self.held.fetch_add(size, Ordering::Relaxed);
        Bytes::from_owner(Held { text, held: Arc::clone(&self.held) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_used_up_and_freed() {
        let budget = ResponseBudget::default();
        let mut held = vec![budget.hold(vec![1; RESPONSE_BYTES / 2]), budget.hold(vec![2; RESPONSE_BYTES / 2])];
        assert!(budget.has_room());
        assert_eq!(held[1][..2], [2, 2]);
        let shared = held[0].clone();
        while budget.has_room() {
            held.push(budget.hold(vec![3; RESPONSE_BYTES / 2]));
        }
        assert!(held.len() > LARGEST_RESPONSES, "some of the largest have room");
        held.truncate(1);
        assert!(budget.has_room());
        drop((held, shared));
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}
