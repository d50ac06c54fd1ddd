//! Looks at the targets of all sinks of a configuration, without opening any: for `gauged check`.

use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use super::error::{ErrorReason, SinkError};
use super::file::examine_file;
use crate::config::{Config, FileSettings, SinkKind};
use crate::thread;

/// How long the file systems may take: a person waits for the result.
const PATIENCE: Duration = Duration::from_secs(5);

/// An error of a sink's target, or a note about it.
#[derive(Debug)]
pub(crate) struct TargetFinding {
    pub(crate) sink: String,
    pub(crate) text: String,
    /// Whether it is wrong for every user and at any time.
    pub(crate) is_error: bool,
}

/// A look at a file, in a thread of its own.
struct Look {
    sink: String,
    path: String,
    result: io::Result<Receiver<Result<(), SinkError>>>,
}

/// Looks at all targets at once, each in a thread: a file system may be dead.
pub(crate) fn examine_targets(config: &Config) -> Vec<TargetFinding> {
    let looks: Vec<Look> = config
        .sinks
        .iter()
        .filter_map(|(name, sink)| match &sink.kind {
            SinkKind::File(settings) => Some(Look::begin(name, settings)),
            SinkKind::Stdout(_) | SinkKind::Network(_) => None,
        })
        .collect();
    let until = Instant::now() + PATIENCE;
    looks.into_iter().filter_map(|look| look.finding(until)).collect()
}

impl Look {
    fn begin(sink: &str, settings: &FileSettings) -> Self {
        let (sender, result) = sync_channel(1);
        let file = settings.clone();
        // Nobody receives it when it comes too late.
        let started = thread::start("check", move || drop(sender.send(examine_file(&file))));
        Self { sink: sink.to_owned(), path: settings.path.display().to_string(), result: started.map(|()| result) }
    }

    /// Waits until then.
    fn finding(self, until: Instant) -> Option<TargetFinding> {
        let Self { sink, path, result } = self;
        let (text, is_error) = match result {
            Ok(result) => match result.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Ok(())) => return None,
                Ok(Err(SinkError { reason, text, remedy })) => {
                    (format!("{text}; {remedy}"), reason == ErrorReason::NotAFile)
                }
                Err(_) => (format!("{path} is not checked: its file system does not respond; check the mount"), false),
            },
            Err(error) => (format!("{path} is not checked: {error}; {}", thread::remedy(&error)), false),
        };
        Some(TargetFinding { sink, text, is_error })
    }
}
