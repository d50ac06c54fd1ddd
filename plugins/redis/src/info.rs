//! The parser for the reply to INFO: lines of the form `name:value`. Releases, and the servers that speak Redis's protocol,
//! differ in their fields: missing ones are left out, unknown ones ignored. A value that is impossible or not understood
//! costs its own metric only, so parsing cannot fail.

use std::time::Duration;

use gauged_plugin::rates::Rates;
use gauged_plugin::service::figure;
use gauged_plugin::{Descriptor, Sample, Tick, Value, percent};

gauged_plugin::metrics! {
    module "redis" by {"server": "Address of the server"};
    /// Whether Redis replies to INFO.
    UP: gauge "up" in "1";
    /// Reason of the failure: `address` (the agent rejects it), `resolve`, `connect`, `permission`, `closed`, `tls`, `timeout`,
    /// `protocol`, `auth`, `loading`, `protected`, `busy`, `error`; left out while Redis is up.
    FAILURE: gauge "failure" in "1";
    /// Failed polls by reason, since the plugin started.
    FAILURES: counter "failures_total" in "1" by {"reason": "A word of `failure`"} since plugin;
    /// Redis release.
    VERSION: gauge "version" in "1";
    /// `master`, `slave`, `sentinel`, or another word of the server.
    ROLE: gauge "role" in "1";
    /// Whether the server is a master; left out for roles that are neither, such as KeyDB's `active-replica`.
    MASTER: gauge "master" in "1";
    /// Time since Redis started; falls when it restarts.
    UPTIME: gauge "uptime_seconds" in "s" from "uptime_in_seconds";

    /// Client connections, without those of replicas.
    CLIENTS: gauge "connected_clients" in "{client}" from "connected_clients";
    /// Clients waiting in a blocking command.
    BLOCKED: gauge "blocked_clients" in "{client}" from "blocked_clients";
    /// Limit of clients; not reported before release 6.
    MAX_CLIENTS: gauge "max_clients" in "{client}" from "maxclients";

    /// Memory allocated by Redis.
    USED: gauge "memory_used_bytes" in "By" from "used_memory";
    /// Peak of the allocated memory since Redis started.
    PEAK: gauge "memory_peak_bytes" in "By" from "used_memory_peak";
    /// Resident memory of the process.
    RESIDENT: gauge "memory_rss_bytes" in "By" from "used_memory_rss";
    /// Memory of the dataset; left out where Redis's difference is impossible.
    DATASET: gauge "memory_dataset_bytes" in "By" from "used_memory_dataset";
    /// Limit of allocated memory; 0 without a limit.
    MAX_MEMORY: gauge "memory_max_bytes" in "By" from "maxmemory";
    /// Allocated memory as a share of its limit; left out without a limit.
    USED_PERCENT: gauge "memory_used_percent" in "%";
    /// Resident memory divided by allocated memory; well above 1 is fragmentation, below 1 is swap.
    FRAGMENTATION: gauge "memory_fragmentation_ratio" in "1" from "mem_fragmentation_ratio";

    /// Whether the dataset is being loaded from disk.
    LOADING: gauge "loading" in "1" from "loading";
    /// Changes since the last snapshot.
    CHANGES: gauge "rdb_changes_since_last_save" in "{change}" from "rdb_changes_since_last_save";
    /// Time of the last complete snapshot, in seconds since the Unix epoch.
    LAST_SAVE: gauge "rdb_last_save_timestamp_seconds" in "s" from "rdb_last_save_time";
    /// Whether a snapshot is being written.
    SAVING: gauge "rdb_bgsave_in_progress" in "1" from "rdb_bgsave_in_progress";
    /// Duration of the last snapshot; left out before the first.
    SAVE_SECONDS: gauge "rdb_last_bgsave_seconds" in "s" from "rdb_last_bgsave_time_sec";
    /// Whether the last snapshot succeeded.
    SAVE_OK: gauge "rdb_last_bgsave_ok" in "1" from "rdb_last_bgsave_status";
    /// Whether the append-only file is enabled.
    AOF: gauge "aof_enabled" in "1" from "aof_enabled";
    /// Whether the append-only file is being rewritten.
    REWRITING: gauge "aof_rewrite_in_progress" in "1" from "aof_rewrite_in_progress";
    /// Size of the append-only file.
    AOF_SIZE: gauge "aof_size_bytes" in "By" from "aof_current_size";
    /// Whether the last rewrite of the append-only file succeeded.
    REWRITE_OK: gauge "aof_last_rewrite_ok" in "1" from "aof_last_bgrewrite_status";
    /// Whether the last write to the append-only file succeeded.
    WRITE_OK: gauge "aof_last_write_ok" in "1" from "aof_last_write_status";
    /// Duration of the last fork, during which no client is served.
    FORK: gauge "latest_fork_seconds" in "s";

    /// Accepted connections.
    CONNECTIONS: counter "connections_received_total" in "{connection}" from "total_connections_received";
    /// Connections rejected by the limit of clients.
    REJECTED: counter "connections_rejected_total" in "{connection}" from "rejected_connections";
    /// Processed commands.
    COMMANDS: counter "commands_processed_total" in "{command}" from "total_commands_processed";
    /// Commands per second over the last 1.6 s, by Redis's own count.
    COMMAND_RATE: gauge "commands_per_second" in "{command}/s" from "instantaneous_ops_per_sec";
    /// Error replies; not reported before release 6.2.
    ERRORS: counter "error_replies_total" in "{command}" from "total_error_replies";
    /// Bytes read from the network.
    INPUT: counter "net_input_bytes_total" in "By" from "total_net_input_bytes";
    /// Bytes written to the network.
    OUTPUT: counter "net_output_bytes_total" in "By" from "total_net_output_bytes";
    /// Keys removed because they expired.
    EXPIRED: counter "expired_keys_total" in "{key}" from "expired_keys";
    /// Keys evicted for lack of memory.
    EVICTED: counter "evicted_keys_total" in "{key}" from "evicted_keys";
    /// Lookups of existing keys.
    HITS: counter "keyspace_hits_total" in "{key}" from "keyspace_hits";
    /// Lookups of missing keys.
    MISSES: counter "keyspace_misses_total" in "{key}" from "keyspace_misses";
    /// Share of the tick's lookups that found the key; left out without lookups.
    HIT_PERCENT: gauge "keyspace_hit_percent" in "%";
    /// Channels with subscribers.
    CHANNELS: gauge "pubsub_channels" in "{channel}" from "pubsub_channels";
    /// Channel patterns with subscribers.
    PATTERNS: gauge "pubsub_patterns" in "{pattern}" from "pubsub_patterns";

    /// Connected replicas.
    REPLICAS: gauge "connected_replicas" in "{replica}" from "connected_slaves";
    /// Replication offset: bytes written for replicas, or read as a replica. Left out for servers that count otherwise.
    OFFSET: gauge "replication_offset_bytes" in "By" from "master_repl_offset";
    /// Whether a replica is connected to its master, or to all of its masters.
    LINK: gauge "master_link_up" in "1" from "master_link_status";
    /// Time since the last data from the master, the longest of several; left out on a master, and while not connected.
    LAST_IO: gauge "master_last_io_seconds" in "s" from "master_last_io_seconds_ago";
    /// Whether a replica is copying a master's whole dataset.
    SYNCING: gauge "master_sync_in_progress" in "1" from "master_sync_in_progress";
    /// Full synchronisations of replicas.
    FULL_SYNCS: counter "full_syncs_total" in "1" from "sync_full";
    /// Partial synchronisations of replicas.
    PARTIAL_SYNCS: counter "partial_syncs_total" in "1" from "sync_partial_ok";
    /// Partial synchronisations refused because the replica had missed too much.
    REFUSED_SYNCS: counter "partial_syncs_refused_total" in "1" from "sync_partial_err";
    /// Whether this replica receives the writes; left out where the server does not report its state.
    REPLICA_ONLINE: gauge "replica_online" in "1" by {"replica": "Address of the replica"};
    /// Replication offset confirmed by this replica.
    REPLICA_OFFSET: gauge "replica_offset_bytes" in "By" by {"replica": "Address of the replica"};
    /// Time since the last message of this replica; left out for servers whose lag is no time.
    REPLICA_LAG: gauge "replica_lag_seconds" in "s" by {"replica": "Address of the replica"};

    /// CPU time of Redis in kernel mode.
    CPU_SYSTEM: counter "cpu_system_seconds_total" in "s" from "used_cpu_sys";
    /// CPU time of Redis in user mode.
    CPU_USER: counter "cpu_user_seconds_total" in "s" from "used_cpu_user";
    /// CPU time of the processes that write snapshots, in kernel mode.
    CPU_SYSTEM_CHILDREN: counter "cpu_system_children_seconds_total" in "s" from "used_cpu_sys_children";
    /// CPU time of the processes that write snapshots, in user mode.
    CPU_USER_CHILDREN: counter "cpu_user_children_seconds_total" in "s" from "used_cpu_user_children";

    /// Keys of a database.
    KEYS: gauge "keys" in "{key}" by {"db": "Number of the database"};
    /// Keys of a database with an expiry.
    KEYS_EXPIRING: gauge "keys_expiring" in "{key}" by {"db": "Number of the database"};
    /// Average time to live of expiring keys, as estimated by Redis; left out without any.
    KEYS_TTL: gauge "keys_average_ttl_seconds" in "s" by {"db": "Number of the database"};
}

