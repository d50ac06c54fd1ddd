//! The outcomes of loads and trials: another version serves, a configuration takes effect, or the rejection is reported.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::Supervisor;
use super::serving::{Hold, Serving};
use super::version_state::VersionState;
use super::wording::PluginFile;
use super::work::{Job, JobOutcome, Since, Work};
use crate::plugin::build::sealed::Hash;
use crate::plugin::guest::fault::{Failure, FaultKind};
use crate::plugin::load::Outcome;
use crate::plugin::rejection::{Rejection, RetryPolicy};
use crate::plugin::report::{Report, ReportKind};
use crate::plugin::trial::Trial;

impl Supervisor {
    /// Handles the outcome of the job that is under way. Returns the job that follows it, and the report that is due, if any.
    pub(crate) fn handle_outcome(
        &mut self,
        outcome: JobOutcome,
        directory: &Path,
        now: Instant,
    ) -> (Option<Job>, Option<(ReportKind, Report)>) {
        self.view.outdate();
        match (std::mem::take(&mut self.work), outcome) {
            (Work::Loading(since), JobOutcome::Loaded(outcome)) => self.handle_load(since, outcome, directory, now),
            (Work::Loading(since), JobOutcome::Panicked(why)) => {
                self.handle_load(since, Outcome::Unreadable(io::Error::other(why)), directory, now)
            }
            (Work::Trying { is_outdated: true, then_load }, _) => (Some(self.next_for_configuration(then_load)), None),
            (Work::Trying { then_load, .. }, JobOutcome::Tried(tried)) => {
                (self.handle_trial(tried, then_load, now), None)
            }
            (Work::Trying { then_load, .. }, JobOutcome::Panicked(why)) => {
                let why = format!("cannot be tried: {why}; report this");
                (self.handle_trial(Err(why.into()), then_load, now), None)
            }
            // The outcome of something that it has not asked for.
            (work, _) => {
                self.work = work;
                (None, None)
            }
        }
    }

    fn handle_load(
        &mut self,
        since: Since,
        outcome: Outcome,
        directory: &Path,
        now: Instant,
    ) -> (Option<Job>, Option<(ReportKind, Report)>) {
        // The file has to be loaded again with the new configuration.
        if since == Since::Reconfigured {
            return (Some(self.next_for_configuration(true)), None);
        }
        let path = directory.join(&self.file);
        if !matches!(outcome, Outcome::Unreadable(_)) {
            self.status.set_readable();
        }
        // Then the file was written again with what serves, so that a configuration that was rejected may pass.
        let is_rewritten = matches!(outcome, Outcome::AlreadyKnown(hash) if self.serving().is_some_and(|one| one.version.hash == hash));
        let report = match outcome {
            Outcome::AlreadyKnown(hash) if self.status.set_known(hash) => self.file_at(&path).rejection(&self.status),
            Outcome::AlreadyKnown(_) => None,
            Outcome::Unreadable(error) => self.handle_read_error(&error, &path, now),
            Outcome::Rejected(hash, rejection) => self.reject(hash, rejection, &path, now),
            Outcome::Ready(version, trial) => match self.judge(trial) {
                Ok(trial) => {
                    self.replace(version, trial, now);
                    None
                }
                Err(rejection) => self.reject(version.hash, rejection.with_version(&version.name), &path, now),
            },
        };
        let next = match since {
            Since::Changed => Some(self.begin_load()),
            _ if is_rewritten && self.candidate().is_some() => Some(self.next_for_configuration(false)),
            _ => None,
        };
        (next, report)
    }

    /// A version that is up is replaced only by one that measures, any other by one that does not fail.
    fn judge(&self, trial: Trial) -> Result<Trial, Rejection> {
        match (trial, self.serving()) {
            (Trial::Fault(fault), Some(_)) => Err(Failure::Fault(fault).into()),
            (Trial::Error(error, _), Some(serving)) if serving.is_up() => {
                self.plugin.accounts.counters.errors.add(1);
                Err(Failure::Error(error).into())
            }
            (trial, _) => Ok(trial),
        }
    }

    /// Handles the outcome of the trial of the new configuration. Returns the load that follows it, if one does.
    fn handle_trial(&mut self, tried: Result<Trial, Rejection>, then_load: bool, now: Instant) -> Option<Job> {
        let judged = tried.and_then(|trial| self.judge(trial));
        if let VersionState::Serving(Serving { candidate: Some(candidate), .. }) = &mut self.version
            && matches!(candidate.hold, Hold::Trying)
        {
            candidate.hold = Hold::Tried(judged);
            self.work = Work::Holding { then_load };
            return None;
        }
        self.conclude(judged, now);
        then_load.then(|| self.begin_load())
    }

    /// Puts the new configuration into effect, or rejects it.
    pub(super) fn conclude(&mut self, judged: Result<Trial, Rejection>, now: Instant) {
        let VersionState::Serving(serving) = &mut self.version else { return };
        let version = Arc::clone(&serving.version);
        match judged {
            Ok(trial) => self.serve(version, trial, now),
            Err(rejection) => {
                if rejection.is_fault {
                    self.plugin.accounts.counters.faults.add(FaultKind::Load);
                }
                if let Some(candidate) = &mut serving.candidate {
                    candidate.reject(&version, &rejection, now);
                }
            }
        }
    }

    /// Reports once for each reason that the file cannot be read.
    fn handle_read_error(&mut self, error: &io::Error, path: &Path, now: Instant) -> Option<(ReportKind, Report)> {
        let is_news = self.status.set_read_error(error, now);
        let report = self.file_at(path).read_error(error);
        self.status.describe_read_error(&report.1.reason, &report.1.remedy);
        if !is_news {
            return None;
        }
        // The next scan finds out whether the file was removed.
        if error.kind() != io::ErrorKind::NotFound {
            self.plugin.accounts.counters.faults.add(FaultKind::Load);
        }
        Some(report)
    }

    fn reject(&mut self, hash: Hash, rejection: Rejection, path: &Path, now: Instant) -> Option<(ReportKind, Report)> {
        let (is_fault, retry) = (rejection.is_fault, rejection.retry);
        let is_news = self.status.set_rejected(hash, rejection, now);
        // A shortage is one fault, however often it is tried whether it has passed.
        if is_fault && (is_news || retry != RetryPolicy::Soon) {
            self.plugin.accounts.counters.faults.add(FaultKind::Load);
        }
        if is_news { self.file_at(path).rejection(&self.status) } else { None }
    }

    fn file_at<'a>(&'a self, path: &'a Path) -> PluginFile<'a> {
        PluginFile { plugin: self.newest(), path, is_serving: self.is_serving() }
    }
}
