//! The settings: targets and their expected responses. The agent validates URLs and headers when it sends a request.

use gauged_plugin::service::check_no_user;
use gauged_plugin::{Error, Texts, parse_setting};
use serde::de::{Deserialize, Deserializer};

/// The most targets: with the longest timeout of a call, 60 s, each still has half a second if none responds.
const MAX_TARGETS: usize = 100;

/// The longest name or URL of a target, which is a label value.
const MAX_NAME_BYTES: usize = 1024;

gauged_plugin::settings! {
    /// Requests to send, at most 100. Each origin needs a grant `fetch`.
    "targets": "list of tables" = "[]";
    /// The URL, `http` or `https`.
    "targets[].url": "text", required;
    /// The name in the label `target`; the URL without it.
    "targets[].name": "text";
    /// The method of the request.
    "targets[].method": "text" = "\"GET\"";
    /// The expected status: a number such as `204`, or a range in quotes.
    "targets[].status": "text or integer" = "\"200-299\"";
    /// An exact text that the body must contain.
    "targets[].contains": "text";
    /// Headers of the request by name; put secrets here and not into the URL.
    "targets[].headers": "table of texts" = "{}";
    /// The value of a header.
    "targets[].headers.*": "text", secret;
    /// The unix socket to send the request to. The URL has the host to name and the path to ask for.
    "targets[].unix_socket": "text";
    /// The time limit in milliseconds; the target's share of the call's time without it, which is also the maximum.
    "targets[].timeout_ms": "integer";
}

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) targets: Vec<Target>,
}

/// A target: the request and the expected response.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    name: Option<String>,
    pub(crate) url: String,
    pub(crate) method: String,
    pub(crate) status: StatusRange,
    pub(crate) contains: Option<String>,
    pub(crate) headers: Texts,
    pub(crate) unix_socket: Option<String>,
    pub(crate) timeout_ms: Option<u32>,
}

impl Target {
    /// The name in the output.
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.url)
    }
}

impl Settings {
    /// Checks the values beyond their types.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if self.targets.is_empty() {
            let why = "list at least one target: targets = [{ url = \"http://localhost/\" }]";
            return Err(Error::invalid("targets", why));
        }
        if self.targets.len() > MAX_TARGETS {
            let why = format!("has more than {MAX_TARGETS} targets; check some from another host");
            return Err(Error::invalid("targets", why));
        }
        for (number, target) in self.targets.iter().enumerate() {
            let invalid = |key: &str, why: &str| Err(Error::invalid(&format!("targets[{number}].{key}"), why));
            if !target.url.starts_with("http://") && !target.url.starts_with("https://") {
                return invalid("url", "must start with http:// or https://");
            }
            if let Err(why) = check_no_user(&target.url, "write a header `authorization` into `headers`") {
                return invalid("url", &why);
            }
            if target.name().is_empty() || target.name().len() > MAX_NAME_BYTES {
                return invalid("name", "must have 1 to 1024 characters; the default is the URL");
            }
            if self.targets.iter().take(number).any(|other| other.name() == target.name()) {
                return invalid("name", "is used twice; give each target its own name");
            }
            if target.contains.as_deref().is_some_and(str::is_empty) {
                return invalid("contains", "is empty and matches every body; remove it");
            }
            if target.contains.is_some() && target.method == "HEAD" {
                return invalid("contains", "cannot match: a response to HEAD has no body");
            }
            if target.timeout_ms == Some(0) {
                return invalid("timeout_ms", "must be at least 1; raise it or remove it");
            }
        }
        Ok(())
    }
}

/// A range of statuses: `204`, or `"200-299"`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    pub(crate) fn includes(&self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }

    /// The range as in the configuration.
    pub(crate) fn text(&self) -> String {
        if self.first == self.last { self.first.to_string() } else { format!("{}-{}", self.first, self.last) }
    }

    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (100 <= first && first <= last && last <= 999).then_some(Self { first, last })
    }
}

impl<'de> Deserialize<'de> for StatusRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a status such as 200, or a range such as \"200-299\"";
        parse_setting(deserializer, expected, Self::parse)
    }
}
