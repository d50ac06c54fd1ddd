//! Tests of the names of single series.

use proptest::prelude::*;

use super::super::Naming;
use super::*;
use crate::sample::{Label, MetricKind, is_scraped_name, test_module};

/// The naming's decision about a series.
fn named(module: &'static str, metric: &str, labels: &[(&'static str, &str)]) -> Option<Named> {
    let labels = labels.iter().map(|&(name, value)| Label { name: name.into(), value: value.into() }).collect();
    let module = test_module(module, |values| values.push_labelled(metric, &labels, 1_u64));
    let schema = module.schema();
    Naming::NodeExporter.name("gauged", schema.source(), &schema.series()[0])
}

/// The series as text.
fn text(named: &Named) -> String {
    let labels: crate::sample::Labels = named.labels.iter().cloned().collect();
    format!("{}{}", named.name, labels.text())
}

/// The series as text, which it has.
fn series(module: &'static str, metric: &str, labels: &[(&'static str, &str)]) -> String {
    text(&named(module, metric, labels).expect("it has a name"))
}

/// Whether a series has our own name.
fn is_own(module: &'static str, metric: &str, labels: &[(&'static str, &str)]) -> bool {
    let own = format!("gauged_{module}_");
    named(module, metric, labels).is_some_and(|named| named.name.starts_with(&own))
}

#[test]
fn cpu_times_have_a_mode() {
    let user = "node_cpu_seconds_total{cpu=\"3\",mode=\"user\"}";
    assert_eq!(series("cpu", "user_seconds_total", &[("cpu", "3")]), user);
    let nice = "node_cpu_guest_seconds_total{cpu=\"3\",mode=\"nice\"}";
    assert_eq!(series("cpu", "guest_nice_seconds_total", &[("cpu", "3")]), nice);
    assert_eq!(named("cpu", "user_seconds_total", &[]), None, "the sum of all CPUs is left out");
    assert!(is_own("cpu", "user", &[("cpu", "3")]), "a percentage");
}

