//! What Redis answers to INFO, turned into metrics: a line a figure, `name:value`. Releases differ in what they have; what
//! is not there is left out, and what is not known is passed over.

use gauged_plugin::kernel::Number as _;
use gauged_plugin::rates::Rates;
use gauged_plugin::{Descriptor, Sample, Tick, percent};

gauged_plugin::metrics! {
    module "redis";
    /// Whether it answers with its figures.
    UP: gauge "up" in "1";
    /// Why it is down: `resolve`, `connect`, `timeout`, `closed`, `protocol`, `auth`, `loading`, `protected`, `busy`, `error`; left out while it is up.
    FAILURE: gauge "failure" in "1";
    /// How often it was down for that reason, since the plugin was started.
    FAILURES: counter "failures_total" in "1";
    /// Its release.
    VERSION: gauge "version" in "1";
    /// `master` or `slave`, in Redis's words; `sentinel`.
    ROLE: gauge "role" in "1";
    /// Whether it is a master.
    MASTER: gauge "master" in "1";
    /// Time since it was started; falls when it restarts.
    UPTIME: gauge "uptime_seconds" in "s" from "uptime_in_seconds";

    /// Client connections, those of replicas not included.
    CLIENTS: gauge "connected_clients" in "{client}" from "connected_clients";
    /// Clients that wait in a blocking command.
    BLOCKED: gauge "blocked_clients" in "{client}" from "blocked_clients";
    /// How many clients there may be; not told before release 6.
    MAX_CLIENTS: gauge "max_clients" in "{client}" from "maxclients";

    /// Memory that it has allocated.
    USED: gauge "memory_used_bytes" in "By" from "used_memory";
    /// Memory that it has at most allocated since it was started.
    PEAK: gauge "memory_peak_bytes" in "By" from "used_memory_peak";
    /// Memory that its process has, as the operating system sees it.
    RESIDENT: gauge "memory_rss_bytes" in "By" from "used_memory_rss";
    /// Memory that its data takes.
    DATASET: gauge "memory_dataset_bytes" in "By" from "used_memory_dataset";
    /// Memory that it may allocate; 0 where there is no limit.
    MAX_MEMORY: gauge "memory_max_bytes" in "By" from "maxmemory";
    /// Allocated memory as a share of what it may allocate; left out where there is no limit.
    USED_PERCENT: gauge "memory_used_percent" in "%";
    /// Its process's memory divided by what it has allocated; well above 1 is fragmentation, below 1 is swap.
    FRAGMENTATION: gauge "memory_fragmentation_ratio" in "1" from "mem_fragmentation_ratio";

    /// Whether it is reading its data from disk.
    LOADING: gauge "loading" in "1" from "loading";
    /// Changes that are not in a snapshot.
    CHANGES: gauge "rdb_changes_since_last_save" in "{change}" from "rdb_changes_since_last_save";
    /// When the last snapshot was complete, in seconds since the Unix epoch.
    LAST_SAVE: gauge "rdb_last_save_timestamp_seconds" in "s" from "rdb_last_save_time";
    /// Whether a snapshot is being written.
    SAVING: gauge "rdb_bgsave_in_progress" in "1" from "rdb_bgsave_in_progress";
    /// How long the last snapshot took; left out before the first.
    SAVE_SECONDS: gauge "rdb_last_bgsave_seconds" in "s" from "rdb_last_bgsave_time_sec";
    /// Whether the last snapshot could be written.
    SAVE_OK: gauge "rdb_last_bgsave_ok" in "1" from "rdb_last_bgsave_status";
    /// Whether each change is appended to a file.
    AOF: gauge "aof_enabled" in "1" from "aof_enabled";
    /// Whether that file is being rewritten.
    REWRITING: gauge "aof_rewrite_in_progress" in "1" from "aof_rewrite_in_progress";
    /// The size of that file.
    AOF_SIZE: gauge "aof_size_bytes" in "By" from "aof_current_size";
    /// Whether that file could last be rewritten.
    REWRITE_OK: gauge "aof_last_rewrite_ok" in "1" from "aof_last_bgrewrite_status";
    /// Whether that file could last be appended to.
    WRITE_OK: gauge "aof_last_write_ok" in "1" from "aof_last_write_status";
    /// How long the last fork took, during which nobody was served.
    FORK: gauge "latest_fork_seconds" in "s";

    /// Connections that were accepted.
    CONNECTIONS: counter "connections_received_total" in "{connection}" from "total_connections_received";
    /// Connections that were refused because there were as many as there may be.
    REJECTED: counter "connections_rejected_total" in "{connection}" from "rejected_connections";
    /// Commands.
    COMMANDS: counter "commands_processed_total" in "{command}" from "total_commands_processed";
    /// Commands in a second, as Redis itself sees it: over the last 1.6 s.
    COMMAND_RATE: gauge "commands_per_second" in "{command}/s" from "instantaneous_ops_per_sec";
    /// Commands that were answered with an error; not told before release 6.2.
    ERRORS: counter "error_replies_total" in "{command}" from "total_error_replies";
    /// What was read from the network.
    INPUT: counter "net_input_bytes_total" in "By" from "total_net_input_bytes";
    /// What was written to the network.
    OUTPUT: counter "net_output_bytes_total" in "By" from "total_net_output_bytes";
    /// Keys that were removed because their time was over.
    EXPIRED: counter "expired_keys_total" in "{key}" from "expired_keys";
    /// Keys that were removed because there was no memory left for others.
    EVICTED: counter "evicted_keys_total" in "{key}" from "evicted_keys";
    /// Keys that were looked up and were there.
    HITS: counter "keyspace_hits_total" in "{key}" from "keyspace_hits";
    /// Keys that were looked up and were not there.
    MISSES: counter "keyspace_misses_total" in "{key}" from "keyspace_misses";
    /// Share of the keys looked up over the last tick that were there; left out where none was.
    HIT_PERCENT: gauge "keyspace_hit_percent" in "%";
    /// Channels that somebody listens to.
    CHANNELS: gauge "pubsub_channels" in "{channel}" from "pubsub_channels";
    /// Patterns of channels that somebody listens to.
    PATTERNS: gauge "pubsub_patterns" in "{pattern}" from "pubsub_patterns";

    /// Replicas that are connected to it.
    REPLICAS: gauge "connected_replicas" in "{replica}" from "connected_slaves";
    /// How much it has written for its replicas, or read as one.
    OFFSET: gauge "replication_offset_bytes" in "By" from "master_repl_offset";
    /// Whether it is connected to its master; only of a replica.
    LINK: gauge "master_link_up" in "1" from "master_link_status";
    /// Since when its master has said nothing; left out while it is not connected, and of a master.
    LAST_IO: gauge "master_last_io_seconds" in "s" from "master_last_io_seconds_ago";
    /// Whether it is copying all data of its master.
    SYNCING: gauge "master_sync_in_progress" in "1" from "master_sync_in_progress";
    /// Replicas that were sent all data.
    FULL_SYNCS: counter "full_syncs_total" in "1" from "sync_full";
    /// Replicas that were sent only what they had missed.
    PARTIAL_SYNCS: counter "partial_syncs_total" in "1" from "sync_partial_ok";
    /// Replicas that had missed too much for that.
    REFUSED_SYNCS: counter "partial_syncs_refused_total" in "1" from "sync_partial_err";
    /// Whether this replica is served what is written.
    REPLICA_ONLINE: gauge "replica_online" in "1";
    /// How much of what was written this replica has said to have.
    REPLICA_OFFSET: gauge "replica_offset_bytes" in "By";
    /// Since when this replica has said nothing.
    REPLICA_LAG: gauge "replica_lag_seconds" in "s";

    /// Time that it has spent in the kernel.
    CPU_SYSTEM: counter "cpu_system_seconds_total" in "s" from "used_cpu_sys";
    /// Time that it has spent outside the kernel.
    CPU_USER: counter "cpu_user_seconds_total" in "s" from "used_cpu_user";
    /// Time that those who write its snapshots have spent in the kernel.
    CPU_SYSTEM_CHILDREN: counter "cpu_system_children_seconds_total" in "s" from "used_cpu_sys_children";
    /// Time that those who write its snapshots have spent outside the kernel.
    CPU_USER_CHILDREN: counter "cpu_user_children_seconds_total" in "s" from "used_cpu_user_children";

    /// Keys of a database.
    KEYS: gauge "keys" in "{key}";
    /// Keys of a database whose time will be over.
    KEYS_EXPIRING: gauge "keys_expiring" in "{key}";
    /// How long these have on average, as Redis estimates it; left out where there are none.
    KEYS_TTL: gauge "keys_average_ttl_seconds" in "s";
}

