//! The settings: targets, and what is kept of each. The agent validates URLs and headers when it sends a request.

use gauged_plugin::select::Pattern;
use gauged_plugin::service::{authority, check_no_user};
use gauged_plugin::{Error, Texts};
use serde::Deserialize;

/// The most targets: one less than the modules of a plugin by default, since each is a module beside the plugin's own.
const MAX_TARGETS: usize = 99;

/// The longest name or URL of a target, which is a label value.
const MAX_NAME_BYTES: usize = 1024;

/// The most labels that are added: half of those that a metric may have by default.
const MAX_LABELS: usize = 8;

/// The longest value of a label that the agent takes by default.
const MAX_LABEL_BYTES: usize = 4096;

gauged_plugin::settings! {
    /// Programs to scrape, at most 99. Each origin needs a grant `fetch`.
    "targets": "list of tables" = "[]";
    /// The URL of the metrics, `http` or `https`. The log shows it: put secrets into `headers`.
    "targets[].url": "text", required;
    /// The path of a unix socket to connect to. The URL has the host to name and the path to ask for.
    "targets[].unix_socket": "text";
    /// The name in the label `target`, and in the module of the metrics; without it the unix socket, or host and port of the URL.
    "targets[].name": "text";
    /// Labels to add to each metric. Without `instance` that is the unix socket, or host and port of the URL; an empty text leaves a
    /// label out.
    "targets[].labels": "table of texts" = "{}";
    /// The value of an added label.
    "targets[].labels.*": "text";
    /// Whether a metric's own label wins over an added one of the same name. Otherwise it is renamed to `exported_…`, as
    /// Prometheus does.
    "targets[].honor_labels": "boolean" = "false";
    /// Patterns for names of metrics, in which `*` stands for any text; all without it.
    "targets[].include": "list of patterns" = "[]";
    /// Patterns for names of metrics to leave out.
    "targets[].exclude": "list of patterns" = "[]";
    /// Headers of the request by name; put secrets here and not into the URL.
    "targets[].headers": "table of texts" = "{}";
    /// The value of a header.
    "targets[].headers.*": "text", secret;
    /// The user of basic authorization.
    "targets[].username": "text";
    /// The password of this user.
    "targets[].password": "text", secret;
    /// The token of bearer authorization; not together with `username`.
    "targets[].bearer_token": "text", secret;
    /// The time limit in milliseconds; the target's share of the call's time without it, which is also the maximum.
    "targets[].timeout_ms": "integer";
    /// The most samples of a scrape: lines of the text, of which a bucket is one; by default half of the metrics that a plugin may have.
    /// Further ones are left out.
    "targets[].max_samples": "integer" = "10000";
}

/// The configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) targets: Vec<TargetSettings>,
}

/// A target.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetSettings {
    pub(crate) url: String,
    pub(crate) unix_socket: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) labels: Texts,
    pub(crate) honor_labels: bool,
    pub(crate) include: Vec<Pattern>,
    pub(crate) exclude: Vec<Pattern>,
    pub(crate) headers: Texts,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) bearer_token: Option<String>,
    pub(crate) timeout_ms: Option<u32>,
    pub(crate) max_samples: usize,
}

impl TargetSettings {
    /// The name in the output.
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.address())
    }

    /// The unix socket, or host and port of the URL.
    pub(crate) fn address(&self) -> &str {
        self.unix_socket.as_deref().unwrap_or_else(|| authority(&self.url))
    }
}

impl Settings {
    /// Checks the values beyond their types.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if self.targets.is_empty() {
            let why = "list at least one target: targets = [{ url = \"http://localhost:9100/metrics\" }]";
            return Err(Error::invalid("targets", why));
        }
        if self.targets.len() > MAX_TARGETS {
            let why = format!("has more than {MAX_TARGETS} targets; scrape some by another copy of the plugin");
            return Err(Error::invalid("targets", why));
        }
        for (number, target) in self.targets.iter().enumerate() {
            let invalid = |key: &str, why: &str| Err(Error::invalid(&format!("targets[{number}].{key}"), why));
            if !target.url.starts_with("http://") && !target.url.starts_with("https://") {
                return invalid("url", "must start with http:// or https://");
            }
            if let Err(why) = check_no_user(&target.url, "write them into `username` and `password`") {
                return invalid("url", &why);
            }
            if target.unix_socket.as_deref().is_some_and(|path| !path.starts_with('/')) {
                return invalid("unix_socket", "must be an absolute path, such as /run/app.sock");
            }
            if target.name().is_empty() || target.name().len() > MAX_NAME_BYTES {
                return invalid("name", "must have 1 to 1024 characters; the default is host and port of the URL");
            }
            if self.targets.iter().take(number).any(|other| other.name() == target.name()) {
                return invalid("name", "is used twice; give each target its own name");
            }
            if target.labels.0.len() > MAX_LABELS {
                return invalid("labels", "has more than 8 labels");
            }
            for (name, value) in &target.labels.0 {
                let key = format!("labels.{name}");
                if !is_label(name) {
                    return invalid(&key, "is no name of a label: write letters, digits and underscores");
                }
                if value.len() > MAX_LABEL_BYTES {
                    return invalid(&key, "has more than 4096 bytes");
                }
            }
            if target.timeout_ms == Some(0) {
                return invalid("timeout_ms", "must be at least 1; raise it or remove it");
            }
            if target.max_samples == 0 {
                return invalid("max_samples", "must be at least 1; raise it or remove it");
            }
            if target.username.is_some() && target.bearer_token.is_some() {
                return invalid("bearer_token", "excludes `username`; remove one");
            }
            if target.password.is_some() && target.username.is_none() {
                return invalid("password", "needs `username`");
            }
        }
        Ok(())
    }
}

/// Whether a text may name an added label. Those of buckets and quantiles are not free.
fn is_label(name: &str) -> bool {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let begins_well = !name.starts_with("__") && !name.starts_with(|first: char| first.is_ascii_digit());
    is_plain && begins_well && (1..=128).contains(&name.len()) && name != "le" && name != "quantile"
}
