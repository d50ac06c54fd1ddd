//! The words for failures of services, which the descriptions of metrics have to list.

use crate::Plugin;

/// The reasons of failed requests.
pub const REQUEST_FAILURES: &[&str] =
    &["request", "resolve", "connect", "permission", "closed", "tls", "timeout", "protocol", "too_large"];

/// The reasons of failed connections.
pub const CONNECTION_FAILURES: &[&str] = &["address", "resolve", "connect", "permission", "closed", "tls", "timeout"];

/// The reasons of failed reads of a file.
pub const FILE_FAILURES: &[&str] = &["address", "missing", "permission", "timeout", "too_large", "read"];

/// Checks that the description of a plugin's metric `failure` lists these words, each in backticks.
///
/// ```
/// use gauged_plugin::testing::{REQUEST_FAILURES, assert_failures};
/// # use gauged_plugin::{About, Error, NoConfig, Plugin, Sample, Tick};
/// # gauged_plugin::metrics! {
/// #     module "web";
/// #     /// Reason of the failure: `request`, `resolve`, `connect`, `permission`, `closed`, `tls`, `timeout`, `protocol`, `too_large`.
/// #     FAILURE: gauge "failure" in "1";
/// # }
/// # struct Web;
/// # impl Plugin for Web {
/// #     const ABOUT: About = About { version: "1.0.0", description: "Servers.", settings: &[], metrics: METRICS };
/// #     type Config = NoConfig;
/// #     fn configure(_: NoConfig) -> Result<Self, Error> { Ok(Self) }
/// #     fn collect(&mut self, _: Tick, _: &mut Sample) -> Result<(), Error> { Ok(()) }
/// # }
///
/// assert_failures::<Web>(REQUEST_FAILURES);
/// ```
///
/// # Panics
///
/// There is no such metric, or a word is not among them.
pub fn assert_failures<P: Plugin>(words: &[&str]) {
    let metric = P::ABOUT.metrics.iter().find(|metric| metric.name == "failure").expect("a metric `failure`");
    for word in words {
        let is_listed = metric.description.contains(&format!("`{word}`"));
        assert!(is_listed, "`{word}` is not in the description of {}.failure: {}", metric.module, metric.description);
    }
}
