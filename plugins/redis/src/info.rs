//! The parser for the reply to INFO: lines of the form `name:value`. Releases differ in their fields: missing ones are left
//! out, unknown ones ignored.

use gauged_plugin::kernel::Number as _;
use gauged_plugin::rates::Rates;
use gauged_plugin::{Descriptor, Sample, Tick, percent};

gauged_plugin::metrics! {
    module "redis";
    /// Whether Redis replies to INFO.
    UP: gauge "up" in "1";
    /// Reason of the failure: `resolve`, `connect`, `timeout`, `closed`, `protocol`, `auth`, `loading`, `protected`,
    /// `busy`, `error`; left out while Redis is up.
    FAILURE: gauge "failure" in "1";
    /// Failed polls by reason, since the plugin started.
    FAILURES: counter "failures_total" in "1";
    /// Redis release.
    VERSION: gauge "version" in "1";
    /// `master` or `slave`, in Redis's words, or `sentinel`.
    ROLE: gauge "role" in "1";
    /// Whether the server is a master.
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
    /// Memory of the dataset.
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
    /// Replication offset: bytes written for replicas, or read as a replica.
    OFFSET: gauge "replication_offset_bytes" in "By" from "master_repl_offset";
    /// Whether a replica is connected to its master.
    LINK: gauge "master_link_up" in "1" from "master_link_status";
    /// Time since the last data from the master; left out on a master, and while not connected.
    LAST_IO: gauge "master_last_io_seconds" in "s" from "master_last_io_seconds_ago";
    /// Whether a replica is copying the master's whole dataset.
    SYNCING: gauge "master_sync_in_progress" in "1" from "master_sync_in_progress";
    /// Full synchronisations of replicas.
    FULL_SYNCS: counter "full_syncs_total" in "1" from "sync_full";
    /// Partial synchronisations of replicas.
    PARTIAL_SYNCS: counter "partial_syncs_total" in "1" from "sync_partial_ok";
    /// Partial synchronisations refused because the replica had missed too much.
    REFUSED_SYNCS: counter "partial_syncs_refused_total" in "1" from "sync_partial_err";
    /// Whether this replica receives the writes.
    REPLICA_ONLINE: gauge "replica_online" in "1";
    /// Replication offset confirmed by this replica.
    REPLICA_OFFSET: gauge "replica_offset_bytes" in "By";
    /// Time since the last message of this replica.
    REPLICA_LAG: gauge "replica_lag_seconds" in "s";

    /// CPU time of Redis in kernel mode.
    CPU_SYSTEM: counter "cpu_system_seconds_total" in "s" from "used_cpu_sys";
    /// CPU time of Redis in user mode.
    CPU_USER: counter "cpu_user_seconds_total" in "s" from "used_cpu_user";
    /// CPU time of the processes that write snapshots, in kernel mode.
    CPU_SYSTEM_CHILDREN: counter "cpu_system_children_seconds_total" in "s" from "used_cpu_sys_children";
    /// CPU time of the processes that write snapshots, in user mode.
    CPU_USER_CHILDREN: counter "cpu_user_children_seconds_total" in "s" from "used_cpu_user_children";

    /// Keys of a database.
    KEYS: gauge "keys" in "{key}";
    /// Keys of a database with an expiry.
    KEYS_EXPIRING: gauge "keys_expiring" in "{key}";
    /// Average time to live of expiring keys, as estimated by Redis; left out without any.
    KEYS_TTL: gauge "keys_average_ttl_seconds" in "s";
}

/// The most databases of one server: four times Redis's default. A faulty server could otherwise fill the sample.
pub(crate) const MAX_DATABASES: usize = 64;

/// The most replicas of one server, for the same reason. More than ten are rare, because each receives all writes.
pub(crate) const MAX_REPLICAS: usize = 32;