/// The most databases of one server: four times Redis's default. A faulty server could otherwise fill the sample.
pub(crate) const MAX_DATABASES: usize = 64;

/// The most replicas of one server, for the same reason. More than ten are rare, because each receives all writes.
pub(crate) const MAX_REPLICAS: usize = 32;

/// A reply to INFO, beside its metrics.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured<'a> {
    /// Whether databases or replicas were left out because of the limits.
    pub(crate) has_more: bool,
    /// The fields with values that are impossible or not understood.
    pub(crate) left_out: Vec<(&'a str, &'a str)>,
}

impl<'a> Measured<'a> {
    /// A parsed value. One that is not understood is left out, and noted unless it stands for none.
    fn keep<T>(&mut self, field: &'a str, text: &'a str, parsed: Option<T>) -> Option<T> {
        if parsed.is_none() && !figure::is_absent(text) {
            self.left_out.push((field, text));
        }
        parsed
    }

    /// The value of a name in the parts of a field, if it has such a part.
    fn keep_segment<T>(
        &mut self,
        field: &'a str,
        value: &'a str,
        name: &str,
        parse: fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = named(value, name)?;
        let parsed = parse(text);
        if parsed.is_none() && !figure::is_absent(text) {
            self.left_out.extend(segment(value, name).map(|segment| (field, segment)));
        }
        parsed
    }
}

