//! What a plugin that is tried out does besides measuring, kept for who tries it out: what it says, messages for its
//! author included, and what it is denied. Where a plugin serves there is no witness, and the log has what matters of it.

use std::sync::{Mutex, PoisonError};

use super::host::Key;

/// How many messages are kept between two looks: more than anybody reads.
const MESSAGES: usize = 1000;

/// What a plugin has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// On one line.
    pub text: String,
}

/// What a plugin has asked for and was refused: the first time that it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denied {
    /// This grant is missing.
    Missing(Key, String),
    /// No grant would help; why.
    Final(String),
}

/// What was seen since the last look.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) messages: Vec<Message>,
    /// How many messages more there were.
    pub(super) more: u64,
    pub(super) denied: Vec<Denied>,
}

/// Whoever watches a plugin that is tried out.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// Behind a lock because a guest's state is shared with the threads that work for it; it is held for a moment.
    seen: Mutex<Seen>,
}

impl Witness {
    pub(super) fn say(&self, level: &'static str, text: String) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.messages.len() < MESSAGES {
            seen.messages.push(Message { level, text });
        } else {
            seen.more += 1;
        }
    }

    pub(super) fn deny(&self, denied: Denied) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).denied.push(denied);
    }

    /// What was seen since this was asked last.
    pub(super) fn look(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_messages_is_counted_and_what_was_seen_is_seen_once() {
        let witness = Witness::default();
        for _ in 0..MESSAGES + 5 {
            witness.say("debug", "x".to_owned());
        }
        witness.deny(Denied::Final("y".to_owned()));
        let seen = witness.look();
        assert_eq!((seen.messages.len(), seen.more, seen.denied.len()), (MESSAGES, 5, 1));
        let seen = witness.look();
        assert_eq!((seen.messages.len(), seen.more, seen.denied.len()), (0, 0, 0));
    }
}