/// The most databases of a server that are told: four times as many as Redis has unless it is configured otherwise. A
/// server says how many there are, and one that lies would fill the sample.
pub(crate) const DATABASES: usize = 64;

/// The most replicas of a server that are told, for the same reason: each takes all that is written, so few have even ten.
pub(crate) const LISTED_REPLICAS: usize = 32;

/// Measures what an answer says of a server, and answers whether databases or replicas were left out because there are
/// more than are told. Of one that is there twice the first counts.
///
/// # Errors
///
/// Why it is not an answer to INFO. Then nothing was measured.
pub(crate) fn measure(
    server: &str,
    text: &str,
    tick: Tick,
    lookups: &mut Rates<2>,
    sample: &mut Sample,
) -> Result<bool, String> {
    let info = Info { text };
    let version = info.get("redis_version").ok_or("INFO is answered without a redis_version")?;
    // All is read before any of it is set: what is wrong at the end spoils what comes before it.
    let mut figures: Vec<(Descriptor, Figure)> = Vec::new();
    for (name, value) in info.lines() {
        let Some(&metric) = METRICS.iter().find(|metric| !name.is_empty() && metric.source == name) else { continue };
        // Only what is not Redis says anything twice.
        if figures.iter().all(|(known, _)| *known != metric) {
            figures.push((metric, Figure::read(metric, value).ok_or_else(|| no_number(name, value))?));
        }
    }
    let number = |name| info.get(name).map(|value| u64::parse(value).ok_or_else(|| no_number(name, value))).transpose();
    let (used, most) = (number("used_memory")?, number("maxmemory")?);
    let (hits, misses, fork_us) = (number("keyspace_hits")?, number("keyspace_misses")?, number("latest_fork_usec")?);

    let labels = [("server", server)];
    let mut row = sample.labelled(&labels);
    row.set(UP, true).set(VERSION, version);
    let role = info.get("role");
    row.set(ROLE, role).set(MASTER, role.map(|role| role == "master"));
    for (metric, figure) in figures {
        match figure {
            Figure::Whole(value) => row.set(metric, value),
            Figure::Fraction(value) => row.set(metric, value),
            Figure::Truth(value) => row.set(metric, value),
            Figure::Unknown => &mut row,
        };
    }
    row.set(USED_PERCENT, used.zip(most).and_then(|(used, most)| percent(used, most)));
    row.set(FORK, fork_us.map(|us| seconds(us, 1e6)));
    let change = hits.zip(misses).and_then(|(hits, misses)| lookups.change(tick, server, [hits, misses]));
    row.set(HIT_PERCENT, change.and_then(|change| percent(change.by[0], change.by[0].saturating_add(change.by[1]))));

    let (mut databases, mut replicas) = (Once::default(), Once::default());
    for (name, value) in info.lines() {
        if let Some(database) = numbered(name, "db") {
            if !databases.is_new(database.to_owned(), DATABASES) {
                continue;
            }
            let labels = [("server", server), ("db", database)];
            let mut row = sample.labelled(&labels);
            row.set(KEYS, field(value, "keys")).set(KEYS_EXPIRING, field(value, "expires"));
            let ttl_ms = field(value, "avg_ttl").filter(|&ttl_ms| ttl_ms > 0);
            row.set(KEYS_TTL, ttl_ms.map(|ms| seconds(ms, 1e3)));
        } else if numbered(name, "slave").is_some() {
            let (Some(ip), Some(port)) = (named(value, "ip"), named(value, "port")) else { continue };
            let replica = [ip, ":", port].concat();
            if !replicas.is_new(replica.clone(), LISTED_REPLICAS) {
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

/// What was told already, each once and only so many.
#[derive(Default)]
struct Once {
    told: Vec<String>,
    /// Whether there were more than there is room for.
    is_full: bool,
}

impl Once {
    /// Whether this one is to be told.
    fn is_new(&mut self, name: String, most: usize) -> bool {
        if self.told.contains(&name) {
            return false;
        }
        self.is_full |= self.told.len() >= most;
        if !self.is_full {
            self.told.push(name);
        }
        !self.is_full
    }
}

/// The lines of an answer.
#[derive(Clone, Copy)]
struct Info<'a> {
    text: &'a str,
}

impl<'a> Info<'a> {
    /// Names and values. Headings and empty lines have none.
    fn lines(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.text.lines().filter_map(|line| line.split_once(':'))
    }

    fn get(self, name: &str) -> Option<&'a str> {
        self.lines().find(|(other, _)| *other == name).map(|(_, value)| value)
    }
}

/// A value as its metric takes it, always the same way.
enum Figure {
    Whole(u64),
    Fraction(f64),
    Truth(bool),
    /// There is none: a snapshot's time before the first one.
    Unknown,
}

impl Figure {
    fn read(metric: Descriptor, value: &str) -> Option<Self> {
        let has_fraction = metric.source.starts_with("used_cpu_") || metric.source.ends_with("_ratio");
        match value {
            "ok" | "up" => Some(Self::Truth(true)),
            "err" | "down" => Some(Self::Truth(false)),
            "-1" => Some(Self::Unknown),
            _ if has_fraction => f64::parse(value).map(Self::Fraction),
            _ => u64::parse(value).map(Self::Whole),
        }
    }
}

fn no_number(name: &str, value: &str) -> String {
    format!("INFO is answered with {name}:{value}")
}

/// `db0`, `slave12`: the number.
fn numbered<'a>(name: &'a str, kind: &str) -> Option<&'a str> {
    name.strip_prefix(kind).filter(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// One of `keys=3,expires=0`.
fn named<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
}

fn field(value: &str, name: &str) -> Option<u64> {
    u64::parse(named(value, name)?)
}

#[allow(clippy::cast_precision_loss, reason = "nobody needs microseconds of more than 285 years")]
fn seconds(count: u64, a_second: f64) -> f64 {
    count as f64 / a_second
}
