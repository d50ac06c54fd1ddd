//! The rows of the keys of network sinks in the table of all keys: their forms, bounds and defaults.

use std::time::Duration;

use super::super::client::client_keys;
use super::super::key::{DefaultValue, Key, Reload, Values};
use crate::naming::Naming;

/// The values of `kind` for sinks that send numbers.
const NETWORK_KINDS: &[&str] = &["remote_write", "otlp", "open_falcon", "influx"];

/// The values of `naming`.
pub(super) const NAMING_NAMES: &[&str] = &["gauged", "node_exporter", "otel", "open_falcon"];

/// The keys that have a meaning with HTTP only.
pub(super) const HTTP_KEYS: [&str; 4] = ["token_file", "username", "password_file", "headers"];

/// The default of `timeout`: longer than a busy receiver needs for a request.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The least: a round trip to the other side of the world.
pub(super) const MIN_TIMEOUT: Duration = Duration::from_millis(500);

/// The most: one that takes longer will not respond.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The default of `spool_size`: a long weekend of 500 series at 10 s, at the 19 bytes a point of remote write.
pub(super) const DEFAULT_SPOOL_BYTES: u64 = 256 << 20;

/// The least: one segment.
pub(super) const MIN_SPOOL_BYTES: u64 = 1 << 20;

/// The most: a tebibyte is no limit.
pub(super) const MAX_SPOOL_BYTES: u64 = 1 << 40;

/// The default of `spool_age`: longer than a weekend and the days that a repair takes.
pub(super) const DEFAULT_SPOOL_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The least: a shorter outage is what memory is for.
pub(super) const MIN_SPOOL_AGE: Duration = Duration::from_secs(60);

/// The most: receivers refuse what is older.
pub(super) const MAX_SPOOL_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How many transfers there may be, and how many heartbeat servers: one is used at a time.
pub(super) const MAX_ENDPOINTS: usize = 32;

/// The longest label `job` or `instance`, and the longest user name.
pub(super) const MAX_TEXT_BYTES: usize = 256;

/// How many further headers there may be.
pub(super) const MAX_HEADERS: usize = 32;

/// How many bytes they may have together: receivers limit the head of a request to 8 KiB and more.
pub(super) const MAX_HEADER_BYTES: usize = 4 << 10;

/// The kinds of sinks that have a key of these.
pub(in super::super) fn kinds(name: &str) -> &'static [&'static str] {
    match name {
        "job" | "instance" => &["remote_write"],
        "transfers" | "heartbeat" => &["open_falcon"],
        _ => NETWORK_KINDS,
    }
}

/// Whether a key is one of these.
#[cfg(test)]
pub(in super::super) fn is_network_key(name: &str) -> bool {
    keys("").iter().any(|key| key.name == name)
}

/// The naming that a sink of a kind has by default.
pub(super) fn default_naming(kind: &str) -> Naming {
    match kind {
        "otlp" => Naming::Otel,
        "open_falcon" => Naming::OpenFalcon,
        _ => Naming::Gauged,
    }
}

/// The rows, in the order of the documents.
pub(in super::super) fn keys(table: &'static str) -> Vec<Key> {
    let key = |name, values, default, meaning| Key { table, name, values, default, meaning, reload: Reload::Applied };
    let depends = |how, example| DefaultValue::Depends { how, example };
    let mut keys = vec![
        key(
            "url",
            Values::Text("an `http://` or `https://` URL"),
            depends("none: it is required", "\"https://vm.example.org/api/v1/write\""),
            "the whole URL of the receiver, without a user; of kind `open_falcon` that of Nightingale's `/openfalcon/push`, or there are `transfers`",
        ),
        key(
            "naming",
            Values::Words(NAMING_NAMES),
            depends("`gauged`; of kind `otlp` `otel`, of kind `open_falcon` `open_falcon`", "\"node_exporter\""),
            "names of the series",
        ),
        key(
            "timeout",
            Values::Duration(MIN_TIMEOUT, MAX_TIMEOUT),
            DefaultValue::Duration(DEFAULT_TIMEOUT),
            "how long a request may take, from the look-up of the name to the end of the response",
        ),
        key(
            "token_file",
            Values::Text("an absolute path, or the name of a credential"),
            depends("none", "\"/etc/gauged/receiver-token\""),
            "file with a bearer token for the receiver; see [Secrets](#secrets)",
        ),
        key(
            "headers",
            Values::Table("a table of texts"),
            DefaultValue::EmptyTable,
            "further headers of every request, such as `{ \"X-Scope-OrgID\" = \"team\" }`",
        ),
    ];
    let inherited = "that of the table `client`";
    keys.extend(client_keys(table, inherited, inherited, inherited));
    keys.extend([
        key(
            "spool_size",
            Values::Size(MIN_SPOOL_BYTES, MAX_SPOOL_BYTES),
            DefaultValue::Size(DEFAULT_SPOOL_BYTES),
            "how much of the disk the requests have that wait for the receiver; beyond it the oldest are dropped",
        ),
        key(
            "spool_age",
            Values::Duration(MIN_SPOOL_AGE, MAX_SPOOL_AGE),
            DefaultValue::Duration(DEFAULT_SPOOL_AGE),
            "how old they get; older ones are dropped",
        ),
        key(
            "job",
            Values::Text("1 to 256 bytes"),
            depends("`node` in the naming `node_exporter`, otherwise `gauged`", "\"node\""),
            "of kind `remote_write`: the label `job`",
        ),
        key(
            "instance",
            Values::Text("1 to 256 bytes"),
            depends("the host name", "\"web-1:9100\""),
            "of kind `remote_write`: the label `instance`",
        ),
        key(
            "username",
            Values::Text("a text without `:`"),
            depends("none", "\"gauged\""),
            "user at the receiver; with `password_file`",
        ),
        key(
            "password_file",
            Values::Text("an absolute path, or the name of a credential"),
            depends("none", "\"/etc/gauged/receiver-password\""),
            "file with the password of this user",
        ),
        key(
            "transfers",
            Values::List("list of `HOST:PORT`"),
            depends("none: it is required, unless there is a `url`", "[\"10.0.0.1:8433\", \"10.0.0.2:8433\"]"),
            "of kind `open_falcon`: addresses of transfers, which speak JSON-RPC; one is used until it fails",
        ),
        key(
            "heartbeat",
            Values::List("list of `HOST:PORT`"),
            DefaultValue::EmptyList,
            "of kind `open_falcon`: addresses of heartbeat servers (hbs); with none there is no heartbeat",
        ),
    ]);
    keys
}
