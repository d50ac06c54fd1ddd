//! The recorder of a plugin under the harness: it keeps the plugin's messages, debug ones included, its denials, the default
//! grants that it uses, and where it failed, for `gauged plugin`. In the agent there is no recorder: messages and denials go to the log.

use std::sync::{Mutex, PoisonError};

use crate::plugin::grants::default::DefaultGrant;
use crate::plugin::grants::kind::Denial;

/// How many messages are kept between two calls: more than anybody reads.
const MESSAGES: usize = 1000;

/// A log message of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// `debug`, `info`, `warn` or `error`.
    pub(crate) level: &'static str,
    /// On one line.
    pub(crate) text: String,
}

/// What was recorded since the last look.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) messages: Vec<Message>,
    /// How many further messages were not kept.
    pub(crate) more: u64,
    /// Each is recorded once.
    pub(crate) denials: Vec<Denial>,
    /// The default grants that it used, each once.
    pub(crate) default_grants: Vec<DefaultGrant>,
    /// The calls that were under way at the last fault, the innermost first.
    pub(crate) backtrace: Vec<String>,
}

/// Records the messages, denials and used grants of one plugin.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    /// Behind a lock because a guest's state is shared with the threads that work for it; it is held for a moment.
    recording: Mutex<Recording>,
}

impl Recorder {
    pub(crate) fn record_message(&self, level: &'static str, text: String) {
        let mut recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        if recording.messages.len() < MESSAGES {
            recording.messages.push(Message { level, text });
        } else {
            recording.more += 1;
        }
    }

    pub(crate) fn record_denial(&self, denial: Denial) {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner).denials.push(denial);
    }

    pub(crate) fn record_default_grant(&self, grant: DefaultGrant) {
        let used = &mut self.recording.lock().unwrap_or_else(PoisonError::into_inner).default_grants;
        if !used.contains(&grant) {
            used.push(grant);
        }
    }

    pub(crate) fn record_backtrace(&self, frames: Vec<String>) {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner).backtrace = frames;
    }

    /// Returns what was recorded since the last call.
    pub(crate) fn take(&self) -> Recording {
        std::mem::take(&mut self.recording.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_messages_is_cut_and_counted() {
        let recorder = Recorder::default();
        for _ in 0..MESSAGES + 5 {
            recorder.record_message("debug", "x".to_owned());
        }
        recorder.record_denial(Denial::Final("y".to_owned()));
        let recording = recorder.take();
        assert_eq!((recording.messages.len(), recording.more, recording.denials.len()), (MESSAGES, 5, 1));
        let recording = recorder.take();
        assert_eq!((recording.messages.len(), recording.more, recording.denials.len()), (0, 0, 0));
    }
}
