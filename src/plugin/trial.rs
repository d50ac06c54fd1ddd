//! The trial of a version: it is configured and called once, before it may serve. Grants that it needs and does not
//! have are reported.

use std::time::Instant;

use crate::address::{Address, Origin};
use crate::clock::schedule::{Tick, wall_clock};
use crate::escape::printable;
use crate::hostpath;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::kind::GrantKind;
use crate::plugin::guest::bindings::exports::gauged::plugin::collector::{Capability, Need};
use crate::plugin::guest::fault::{Disabled, Failure, Fault};
use crate::plugin::guest::instance::{Instance, capability_line, grant_of};
use crate::plugin::host::files::is_usage_granted;
use crate::plugin::rejection::Rejection;
use crate::plugin::version::Version;

/// How many missing grants of one plugin are reported: first-party plugins need a handful.
const REPORTED_NEEDS: usize = 20;

/// How many needs of one plugin are compared with its grants.
pub(crate) const CHECKED_NEEDS: usize = 200;

/// The outcome of a version's trial.
pub(crate) enum Trial {
    /// It measured.
    Passed(Box<Instance>),
    /// The service or device that it measures is not there now; the reason.
    Unavailable(String),
    Failed(Fault),
}

/// The grants that a plugin needs and does not have.
#[derive(Default)]
struct MissingGrants {
    grants: Vec<(GrantKind, String)>,
    /// The plugin's reason for each.
    reasons: Vec<String>,
    /// Whether one was not reported before.
    is_new: bool,
}

impl PluginContext {
    /// Configures and calls a version once.
    pub(crate) async fn try_version(&self, version: &Version, clock: Instant) -> Result<Trial, Rejection> {
        let reject = |rejection: Rejection| rejection.with_version(&version.name);
        let (mut instance, needs) = match self.start(&version.code, &version.description).await {
            Ok(started) => started,
            Err(Failure::Unavailable(why)) => return Ok(Trial::Unavailable(why)),
            Err(failure) => return Err(reject(failure.into())),
        };
        let missing = self.missing_grants(needs).await;
        let tick = Tick { index: 0, previous: None, since_epoch: wall_clock() };
        let trial = match instance.collect(tick, clock.elapsed()).await {
            Ok(_) => Trial::Passed(Box::new(instance)),
            Err(Failure::Unavailable(why)) => Trial::Unavailable(why),
            Err(Failure::Fault(fault)) => Trial::Failed(fault),
            Err(failure) => return Err(reject(self.trial_rejection(failure, missing))),
        };
        self.report_missing_grants(missing);
        Ok(trial)
    }

    /// The rejection of a version whose trial ended in an error that lasts. When a grant is missing, its remedy names all that
    /// are missing, so that one line tells the operator everything.
    fn trial_rejection(&self, failure: Failure, missing: MissingGrants) -> Rejection {
        let denied = match &failure {
            Failure::Disabled(Disabled { denied: Some(grant), .. }) => grant.clone(),
            _ => return failure.into(),
        };
        let mut grants = missing.grants;
        grants.truncate(REPORTED_NEEDS);
        grants.push(denied);
        Rejection { remedy: printable(&self.restart_remedy(&grants)), ..failure.into() }
    }

    /// Compares a plugin's needs with its grants. Returns those that are missing; reports those that cannot be granted.
    async fn missing_grants(&self, needs: Vec<Need>) -> MissingGrants {
        let plugin = &*self.name;
        let until = Instant::now() + self.config.timeout;
        let (mut missing, mut impossible, total) = (MissingGrants::default(), Vec::new(), needs.len());
        for Need { capability, reason } in needs.into_iter().take(CHECKED_NEEDS) {
            match self.is_granted(&capability, until).await {
                Ok(true) => {}
                Ok(false) => {
                    let (key, value) = grant_of(&capability);
                    missing.is_new |= self.record_need(key, value);
                    missing.grants.push((key, value.to_owned()));
                    missing.reasons.push(format!("to {}", printable(&reason)));
                }
                Err(why) => {
                    impossible.push(format!("{} {}", capability_line(&capability), printable(&why)));
                }
            }
        }
        if total > CHECKED_NEEDS {
            tracing::warn!(plugin, needs = total, checked = CHECKED_NEEDS, "plugin needs too many grants");
        }
        if !impossible.is_empty() {
            let (needs, remedy) = (join_first(&impossible, REPORTED_NEEDS), "fix the plugin");
            tracing::warn!(plugin, needs, remedy, "plugin needs impossible grants");
        }
        missing
    }

    /// Reports the missing grants of a version that may serve without them, unless they were reported before. Without a table
    /// that is no warning.
    fn report_missing_grants(&self, missing: MissingGrants) {
        let MissingGrants { mut grants, reasons, is_new } = missing;
        if !is_new {
            return;
        }
        let (count, reason) = (grants.len(), join_first(&reasons, REPORTED_NEEDS));
        grants.truncate(REPORTED_NEEDS);
        let (plugin, remedy) = (&*self.name, self.restart_remedy(&grants));
        if self.is_configured {
            tracing::warn!(plugin, count, reason, remedy, "grants missing");
        } else {
            tracing::info!(plugin, count, reason, remedy, "grants missing");
        }
    }

    /// Whether a capability is granted.
    ///
    /// # Errors
    ///
    /// Why nothing can grant it: the end of a sentence that begins with it.
    pub(crate) async fn is_granted(&self, capability: &Capability, until: Instant) -> Result<bool, String> {
        if let Capability::Read(path) | Capability::Usage(path) = capability {
            hostpath::check(path)?;
        }
        let grants = &self.grants;
        Ok(match capability {
            Capability::Read(path) => grants.covers(path),
            Capability::Usage(path) => is_usage_granted(self, path, until).await,
            Capability::Connect(address) => grants.network().connect(&Address::parse(address)?),
            Capability::Fetch(origin) => grants.network().fetch(&Origin::parse(origin)?),
        })
    }
}

/// Joins the first texts of a list, and says how many more there are.
fn join_first(texts: &[String], most: usize) -> String {
    let more = texts.len().saturating_sub(most);
    let shown = texts[..texts.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
