//! The trial of a version: it is configured and called once, before it may serve. Grants that it needs and does not
//! have are reported.

use std::time::Instant;

use crate::address::Address;
use crate::address::fetch_grant::FetchGrant;
use crate::clock::schedule::Tick;
use crate::escape::printable;
use crate::hostpath;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::kind::{Grant, GrantKind, UnknownCapability};
use crate::plugin::grants::{Basis, PathRefusal};
use crate::plugin::guest::bindings::exports::gauged::plugin::collector::Need;
use crate::plugin::guest::fault::{CallError, Disabled, Failure, Fault};
use crate::plugin::guest::instance::Instance;
use crate::plugin::host::files::usage_basis;
use crate::plugin::rejection::Rejection;
use crate::plugin::version::Version;

/// How many missing grants of one plugin are reported: first-party plugins need a handful.
const REPORTED_NEEDS: usize = 20;

/// How many needs of one plugin are compared with its grants.
const CHECKED_NEEDS: usize = 200;

/// The files of the network of process 1, which may be the agent.
const FIRST_NETWORK: &str = "/proc/1/net/";

/// The outcome of a version's trial.
pub(crate) enum Trial {
    /// It measured.
    Passed(Box<Instance>),
    /// It returned an error that is no fault, and has an instance unless that error is of its configuration.
    Error(CallError, Option<Box<Instance>>),
    Fault(Fault),
}

/// A capability that a plugin needs with its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedNeed {
    /// The grant, unless this agent has no such capability.
    pub grant: Result<Grant, UnknownCapability>,
    /// The plugin's reason, on one line: completes "it needs it to".
    pub reason: String,
    /// Whether the plugin has it.
    pub status: NeedStatus,
}

/// Whether a plugin has a grant that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NeedStatus {
    /// It has it.
    Granted(Basis),
    /// The configuration can grant it, and does not.
    Missing,
    /// Nothing can grant it.
    Impossible {
        /// The end of a sentence that begins with the grant, on one line.
        why: String,
        /// The action for the operator.
        remedy: &'static str,
    },
}

impl CheckedNeed {
    /// The capability in the form of a grant, on one line.
    pub(crate) fn shown(&self) -> String {
        self.grant.as_ref().map_or_else(ToString::to_string, ToString::to_string)
    }

    /// Whether the plugin has to do without it.
    pub(crate) fn is_unmet(&self) -> bool {
        !matches!(self.status, NeedStatus::Granted(_))
    }
}

impl PluginContext {
    /// Configures and calls a version once.
    pub(crate) async fn try_version(&self, version: &Version, clock: Instant) -> Result<Trial, Rejection> {
        let reject = |rejection: Rejection| rejection.with_version(&version.name);
        let (mut instance, needs) = match self.start(&version.code, &version.description).await {
            Ok(started) => started,
            Err(Failure::Error(error)) => return Ok(Trial::Error(error, None)),
            Err(failure) => return Err(reject(failure.into())),
        };
        let needs = self.check_needs(needs).await;
        self.report_impossible_needs(&needs);
        let (mut grants, mut reasons, mut is_new) = (Vec::new(), Vec::new(), false);
        for CheckedNeed { grant, reason, .. } in needs.into_iter().filter(|need| need.status == NeedStatus::Missing) {
            let Ok(grant) = grant else { continue };
            is_new |= self.denials.record_need(&grant);
            grants.push(grant);
            reasons.push(format!("to {reason}"));
        }
        let trial = match instance.collect(Tick::now(), clock.elapsed()).await {
            Ok(_) => Trial::Passed(Box::new(instance)),
            Err(Failure::Error(error)) => Trial::Error(error, Some(Box::new(instance))),
            Err(Failure::Fault(fault)) => Trial::Fault(fault),
            Err(failure) => return Err(reject(self.trial_rejection(failure, grants))),
        };
        if is_new {
            self.report_missing_grants(grants, &reasons);
        }
        Ok(trial)
    }

    /// The rejection of a version whose trial ended in an error that lasts. When a grant is missing, its remedy names all that
    /// are missing, so that one line tells the operator everything.
    fn trial_rejection(&self, failure: Failure, mut missing: Vec<Grant>) -> Rejection {
        let Failure::Disabled(Disabled { denied: Some(denied), .. }) = &failure else { return failure.into() };
        missing.truncate(REPORTED_NEEDS);
        missing.push(denied.clone());
        Rejection { remedy: printable(&self.restart_remedy(&missing)), ..failure.into() }
    }

