//! The threads of the agent beside the main one. A host that has run out of threads does not keep the agent from its samples:
//! those that are missing are reported once, and tried again until all run.

use std::io;
use std::time::{Duration, Instant};

use super::outputs::Outputs;
use crate::collector::slow::SlowReadings;
use crate::log::Log;
use crate::plugin::Plugins;
use crate::thread::remedy;

/// The time between two attempts, each of which may take milliseconds to find the limit that is reached.
const RETRY: Duration = Duration::from_secs(10);

/// The threads that the agent needs.
pub(super) struct Threads<'a> {
    /// The log of the program. Tests have none.
    log: Option<&'a Log>,
    /// When the missing threads are tried again; none if all run.
    retry_at: Option<Instant>,
}

impl<'a> Threads<'a> {
    pub(super) fn new(log: Option<&'a Log>) -> Self {
        Self { log, retry_at: None }
    }

    /// Starts the threads that do not run. What is missing, and when all run after that, is logged once.
    pub(super) fn start(&mut self, outputs: &mut Outputs, slow: &SlowReadings, plugins: &mut Plugins) {
        let was_missing = self.retry_at.is_some();
        let missing = self.start_missing(outputs, slow, plugins);
        self.retry_at = missing.is_some().then(|| Instant::now() + RETRY);
        match missing {
            Some((threads, error)) if !was_missing => report_missing(&threads, &error),
            None if was_missing => tracing::info!("threads started"),
            _ => {}
        }
    }

    /// Tries again if threads are missing and enough time has passed.
    pub(super) fn retry(&mut self, outputs: &mut Outputs, slow: &SlowReadings, plugins: &mut Plugins) {
        if self.retry_at.is_some_and(|at| at <= Instant::now()) {
            self.start(outputs, slow, plugins);
        }
    }

    /// Returns the names of the missing threads, and the error of the first one.
    fn start_missing(
        &mut self,
        outputs: &mut Outputs,
        slow: &SlowReadings,
        plugins: &mut Plugins,
    ) -> Option<(String, io::Error)> {
        let Outputs { sinks, delivery, status } = outputs;
        let (is_delivery_waiting, is_status_waiting) = (delivery.is_waiting(), status.is_waiting());
        let mut start_delivery = || delivery.start_thread();
        let mut start_log = || self.log.map_or(Ok(()), Log::start_thread);
        let mut start_sinks = || sinks.start_threads();
        let mut start_slow = || slow.start_thread();
        let mut start_guests = || plugins.start_thread();
        let mut start_status = || status.start_thread();
        let mut starts: Vec<Start<'_>> =
            vec![("sinks", &mut start_sinks), ("slow", &mut start_slow), ("guests", &mut start_guests)];
        if self.log.is_some() {
            starts.insert(0, ("log", &mut start_log));
        }
        if is_delivery_waiting {
            starts.push(("delivery", &mut start_delivery));
        }
        if is_status_waiting {
            starts.push(("status", &mut start_status));
        }
        start_all(&mut starts)
    }
}

/// The name of a thread, and what starts it unless it runs.
type Start<'a> = (&'static str, &'a mut dyn FnMut() -> io::Result<()>);

/// Starts threads one after the other. Returns the names of those that are missing, and the error of the first one. After an
/// error nothing more is tried: it would be the same.
fn start_all(starts: &mut [Start<'_>]) -> Option<(String, io::Error)> {
    let (failed, error) =
        starts.iter_mut().enumerate().find_map(|(index, (_, start))| start().err().map(|error| (index, error)))?;
    let missing: Vec<&str> = starts[failed..].iter().map(|(name, _)| *name).collect();
    Some((missing.join(", "), error))
}

/// Logs that threads could not be started.
pub(super) fn report_missing(threads: &str, error: &io::Error) {
    tracing::error!(
        threads,
        reason = %error,
        remedy = remedy(error),
        consequence = "samples go on; without their threads, the host name and the number and frequency of the CPUs may be \
                       null, a full output loses samples or log lines, no plugin is called, and gauged status and HTTP have no answer",
        "threads missing"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_after_a_failed_one_are_not_tried() {
        let (mut started, mut tried) = (0, 0);
        let mut good = || {
            started += 1;
            Ok(())
        };
        let mut bad = || Err(io::Error::other("refused"));
        let mut last = || {
            tried += 1;
            Ok(())
        };
        let (missing, error) = start_all(&mut [("a", &mut good), ("b", &mut bad), ("c", &mut last)]).expect("missing");
        assert_eq!((&*missing, &*error.to_string()), ("b, c", "refused"));
        assert!(start_all(&mut [("a", &mut good), ("c", &mut last)]).is_none());
        assert_eq!((started, tried), (2, 1));
    }
}
