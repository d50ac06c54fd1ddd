//! The denials of one plugin that were reported to the operator: each is reported once, and few.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::address::fetch_grant::FetchGrant;
use crate::address::{Address, ConnectGrant};
use crate::hostpath::Pattern;
use crate::plugin::grants::kind::{Grant, GrantKind};
use crate::plugin::grants::network;

/// How many different denials of one plugin are reported: more are a defect of the plugin, not missing grants.
pub(crate) const MAX_REPORTED: usize = 100;

/// The denials of one plugin that were reported to the operator.
#[derive(Default)]
pub(crate) struct ReportedDenials {
    /// Behind a lock because an old and a new version may run at the same time.
    reported: Mutex<ReportedLines>,
    /// The number of missing grants, for whoever looks whether there are more.
    missing_count: AtomicUsize,
}

#[derive(Default)]
struct ReportedLines {
    lines: HashSet<String>,
    /// The needs among them that are patterns: a denied path that one covers is not reported again.
    needs: Vec<(GrantKind, Pattern)>,
    /// The needs among them of unix sockets: a request with one of their methods that is denied is not reported again.
    fetch_needs: Vec<FetchGrant>,
    /// The needs among them of connections: one to a unix socket may be a pattern.
    connect_needs: Vec<ConnectGrant>,
    /// The grants that were missing so far, without those that such a need covers.
    missing: Vec<Grant>,
}

impl ReportedDenials {
    /// Records that a line is reported. None when it was before, or when no more are; otherwise whether it is the last.
    pub(crate) fn record(&self, line: &str) -> Option<bool> {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = reported.lines.len() < MAX_REPORTED && reported.lines.insert(line.to_owned());
        is_new.then_some(reported.lines.len() == MAX_REPORTED)
    }

    /// Records that a need is reported. Returns whether it was not before.
    pub(crate) fn record_need(&self, need: &Grant) -> bool {
        self.record_missing(need);
        let is_new = self.record(&need.to_string()).is_some();
        if is_new {
            self.reported.lock().unwrap_or_else(PoisonError::into_inner).keep(need);
        }
        is_new
    }

    /// Records that a grant is missing, whether or not that is reported.
    pub(crate) fn record_missing(&self, grant: &Grant) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.missing.len() < MAX_REPORTED && !reported.missing.contains(grant) && !reported.covers(grant) {
            reported.missing.push(grant.clone());
            self.missing_count.store(reported.missing.len(), Ordering::Release);
        }
    }

    /// The number of grants that were missing so far.
    pub(crate) fn missing_count(&self) -> usize {
        self.missing_count.load(Ordering::Acquire)
    }

    /// The grants that were missing so far.
    pub(crate) fn missing(&self) -> Vec<Grant> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).missing.clone()
    }

    /// Whether a line was reported, or a need that covers the missing grant.
    pub(crate) fn is_reported(&self, line: &str, missing: Option<&Grant>) -> bool {
        let reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let is_covered = |grant: &Grant| reported.covers(grant);
        reported.lines.len() >= MAX_REPORTED || reported.lines.contains(line) || missing.is_some_and(is_covered)
    }
}

impl ReportedLines {
    /// Keeps a need that may cover denials.
    fn keep(&mut self, Grant { kind, value }: &Grant) {
        match kind {
            GrantKind::Read | GrantKind::Usage => {
                self.needs.extend(Pattern::new(&**value).map(|pattern| (*kind, pattern)));
            }
            GrantKind::Fetch => self.fetch_needs.extend(FetchGrant::parse(value)),
            GrantKind::Connect => self.connect_needs.extend(ConnectGrant::parse(value)),
        }
    }

    /// Whether a need covers a grant.
    fn covers(&self, Grant { kind, value }: &Grant) -> bool {
        match kind {
            GrantKind::Read | GrantKind::Usage => {
                self.needs.iter().any(|(key, need)| key == kind && (need.matches(value) || need.opens(value)))
            }
            GrantKind::Fetch => {
                FetchGrant::parse(value).is_ok_and(|grant| self.fetch_needs.iter().any(|need| need.covers(&grant)))
            }
            GrantKind::Connect => {
                Address::parse(value).is_ok_and(|address| network::allows(&self.connect_needs, &address))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denials_are_reported_once_within_a_limit() {
        let denials = ReportedDenials::default();
        assert_eq!(denials.record("0"), Some(false));
        assert_eq!(denials.record("0"), None);
        let new: Vec<bool> = (0..1000).filter_map(|number| denials.record(&number.to_string())).collect();
        assert_eq!(new.len(), MAX_REPORTED - 1);
        assert_eq!(new.iter().position(|&is_last| is_last), Some(MAX_REPORTED - 2));
        assert!(denials.is_reported("5000", None), "there is no room for it");
    }

    #[test]
    fn reported_needs_cover_the_methods_of_sockets() {
        let denials = ReportedDenials::default();
        assert!(denials.record_need(&Grant::new(GrantKind::Fetch, "unix:/run/*.sock GET POST")));
        let is_reported = |value: &str| denials.is_reported(value, Some(&Grant::new(GrantKind::Fetch, value)));
        assert!(is_reported("unix:/run/a.sock") && is_reported("unix:/run/a.sock POST"));
        for other in ["unix:/run/a.sock PUT", "unix:/run/a/b.sock POST", "http://run"] {
            assert!(!is_reported(other), "{other}");
        }
    }

    #[test]
    fn reported_needs_cover_sockets_to_connect_to() {
        let denials = ReportedDenials::default();
        for need in ["unix:/run/*.sock", "db:5432"] {
            assert!(denials.record_need(&Grant::new(GrantKind::Connect, need)));
        }
        let is_reported = |kind, value: &str| {
            let denied = Grant::new(kind, value);
            denials.record_missing(&denied);
            denials.is_reported(&denied.to_string(), Some(&denied))
        };
        assert!(is_reported(GrantKind::Connect, "unix:/run/a.sock") && is_reported(GrantKind::Connect, "db:5432"));
        assert_eq!(denials.missing_count(), 2, "the needs alone");
        for other in ["unix:/run/a/b.sock", "db:5433", "udp:db:5432"] {
            assert!(!is_reported(GrantKind::Connect, other), "{other}");
        }
        assert!(!is_reported(GrantKind::Fetch, "unix:/run/a.sock"));
    }

    #[test]
    fn missing_grants_are_kept_once() {
        let denials = ReportedDenials::default();
        let grant = |value: &str| Grant::new(GrantKind::Read, value);
        assert!(denials.record_need(&grant("/srv/*")) && !denials.record_need(&grant("/srv/*")));
        for value in ["/srv/a", "/etc/x", "/etc/x"] {
            denials.record_missing(&grant(value));
        }
        assert_eq!((denials.missing(), denials.missing_count()), (vec![grant("/srv/*"), grant("/etc/x")], 2));
        (0..1000).for_each(|number| denials.record_missing(&grant(&format!("/etc/{number}"))));
        assert_eq!(denials.missing_count(), MAX_REPORTED);
    }
}
