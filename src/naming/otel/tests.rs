//! Tests of the names of single series.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::super::{Naming, Scale};
use super::*;
use crate::sample::{
    CollectorVersion, CounterOrigin, MetricKind, Module, ModuleWriter, NativeMetric, SeriesAccount, Value, test_module,
};

/// A module with one series.
fn module(module: &'static str, metric: &str, labels: &[(&'static str, &str)]) -> std::sync::Arc<Module> {
    let labels = labels.iter().map(|&(name, value)| Label { name: name.into(), value: value.into() }).collect();
    test_module(module, |values| values.push_labelled(metric, &labels, 1_u64))
}

fn named(name: &'static str, metric: &str, labels: &[(&'static str, &str)]) -> Named {
    let module = module(name, metric, labels);
    let schema = module.schema();
    Naming::Otel.name("gauged", schema.source(), &schema.series()[0]).expect("nothing is left out")
}

/// The series as text.
fn series(name: &'static str, metric: &str, labels: &[(&'static str, &str)]) -> String {
    let named = named(name, metric, labels);
    let labels: Vec<String> = named.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
    format!("{}{{{}}}", named.name, labels.join(","))
}

#[test]
fn cpu_times_have_a_mode() {
    assert_eq!(series("cpu", "user_seconds_total", &[]), "system.cpu.time{cpu.mode=user}");
    let softirq = "system.cpu.time{cpu.logical_number=3,cpu.mode=softirq}";
    assert_eq!(series("cpu", "softirq_seconds_total", &[("cpu", "3")]), softirq);
    assert_eq!(series("cpu", "guest_seconds_total", &[]), "cpu.guest_seconds_total{}");
    let time = named("cpu", "irq_seconds_total", &[]);
    assert_eq!((time.kind, &*time.ucum, time.factor), (Some(MetricKind::Counter), "s", None));
    assert_eq!((time.is_additive, time.unit), (false, ""));
}

#[test]
fn percents_become_ratios() {
    let idle = named("cpu", "idle", &[]);
    assert_eq!((&*idle.name, &*idle.ucum, idle.kind), ("system.cpu.utilization", "1", Some(MetricKind::Gauge)));
    let value = Scale::new(idle.factor).number(&Value::Float(57.0));
    assert_eq!(value, Some(crate::naming::Number::Float(0.57)));
    // No convention has it.
    let percent = named("cpu", "percent", &[]);
    assert_eq!((&*percent.name, percent.factor), ("cpu.percent", None));
}

#[test]
fn megahertz_become_hertz() {
    let frequency = named("cpu", "freq_current", &[]);
    let value = Scale::new(frequency.factor).number(&Value::Unsigned(2400));
    assert_eq!(value, Some(crate::naming::Number::Float(2.4e9)));
}

#[test]
fn amounts_are_additive() {
    let used = named("memory", "used", &[]);
    assert_eq!((&*used.name, used.is_additive, used.kind), ("system.memory.usage", true, Some(MetricKind::Gauge)));
    assert!(!named("memory", "percent", &[]).is_additive && !named("load", "1min", &[]).is_additive);
}

#[test]
fn labels_become_attributes() {
    let mount = [("mount", "/"), ("device", "/dev/sda1"), ("fstype", "ext4")];
    let free = "system.filesystem.usage{system.filesystem.mountpoint=/,system.device=/dev/sda1,\
                system.filesystem.type=ext4,system.filesystem.state=free}";
    assert_eq!(series("filesystem", "available_bytes", &mount), free);
    let device = [("device", "eth0")];
    let io = "system.network.io{network.interface.name=eth0,network.io.direction=receive}";
    assert_eq!(series("network", "receive_bytes_total", &device), io);
    let packets = "system.network.packet.count{system.device=eth0,network.io.direction=transmit}";
    assert_eq!(series("network", "transmit_packets_total", &device), packets);
    let state = [("state", "zombie")];
    assert_eq!(series("process", "processes_in_state", &state), "system.process.count{process.state=defunct}");
}

