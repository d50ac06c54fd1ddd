//! What is checked, as an operator writes it. Whether a URL or a header is right is for the agent to say, which sends it.

use std::fmt;

use gauged_plugin::Error;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

/// The most targets: at the longest time that a call may take, 60 s, each still has half a second if none answers.
const TARGETS: usize = 100;

/// The longest name or URL of a target: it is the value of a label.
const NAME_BYTES: usize = 1024;

/// The configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) targets: Vec<Target>,
}

/// What is fetched, and what has to come back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    name: Option<String>,
    pub(crate) url: String,
    #[serde(default = "get")]
    pub(crate) method: String,
    #[serde(default)]
    pub(crate) status: Statuses,
    pub(crate) contains: Option<String>,
    #[serde(default)]
    pub(crate) headers: Headers,
    pub(crate) timeout_ms: Option<u32>,
}

fn get() -> String {
    "GET".to_owned()
}

impl Target {
    /// What it is called in the output.
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.url)
    }
}

impl Settings {
    /// Whether they make sense, as far as their types do not say so.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.targets.is_empty() {
            return Err(Error::invalid("targets", "name what to check: targets = [{ url = \"http://localhost/\" }]"));
        }
        if self.targets.len() > TARGETS {
            let why =
                format!("there are more than {TARGETS}, for which a call has no time; check some from another host");
            return Err(Error::invalid("targets", why));
        }
        for (number, target) in self.targets.iter().enumerate() {
            let invalid = |key: &str, why: &str| Err(Error::invalid(&format!("targets[{number}].{key}"), why));
            if !target.url.starts_with("http://") && !target.url.starts_with("https://") {
                return invalid("url", "has to begin with http:// or https://");
            }
            if target.name().is_empty() || target.name().len() > NAME_BYTES {
                return invalid("name", "has to have 1 to 1024 characters; without a name it is the URL");
            }
            if self.targets.iter().take(number).any(|other| other.name() == target.name()) {
                return invalid("name", "is there twice; give each target a name of its own");
            }
            if target.contains.as_deref().is_some_and(str::is_empty) {
                return invalid("contains", "is empty, which every body contains; remove it");
            }
            if target.contains.is_some() && target.method == "HEAD" {
                return invalid("contains", "cannot be found: a response to HEAD has no body");
            }
            if target.timeout_ms == Some(0) {
                return invalid("timeout_ms", "is no time at all; write 1 or more, or remove it");
            }
        }
        Ok(())
    }
}

/// The statuses that are expected: `204`, or `"200-299"`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Statuses {
    first: u16,
    last: u16,
}

impl Default for Statuses {
    fn default() -> Self {
        Self { first: 200, last: 299 }
    }
}

impl Statuses {
    pub(crate) fn includes(&self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }

    /// As they are written.
    pub(crate) fn expected(&self) -> String {
        if self.first == self.last { self.first.to_string() } else { format!("{}-{}", self.first, self.last) }
    }

    fn new(first: u16, last: u16) -> Option<Self> {
        (100 <= first && first <= last && last <= 999).then_some(Self { first, last })
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AsWritten)
    }
}

/// Reads statuses from a number or a text.
struct AsWritten;

impl Visitor<'_> for AsWritten {
    type Value = Statuses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status such as 200, or a range such as \"200-299\"")
    }

    fn visit_u64<E: de::Error>(self, status: u64) -> Result<Statuses, E> {
        let statuses = u16::try_from(status).ok().and_then(|status| Statuses::new(status, status));
        statuses.ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(status), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Statuses, E> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let statuses = first.trim().parse().ok().zip(last.trim().parse().ok());
        let statuses = statuses.and_then(|(first, last)| Statuses::new(first, last));
        statuses.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// Names and values, in the order in which they are written.
#[derive(Debug, Default)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeadersAsWritten)
    }
}

/// Reads headers from a table.
struct HeadersAsWritten;

impl<'de> Visitor<'de> for HeadersAsWritten {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of headers: { accept = \"application/json\" }")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        let mut headers = Vec::new();
        while let Some(header) = map.next_entry()? {
            headers.push(header);
        }
        Ok(Headers(headers))
    }
}
