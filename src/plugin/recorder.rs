//! What a plugin that is tried out does besides measuring, kept for who tries it out: what it says, messages for its
//! author included, and what it is denied. Where a plugin serves there is no recorder, and the log has what matters of it.

use std::sync::{Mutex, PoisonError};

use super::host::GrantKind;

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
pub(super) enum RecordedDenial {
    /// This grant is missing.
    Missing(GrantKind, String),
    /// No grant would help; why.
    Final(String),
}

/// What was recording since the last look.
#[derive(Debug, Default)]
pub(super) struct Recording {
    pub(super) messages: Vec<Message>,
    /// How many messages more there were.
    pub(super) more: u64,
    pub(super) denied: Vec<RecordedDenial>,
}

/// Whoever watches a plugin that is tried out.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    /// Behind a lock because a guest's state is shared with the threads that work for it; it is held for a moment.
    recording: Mutex<Recording>,
}

impl Recorder {
    pub(super) fn record_message(&self, level: &'static str, text: String) {
        let mut recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        if recording.messages.len() < MESSAGES {
            recording.messages.push(Message { level, text });
        } else {
            recording.more += 1;
        }
    }

    pub(super) fn record_denial(&self, denied: RecordedDenial) {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner).denied.push(denied);
    }

    /// What was recording since this was asked last.
    pub(super) fn take(&self) -> Recording {
        std::mem::take(&mut self.recording.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_messages_is_counted_and_what_was_seen_is_seen_once() {
        let recorder = Recorder::default();
        for _ in 0..MESSAGES + 5 {
            recorder.record_message("debug", "x".to_owned());
        }
        recorder.record_denial(RecordedDenial::Final("y".to_owned()));
        let recording = recorder.take();
        assert_eq!((recording.messages.len(), recording.more, recording.denied.len()), (MESSAGES, 5, 1));
        let recording = recorder.take();
        assert_eq!((recording.messages.len(), recording.more, recording.denied.len()), (0, 0, 0));
    }
}