/// The field with the duration of the last fork.
const LATEST_FORK: &str = "latest_fork_usec";

/// Sets the metrics of a server from its reply to INFO.
pub(crate) fn measure<'a>(
    server: &str,
    text: &'a str,
    tick: Tick,
    lookups: &mut Rates<2>,
    sample: &mut Sample,
) -> Measured<'a> {
    let info = Info(text);
    let mut measured = Measured::default();
    let mut fields = Fields::default();
    for (field, value) in info.lines() {
        let name = without_master_number(field);
        let Some(&metric) = METRICS.iter().find(|metric| !name.is_empty() && metric.source == name) else { continue };
        let read = read_value(metric, value);
        if read.is_none() && !figure::is_absent(value) {
            measured.left_out.push((field, value));
        }
        fields.add(metric, read);
    }
    let used = fields.integer(USED);
    if fields.integer(DATASET).zip(used).is_some_and(|(dataset, used)| dataset > used) {
        // Redis subtracts its overhead from the memory in use, and the difference of a 32-bit server wraps within the bounds.
        measured.left_out.extend(info.get(DATASET.source).map(|value| (DATASET.source, value)));
        fields.remove(DATASET);
    }
    let units = Units::reported(info);
    if !units.has_byte_offsets {
        fields.remove(OFFSET);
    }

    let mut row = sample.labelled(&[("server", server)]);
    row.set(VERSION, info.get("redis_version").and_then(figure::word));
    let role = info.get("role").and_then(figure::word);
    row.set(ROLE, role).set(MASTER, role.and_then(is_master));
    for (metric, value) in &fields.values {
        row.set(*metric, value.clone());
    }
    let most = fields.integer(MAX_MEMORY);
    row.set(USED_PERCENT, used.zip(most).and_then(|(used, most)| percent(used, most)));
    let fork = info.get(LATEST_FORK).and_then(|text| measured.keep(LATEST_FORK, text, figure::count(text)));
    row.set(FORK, fork.map(Duration::from_micros));
    let change = fields.integer(HITS).zip(fields.integer(MISSES));
    let change = change.and_then(|(hits, misses)| lookups.change(tick, server, [hits, misses]));
    row.set(HIT_PERCENT, change.and_then(|change| percent(change.by[0], change.by[0].saturating_add(change.by[1]))));

    let (mut databases, mut replicas) = (UniqueNames::default(), UniqueNames::default());
    for (name, value) in info.lines() {
        if let Some(database) = index_of(name, "db") {
            if !databases.add(database.to_owned(), MAX_DATABASES) {
                continue;
            }
            let mut row = sample.labelled(&[("server", server), ("db", database)]);
            if segment(value, "keys").is_none() {
                measured.left_out.push((name, value));
            }
            let mut count = |key| measured.keep_segment(name, value, key, figure::count);
            row.set(KEYS, count("keys")).set(KEYS_EXPIRING, count("expires"));
            let ttl_ms = count("avg_ttl").filter(|&ttl_ms| ttl_ms > 0);
            row.set(KEYS_TTL, ttl_ms.map(Duration::from_millis));
        } else if index_of(name, "slave").is_some() {
            let Some(replica) = Replica::parse(value) else {
                measured.left_out.push((name, value));
                continue;
            };
            if !replicas.add(replica.address.clone(), MAX_REPLICAS) {
                continue;
            }
            let mut row = sample.labelled(&[("server", server), ("replica", &*replica.address)]);
            let is_online = replica.state.and_then(|word| measured.keep(name, word, state(word)));
            row.set(REPLICA_ONLINE, is_online);
            if units.has_byte_offsets {
                row.set(REPLICA_OFFSET, measured.keep_segment(name, value, "offset", figure::count));
            }
            if units.has_lag_in_seconds {
                row.set(REPLICA_LAG, measured.keep_segment(name, value, "lag", figure::seconds));
            }
        }
    }
    measured.has_more = databases.is_full || replicas.is_full;
    measured
}