#[test]
fn labels_are_renamed_and_translated() {
    let mount = [("mount", "/"), ("device", "/dev/sda1"), ("fstype", "ext4")];
    let size = r#"node_filesystem_size_bytes{mountpoint="/",device="/dev/sda1",fstype="ext4"}"#;
    assert_eq!(series("filesystem", "total_bytes", &mount), size);
    let state = |state| [("state", state)];
    assert_eq!(series("process", "processes_in_state", &state("traced")), r#"node_processes_state{state="t"}"#);
    assert!(is_own("process", "processes_in_state", &state("unknown")));
    let vector = |vector| series("kernel", "softirqs_by_vector_total", &[("vector", vector)]);
    assert_eq!(vector("irq_poll"), r#"node_softirqs_total{vector="block_iopoll"}"#);
    assert_eq!(vector("rcu"), r#"node_softirqs_total{vector="rcu"}"#);
}

#[test]
fn labels_select_and_become_names() {
    let waiting = "node_pressure_memory_waiting_seconds_total";
    assert_eq!(series("pressure", "some_seconds_total", &[("resource", "memory")]), waiting);
    assert!(is_own("pressure", "full_seconds_total", &[("resource", "cpu")]));
    let icmp = |number| [("type", number)];
    assert_eq!(series("netstat", "Icmp6_InType_total", &icmp("135")), "node_netstat_Icmp6_InType135");
    assert!(is_own("netstat", "Icmp6_InType_total", &icmp("1 3")), "no name");
    assert_eq!(series("netstat", "TcpExt_ListenDrops_total", &[]), "node_netstat_TcpExt_ListenDrops");
    assert_eq!(series("netstat", "sockstat_TCP6_inuse", &[]), "node_sockstat_TCP6_inuse");
    assert!(is_own("netstat", "sockstat_TCP_closed", &[]));
}

#[test]
fn units_and_types_are_node_exporters() {
    let paged = named("kernel", "paged_in_bytes_total", &[]).expect("a name");
    assert_eq!((&*paged.name, paged.kind, paged.factor), ("node_vmstat_pgpgin", None, Some(1.0 / 1024.0)));
    assert_eq!((paged.unit, &*paged.help), ("", "KiB read from disks into memory."));
    let idle = named("cpu", "idle_seconds_total", &[("cpu", "0")]).expect("a name");
    assert_eq!((idle.kind, idle.factor, idle.unit), (Some(MetricKind::Counter), None, "seconds"));
    assert_eq!(named("memory", "total", &[]).map(|named| named.unit), Some("bytes"));
    let load = named("load", "1min", &[]).expect("a name");
    assert_eq!((load.unit, &*load.help), ("", "node_load1"), "without a description the name is the help");
}

#[test]
fn differing_values_keep_our_name() {
    for (module, metric) in [("memory", "cached"), ("network", "up"), ("cpu", "freq_current"), ("swap", "sin")] {
        assert!(is_own(module, metric, &[]), "{module}.{metric}");
    }
    let softnet = |labels| series("kernel", "softnet_dropped_total", labels);
    assert_eq!(softnet(&[("cpu", "0")]), r#"node_softnet_dropped_total{cpu="0"}"#);
    assert!(is_own("kernel", "softnet_dropped_total", &[]), "the sum of all CPUs");
}

#[test]
fn second_sources_are_alternatives() {
    let is_alternative = |module, metric, labels: &[(&'static str, &str)]| {
        named(module, metric, labels).map(|named| (text(&named), named.is_alternative))
    };
    let name = || "node_context_switches_total".to_owned();
    assert_eq!(is_alternative("cpu", "ctx_switches", &[]), Some((name(), false)));
    assert_eq!(is_alternative("kernel", "context_switches_total", &[]), Some((name(), true)));
    let duration = || r#"node_scrape_collector_duration_seconds{collector="a"}"#.to_owned();
    assert_eq!(is_alternative("agent", "plugin_duration_seconds", &[("plugin", "a")]), Some((duration(), true)));
    // It is 0 of plugins that nobody has turned on, and an alert on collectors would fire.
    assert!(is_own("agent", "plugin_up", &[("plugin", "a")]));
}

#[test]
fn memory_fields_of_two_collectors_are_one_series() {
    let memory = |module, metric| named(module, metric, &[]).map(|named| (text(&named), named.is_alternative));
    let active = || "node_memory_Active_bytes".to_owned();
    assert_eq!(memory("memory", "active"), Some((active(), false)));
    assert_eq!(memory("meminfo", "Active_bytes"), Some((active(), true)));
    for (ours, theirs) in [
        ("Cached_bytes", "node_memory_Cached_bytes"),
        ("Active_anon_bytes", "node_memory_Active_anon_bytes"),
        ("HugePages_Total", "node_memory_HugePages_Total"),
        ("FieldOfTomorrow_bytes", "node_memory_FieldOfTomorrow_bytes"),
    ] {
        assert_eq!(memory("meminfo", ours), Some((theirs.to_owned(), false)));
    }
    let node = |metric| series("meminfo_numa", metric, &[("node", "1")]);
    assert_eq!(node("MemFree_bytes"), r#"node_memory_numa_MemFree{node="1"}"#);
    assert_eq!(node("HugePages_Free"), r#"node_memory_numa_HugePages_Free{node="1"}"#);
}

#[test]
fn verbatim_names_are_kept() {
    let module = test_module("load", |values| values.push("1min", 1_u64));
    let source = ModuleSource { is_verbatim: true, ..module.schema().source().clone() };
    let named = Naming::NodeExporter.name("gauged", &source, &module.schema().series()[0]).expect("a name");
    assert_ne!(&*named.name, "node_load1");
}

/// A metric of the table: module, name, and the labels that it may have.
fn metric() -> impl Strategy<Value = (&'static str, String)> {
    let patterns: Vec<&'static str> = rows()
        .filter_map(|row| match &row.relation {
            Relation::Equal(equal) => Some([&[equal.metric], equal.alternatives].concat()),
            Relation::Similar(_) | Relation::Missing => None,
        })
        .flatten()
        .collect();
    (prop::sample::select(patterns), "[A-Za-z0-9_]{1,8}").prop_map(|(pattern, text)| {
        let (module, name) = pattern.split_once('.').expect("two parts");
        (module, name.replace('*', &text))
    })
}

proptest! {
    /// Whatever the labels, names are valid, and labels unique.
    #[test]
    fn names_are_valid_and_labels_unique(
        (module, metric) in metric(),
        labels in prop::collection::btree_map(
            prop::sample::select(vec![
                "cpu", "mode", "type", "resource", "mount", "mountpoint", "plugin", "collector", "state", "vector", "device",
                "name",
            ]),
            "[a-z0-9 \"]{0,5}",
            0..5,
        ),
    ) {
        let labels: Vec<(&'static str, &str)> = labels.iter().map(|(&name, value)| (name, &**value)).collect();
        if let Some(named) = named(module, &metric, &labels) {
            prop_assert!(is_scraped_name(&named.name), "{}", named.name);
            let mut names: Vec<&str> = named.labels.iter().map(|label| &*label.name).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            prop_assert_eq!(names.len(), count);
        }
    }
}
