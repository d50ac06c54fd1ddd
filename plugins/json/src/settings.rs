//! The settings: documents, their sources, and the metrics of each.

mod check;

use std::collections::BTreeMap;

use serde::Deserialize;

gauged_plugin::settings! {
    /// Documents to read, at most 100 with all their sources.
    "documents": "list of tables" = "[]";
    /// URLs (`http`, `https`) that return the document, and paths of files that contain it. Each needs a grant: `fetch` of its origin, or `read`.
    "documents[].sources": "list of texts", required;
    /// The module of the metrics.
    "documents[].module": "text" = "\"json\"";
    /// The path of a unix socket to connect to. The URLs have the host to name and the path to ask for.
    "documents[].unix_socket": "text";
    /// Headers of the request by name; `accept` is `application/json` unless it is among them.
    "documents[].headers": "table of texts" = "{}";
    /// The value of a header.
    "documents[].headers.*": "text", secret;
    /// The user of a server that asks for one (basic authentication).
    "documents[].user": "text";
    /// The password of the user.
    "documents[].password": "text", secret;
    /// The body of the request, which is then a `POST`.
    "documents[].body": "text";
    /// The statuses of a response that has the document.
    "documents[].statuses": "list of integers" = "[200]";
    /// The time limit in milliseconds; the source's share of the call's time without it.
    "documents[].timeout_ms": "integer";
    /// What becomes a metric, at most 1,000 of all documents.
    "documents[].metrics": "list of tables", required;
    /// The path of the value: keys with points between them, `[0]` for an element, `*` for all, `{name}` for all with the label `name`.
    "documents[].metrics[].path": "text", required;
    /// The name: letters, digits and underscores, the unit last; made of the last key of the path without it.
    "documents[].metrics[].name": "text";
    /// The kind: `gauge`, `counter`, `info` (1 with the text in the label `value`) or `text` (in JSON outputs only).
    "documents[].metrics[].kind": "text" = "\"gauge\"";
    /// The unit in UCUM: `By`, `s`, `%`, `{request}`.
    "documents[].metrics[].unit": "text" = "\"1\"";
    /// One sentence on the meaning of a rising value; without it, that the value is at this path.
    "documents[].metrics[].description": "text";
    /// Labels, with the paths of their values. The stars of such a path stand for what those of the metric's path stand for.
    "documents[].metrics[].labels": "table of texts" = "{}";
    /// The path of a label's value.
    "documents[].metrics[].labels.*": "text";
    /// Numbers for texts: `{ green = 0, yellow = 1, red = 2 }`.
    "documents[].metrics[].values": "table of numbers" = "{}";
    /// The number for a text.
    "documents[].metrics[].values.*": "number";
    /// A number to multiply values by, such as 0.001 for milliseconds, which makes seconds of them.
    "documents[].metrics[].scale": "number";
    /// Whether a document may lack the value, so that its absence is not reported.
    "documents[].metrics[].optional": "boolean" = "false";
}

/// The configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    documents: Vec<DocumentSettings>,
}

/// A document, which several sources may have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentSettings {
    sources: Vec<String>,
    module: String,
    unix_socket: Option<String>,
    headers: BTreeMap<String, String>,
    user: Option<String>,
    password: Option<String>,
    body: Option<String>,
    statuses: Vec<u16>,
    timeout_ms: Option<u32>,
    metrics: Vec<MetricSettings>,
}

/// A metric of a document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricSettings {
    path: String,
    name: Option<String>,
    kind: Kind,
    unit: String,
    description: Option<String>,
    labels: BTreeMap<String, String>,
    values: BTreeMap<String, f64>,
    scale: Option<f64>,
    optional: bool,
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A number that goes up and down, or true and false.
    Gauge,
    /// A number that only grows.
    Counter,
    /// A text as a label of the value 1.
    Info,
    /// A text, which numeric outputs leave out.
    Text,
}

/// How a document is fetched.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    pub(crate) unix_socket: Option<String>,
    /// Values by name.
    pub(crate) headers: BTreeMap<String, String>,
    /// The user and the password.
    pub(crate) login: Option<(String, String)>,
    pub(crate) body: Option<String>,
    pub(crate) statuses: Vec<u16>,
    pub(crate) timeout_ms: Option<u32>,
}