/// A set of names with a limit.
#[derive(Default)]
struct UniqueNames {
    names: Vec<String>,
    /// Whether the limit was exceeded.
    is_full: bool,
}

impl UniqueNames {
    /// Adds a name; false if it is a duplicate or exceeds the limit.
    fn add(&mut self, name: String, most: usize) -> bool {
        if self.names.contains(&name) {
            return false;
        }
        self.is_full |= self.names.len() >= most;
        if !self.is_full {
            self.names.push(name);
        }
        !self.is_full
    }
}

/// The lines of a reply.
#[derive(Clone, Copy)]
struct Info<'a>(&'a str);

impl<'a> Info<'a> {
    /// Names and values, without headings and empty lines.
    fn lines(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let lines = self.0.lines().filter_map(|line| line.split_once(':'));
        lines.map(|(name, value)| (name.trim_ascii(), value.trim_ascii()))
    }

    fn get(self, name: &str) -> Option<&'a str> {
        self.lines().find(|(other, _)| *other == name).map(|(_, value)| value)
    }
}

/// The units of figures that have other ones in servers derived from Redis's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Units {
    /// Whether the lag of a replica is a time. Others count operations or bytes by which it is behind.
    has_lag_in_seconds: bool,
    /// Whether replication offsets are bytes. Kvrocks counts operations.
    has_byte_offsets: bool,
}

impl Units {
    fn reported(info: Info<'_>) -> Self {
        let is = |field| info.get(field).is_some();
        let is_kvrocks = is("kvrocks_version");
        let has_other_lag = is_kvrocks || is("dragonfly_version") || is("garnet_version") || is("pika_version");
        Self { has_lag_in_seconds: !has_other_lag, has_byte_offsets: !is_kvrocks }
    }
}

/// Parses the value of a field. `None` if the server has none yet, such as the time of a snapshot before the first one,
/// or if it is impossible or not understood.
fn read_value(metric: Descriptor, value: &str) -> Option<Value> {
    let source = metric.source;
    match source {
        "uptime_in_seconds" | "rdb_last_bgsave_time_sec" | "master_last_io_seconds_ago" => {
            figure::seconds(value).map(Value::Natural)
        }
        "connected_clients" | "blocked_clients" | "connected_slaves" => figure::open(value).map(Value::Natural),
        "loading" | "aof_enabled" => flag(value),
        _ if source.ends_with("_in_progress") => flag(value),
        _ if source.ends_with("_status") => state(value).map(Value::Boolean),
        _ if source.starts_with("used_cpu_") || source.ends_with("_ratio") => figure::decimal(value).map(Value::Number),
        _ => figure::count(value).map(Value::Natural),
    }
}