    /// Compares a plugin's needs with its grants.
    pub(crate) async fn check_needs(&self, needs: Vec<Need>) -> Vec<CheckedNeed> {
        let (until, total) = (Instant::now() + self.config.timeout, needs.len());
        if total > CHECKED_NEEDS {
            let plugin = &*self.name;
            tracing::warn!(plugin, needs = total, checked = CHECKED_NEEDS, "plugin needs too many grants");
        }
        let mut checked = Vec::new();
        for Need { capability, reason } in needs.into_iter().take(CHECKED_NEEDS) {
            let reason = printable(&self.config.redact(&reason));
            // As the plugin wrote it: a shown grant is without secrets.
            let target = capability.target.clone();
            let grant = self.shown_grant(capability);
            let status = if let Ok(grant) = &grant {
                match self.basis(grant.kind, &target, until).await {
                    Ok(Some(basis)) => NeedStatus::Granted(basis),
                    Ok(None) => NeedStatus::Missing,
                    Err(why) => {
                        NeedStatus::Impossible { why: printable(&self.config.redact(&why)), remedy: "fix the plugin" }
                    }
                }
            } else {
                let why = UnknownCapability::reason();
                NeedStatus::Impossible { why, remedy: UnknownCapability::REMEDY }
            };
            checked.push(CheckedNeed { grant, reason, status });
        }
        checked
    }

    /// Reports the needs that nothing can grant.
    fn report_impossible_needs(&self, needs: &[CheckedNeed]) {
        let impossible = |need: &CheckedNeed| match &need.status {
            NeedStatus::Impossible { why, remedy } => Some((format!("{} {why}", need.shown()), *remedy)),
            NeedStatus::Granted(_) | NeedStatus::Missing => None,
        };
        let (impossible, remedies): (Vec<String>, Vec<&str>) = needs.iter().filter_map(impossible).unzip();
        if let Some(remedy) = remedies.first() {
            let (plugin, needs) = (&*self.name, join_first(&impossible, REPORTED_NEEDS));
            tracing::warn!(plugin, needs, remedy, "plugin needs impossible grants");
        }
    }

    /// Reports the missing grants of a version that may serve without them. Without a table that is no warning.
    fn report_missing_grants(&self, mut grants: Vec<Grant>, reasons: &[String]) {
        let (count, reason) = (grants.len(), join_first(reasons, REPORTED_NEEDS));
        grants.truncate(REPORTED_NEEDS);
        let (plugin, remedy) = (&*self.name, self.restart_remedy(&grants));
        if self.is_configured {
            tracing::warn!(plugin, count, reason, remedy, "grants missing");
        } else {
            tracing::info!(plugin, count, reason, remedy, "grants missing");
        }
    }

    /// The origin of the grant of this kind for a target; none when it is missing.
    ///
    /// # Errors
    ///
    /// Why nothing can grant it: the end of a sentence that begins with it.
    async fn basis(&self, kind: GrantKind, target: &str, until: Instant) -> Result<Option<Basis>, String> {
        if let GrantKind::Read | GrantKind::Usage = kind {
            hostpath::check(target)?;
        }
        let network = self.grants.network();
        let is_reachable = match kind {
            GrantKind::Read => return self.read_basis(target),
            GrantKind::Usage => return Ok(usage_basis(self, target, until).await),
            GrantKind::Connect => network.connect(&Address::parse(target)?),
            GrantKind::Fetch => network.fetch_needed(&FetchGrant::parse(target)?),
        };
        Ok(is_reachable.then_some(Basis::Configuration))
    }

    /// The same for the grant to read a file.
    fn read_basis(&self, target: &str) -> Result<Option<Basis>, String> {
        let path = hostpath::first_process_path(target);
        match self.grants.covers(&path) {
            Ok(basis) => Ok(Some(basis)),
            Err(PathRefusal::Missing) => Ok(None),
            Err(PathRefusal::Malformed(why)) => Err(why.to_owned()),
            // With this grant the plugin may list sockets, for which the file is not read.
            Err(PathRefusal::Own) if path.starts_with(FIRST_NETWORK) => Ok(self.grants.lists_by_text(&path)),
            Err(PathRefusal::Own) => Err("belongs to the agent's own process, which no grant opens".to_owned()),
        }
    }
}

/// Joins the first texts of a list, and says how many more there are.
fn join_first(texts: &[String], most: usize) -> String {
    let more = texts.len().saturating_sub(most);
    let shown = texts[..texts.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