/// Sets the metrics of a server from its reply to INFO. Returns whether databases or replicas were left out because of the
/// limits. The first of duplicate lines counts.
///
/// # Errors
///
/// The reply is not one to INFO. No metric was set then.
pub(crate) fn measure(
    server: &str,
    text: &str,
    tick: Tick,
    lookups: &mut Rates<2>,
    sample: &mut Sample,
) -> Result<bool, String> {
    let info = Info { text };
    let version = info.get("redis_version").ok_or("the reply to INFO has no redis_version")?;
    // Parse all fields before setting any, so that an error leaves no partial metrics.
    let mut fields: Vec<(Descriptor, FieldValue)> = Vec::new();
    for (name, value) in info.lines() {
        let Some(&metric) = METRICS.iter().find(|metric| !name.is_empty() && metric.source == name) else { continue };
        // Real servers send no duplicates.
        if fields.iter().all(|(known, _)| *known != metric) {
            fields.push((metric, FieldValue::read(metric, value).ok_or_else(|| invalid_field(name, value))?));
        }
    }
    let number =
        |name| info.get(name).map(|value| u64::parse(value).ok_or_else(|| invalid_field(name, value))).transpose();
    let (used, most) = (number("used_memory")?, number("maxmemory")?);
    let (hits, misses, fork_us) = (number("keyspace_hits")?, number("keyspace_misses")?, number("latest_fork_usec")?);

    let labels = [("server", server)];
    let mut row = sample.labelled(&labels);
    row.set(UP, true).set(VERSION, version);
    let role = info.get("role");
    row.set(ROLE, role).set(MASTER, role.map(|role| role == "master"));
    for (metric, value) in fields {
        match value {
            FieldValue::Integer(value) => row.set(metric, value),
            FieldValue::Float(value) => row.set(metric, value),
            FieldValue::Boolean(value) => row.set(metric, value),
            FieldValue::Unknown => &mut row,
        };
    }
    row.set(USED_PERCENT, used.zip(most).and_then(|(used, most)| percent(used, most)));
    row.set(FORK, fork_us.map(|us| seconds(us, 1e6)));
    let change = hits.zip(misses).and_then(|(hits, misses)| lookups.change(tick, server, [hits, misses]));
    row.set(HIT_PERCENT, change.and_then(|change| percent(change.by[0], change.by[0].saturating_add(change.by[1]))));

    let (mut databases, mut replicas) = (UniqueNames::default(), UniqueNames::default());
    for (name, value) in info.lines() {
        if let Some(database) = index_of(name, "db") {
            if !databases.add(database.to_owned(), MAX_DATABASES) {
                continue;
            }
            let labels = [("server", server), ("db", database)];
            let mut row = sample.labelled(&labels);
            row.set(KEYS, field(value, "keys")).set(KEYS_EXPIRING, field(value, "expires"));
            let ttl_ms = field(value, "avg_ttl").filter(|&ttl_ms| ttl_ms > 0);
            row.set(KEYS_TTL, ttl_ms.map(|ms| seconds(ms, 1e3)));
        } else if index_of(name, "slave").is_some() {
            let (Some(ip), Some(port)) = (named(value, "ip"), named(value, "port")) else { continue };
            let replica = [ip, ":", port].concat();
            if !replicas.add(replica.clone(), MAX_REPLICAS) {
                continue;
            }
            let labels = [("server", server), ("replica", &*replica)];
            let mut row = sample.labelled(&labels);
            row.set(REPLICA_ONLINE, named(value, "state").map(|state| state == "online"));
            row.set(REPLICA_OFFSET, field(value, "offset")).set(REPLICA_LAG, field(value, "lag"));
        }
    }
    Ok(databases.is_full || replicas.is_full)
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
struct Info<'a> {
    text: &'a str,
}

impl<'a> Info<'a> {
    /// Names and values, without headings and empty lines.
    fn lines(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.text.lines().filter_map(|line| line.split_once(':'))
    }

    fn get(self, name: &str) -> Option<&'a str> {
        self.lines().find(|(other, _)| *other == name).map(|(_, value)| value)
    }
}

/// A parsed value. A field always has the same variant, except `Unknown`.
enum FieldValue {
    Integer(u64),
    Float(f64),
    Boolean(bool),
    /// No value yet, such as the time of a snapshot before the first one.
    Unknown,
}

impl FieldValue {
    fn read(metric: Descriptor, value: &str) -> Option<Self> {
        let has_fraction = metric.source.starts_with("used_cpu_") || metric.source.ends_with("_ratio");
        match value {
            "ok" | "up" => Some(Self::Boolean(true)),
            "err" | "down" => Some(Self::Boolean(false)),
            "-1" => Some(Self::Unknown),
            _ if has_fraction => f64::parse(value).map(Self::Float),
            _ => u64::parse(value).map(Self::Integer),
        }
    }
}

fn invalid_field(name: &str, value: &str) -> String {
    format!("the reply to INFO has an invalid value: {name}:{value}")
}

/// The index in `db0` or `slave12`.
fn index_of<'a>(name: &'a str, kind: &str) -> Option<&'a str> {
    name.strip_prefix(kind).filter(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The value of a name in `keys=3,expires=0`.
fn named<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
}

fn field(value: &str, name: &str) -> Option<u64> {
    u64::parse(named(value, name)?)
}

#[allow(clippy::cast_precision_loss, reason = "exact for 285 years")]
fn seconds(count: u64, a_second: f64) -> f64 {
    count as f64 / a_second
}