/// The value for two masters of one server: the worse one. `None` is unknown.
fn worse(metric: Descriptor, values: [Option<Value>; 2]) -> Option<Value> {
    let is_worst = |value: &Option<Value>| match value {
        Some(Value::Boolean(is_up)) => !is_up,
        Some(Value::Natural(flag)) => metric == SYNCING && *flag > 0,
        _ => false,
    };
    match values {
        [worst, _] | [_, worst] if is_worst(&worst) => worst,
        [Some(Value::Natural(first)), Some(Value::Natural(second))] => Some(Value::Natural(first.max(second))),
        [Some(first), Some(_)] => Some(first),
        _ => None,
    }
}

/// The fields that were read, in the server's order.
#[derive(Default)]
struct Fields {
    values: Vec<(Descriptor, Option<Value>)>,
}

impl Fields {
    /// Adds a field. Of duplicates the first that is understood counts, except those of several masters.
    fn add(&mut self, metric: Descriptor, value: Option<Value>) {
        match self.values.iter_mut().find(|(known, _)| *known == metric) {
            None => self.values.push((metric, value)),
            Some((_, known)) if [LINK, LAST_IO, SYNCING].contains(&metric) => {
                *known = worse(metric, [known.take(), value]);
            }
            Some((_, known)) => *known = known.take().or(value),
        }
    }

    fn integer(&self, metric: Descriptor) -> Option<u64> {
        match self.values.iter().find(|(known, _)| *known == metric) {
            Some((_, Some(Value::Natural(value)))) => Some(*value),
            _ => None,
        }
    }

    fn remove(&mut self, metric: Descriptor) {
        self.values.retain(|(known, _)| *known != metric);
    }
}

/// A replica in its master's reply.
struct Replica<'a> {
    address: String,
    /// The word for its state.
    state: Option<&'a str>,
}

impl<'a> Replica<'a> {
    /// Parses `ip=10.0.0.1,port=6379,state=online,offset=1,lag=0`, or `10.0.0.1,6379,online` of releases before 2.8.
    fn parse(value: &'a str) -> Option<Self> {
        let mut unnamed = value.split(',').filter(|text| !text.contains('='));
        let mut field = |name| named(value, name).or_else(|| unnamed.next()).and_then(figure::word);
        let (host, port, state) = (field("ip")?, field("port")?, field("state"));
        Some(Self { address: [host, ":", port].concat(), state })
    }
}

/// `master_link_status` for `master_1_link_status`: servers with several masters number them.
fn without_master_number(name: &str) -> &str {
    let Some(rest) = name.strip_prefix("master_").filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    else {
        return name;
    };
    let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    [LINK, LAST_IO, SYNCING]
        .iter()
        .map(|metric| metric.source)
        .find(|source| source.strip_prefix("master") == Some(rest))
        .unwrap_or(name)
}

/// Whether a role is that of a master; `None` for one that is neither.
fn is_master(role: &str) -> Option<bool> {
    if role.eq_ignore_ascii_case("master") {
        return Some(true);
    }
    let is_other = ["slave", "replica", "sentinel"].iter().any(|other| role.eq_ignore_ascii_case(other));
    is_other.then_some(false)
}

/// Whether a state is a good one. `None` for a word that is not known.
fn state(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "ok" | "up" | "online" | "connected" | "stable_sync" | "stable sync" => Some(true),
        "err"
        | "error"
        | "fail"
        | "failed"
        | "down"
        | "offline"
        | "disconnected"
        | "connect"
        | "connecting"
        | "handshake"
        | "sync"
        | "wait_bgsave"
        | "send_bulk"
        | "send_bulk_and_stream"
        | "preparation"
        | "full_sync" => Some(false),
        _ => None,
    }
}

/// 0 or 1.
fn flag(value: &str) -> Option<Value> {
    figure::count(value).filter(|&flag| flag <= 1).map(Value::Natural)
}

/// The index in `db0` or `slave12`.
fn index_of<'a>(name: &'a str, kind: &str) -> Option<&'a str> {
    let number = figure::word(name.strip_prefix(kind)?)?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(number)
}

/// The part with a name in `keys=3,expires=0`.
fn segment<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let is_named = |field: &&str| field.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
    value.split(',').map(str::trim_ascii).find(is_named)
}

/// The value of a name in `keys=3,expires=0`.
fn named<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    segment(value, name)?.strip_prefix(name)?.strip_prefix('=')
}