#[test]
fn metrics_without_a_row_are_module_and_metric() {
    assert_eq!(series("redis", "connected_clients", &[("server", "a:1")]), "redis.connected_clients{server=a:1}");
    assert_eq!(series("disk", "discards_total", &[("device", "sda")]), "disk.discards_total{device=sda}");
}

#[test]
fn counters_count_from_where_their_descriptor_says() {
    static METRICS: [NativeMetric; 3] = [
        NativeMetric::counter("cpu", "irq_seconds_total", "s", "Interrupts.", "a source"),
        NativeMetric::counter("cpu", "other_total", "1", "Others.", "a source"),
        NativeMetric::counter("agent", "missed_ticks_total", "1", "Ticks.", "a source"),
    ];
    let origin = |module: &'static str, metric: &str| {
        let collector = CollectorVersion::native("test");
        let source = ModuleSource { module: module.into(), collector, step: Duration::ZERO, is_verbatim: false };
        let mut writer = ModuleWriter::new(source, &METRICS, &SeriesAccount::standalone());
        let (module, ()) = writer.write(Duration::ZERO, |values| values.push(metric, 1));
        let schema = module.schema();
        Naming::Otel.name("gauged", schema.source(), &schema.series()[0]).expect("named").origin
    };
    assert_eq!(origin("cpu", "irq_seconds_total"), CounterOrigin::Boot, "with a convention");
    assert_eq!(origin("cpu", "other_total"), CounterOrigin::Boot, "without one");
    assert_eq!(origin("agent", "missed_ticks_total"), CounterOrigin::Agent);
    assert_eq!(origin("cpu", "undescribed_total"), CounterOrigin::Unknown, "whatever the module is called");
}

#[test]
fn verbatim_names_are_kept() {
    let module = module("load", "1min", &[("b", "c")]);
    let source = ModuleSource { is_verbatim: true, ..module.schema().source().clone() };
    let named = Naming::Otel.name("gauged", &source, &module.schema().series()[0]).expect("named");
    assert_eq!((&*named.name, named.labels.len(), named.origin), ("1min", 1, CounterOrigin::Unknown));
}

#[test]
fn sums_of_cpus_are_hidden_beside_single_cpus() {
    let hides = |per_core, metric, labels: &[(&'static str, &str)]| {
        let module = module("cpu", metric, labels);
        Naming::Otel.hides(per_core, "cpu", &module.schema().series()[0])
    };
    let one = [("cpu", "0")];
    assert!(hides(true, "user_seconds_total", &[]) && !hides(true, "user_seconds_total", &one));
    assert!(!hides(false, "user_seconds_total", &[]) && hides(false, "user_seconds_total", &one));
    assert!(hides(true, "user", &[]) && !hides(true, "percent", &[]) && !hides(true, "ctx_switches", &[]));
    let module = module("other", "user", &[]);
    assert!(!Naming::Otel.hides(true, "other", &module.schema().series()[0]));
}

proptest! {
    /// Whatever a module and its metrics are called, names are whole, and attributes unique.
    #[test]
    fn names_are_whole_and_attributes_unique(
        row in prop::option::of(prop::sample::select(rows().filter_map(|row| match &row.relation {
            Relation::Equal(equal) => equal.metric.split_once('.'),
            Relation::Similar(_) | Relation::Missing => None,
        }).collect::<Vec<_>>())),
        metric in "[a-zA-Z0-9_]{1,12}",
        labels in prop::collection::btree_map(
            prop::sample::select(vec!["cpu", "mode", "state", "mount", "device", "fstype", "le", "x"]), "[a-z0-9 =,\"]{0,5}", 0..5,
        ),
    ) {
        let labels: Vec<(&'static str, &str)> = labels.iter().map(|(&name, value)| (name, &**value)).collect();
        let (module, metric) = row.unwrap_or(("m", &metric));
        let named = named(module, metric, &labels);
        prop_assert!(named.name.starts_with("system.") || *named.name == format!("{module}.{metric}"), "{}", named.name);
        let names: BTreeSet<&str> = named.labels.iter().map(|label| &*label.name).collect();
        prop_assert_eq!(names.len(), named.labels.len());
        prop_assert!(names.iter().all(|name| !name.is_empty()) && named.labels.len() >= labels.len());
    }
}
