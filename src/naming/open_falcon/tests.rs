//! Tests of the names of single series.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::super::row::Relation;
use super::super::{Naming, Number, Scale};
use super::*;
use crate::sample::{
    BucketBounds, CollectorVersion, Module, ModuleWriter, NativeMetric, SeriesAccount, Value, test_module,
};

fn module(module: &'static str, metric: &str, labels: &[(&'static str, &str)]) -> std::sync::Arc<Module> {
    let labels = labels.iter().map(|&(name, value)| Label { name: name.into(), value: value.into() }).collect();
    test_module(module, |values| values.push_labelled(metric, &labels, 1_u64))
}

fn named(name: &'static str, metric: &str, labels: &[(&'static str, &str)]) -> Named {
    let module = module(name, metric, labels);
    let schema = module.schema();
    Naming::OpenFalcon.name("gauged", schema.source(), &schema.series()[0]).expect("nothing is left out")
}

/// The series as text: metric/tags, as Open-Falcon has it.
fn series(name: &'static str, metric: &str, labels: &[(&'static str, &str)]) -> String {
    let named = named(name, metric, labels);
    format!("{}/{}", named.name, tags(&named.name, &named.labels).expect("short"))
}

#[test]
fn names_and_tags_are_the_agents() {
    let mount = [("mount", "/srv"), ("device", "/dev/sda1"), ("fstype", "ext4")];
    assert_eq!(series("filesystem", "available_bytes", &mount), "df.bytes.free/fstype=ext4,mount=/srv");
    assert_eq!(series("network", "receive_bytes_total", &[("device", "eth0")]), "net.if.in.bytes/iface=eth0");
    assert_eq!(series("disk", "reads_total", &[("device", "sda")]), "disk.io.read_requests/device=sda");
    assert_eq!(series("netstat", "TcpExt_ListenDrops_total", &[]), "TcpExt.ListenDrops/");
    assert_eq!(series("netstat", "Udp_InErrors_total", &[]), "snmp.Udp.InErrors/");
    assert_eq!(series("process", "group_processes", &[("group", "sshd")]), "proc.num/name=sshd");
    let port = |protocol| series("ports", "listening", &[("port", "53"), ("protocol", protocol)]);
    assert_eq!((&*port("tcp"), &*port("udp")), ("net.port.listen/port=53", "net.port.listen/port=53,protocol=udp"));
}

#[test]
fn values_are_in_the_agents_units() {
    let value = |module, metric, value| Scale::new(named(module, metric, &[]).factor).number(&value);
    assert_eq!(value("disk", "read_bytes_total", Value::Unsigned(1024)), Some(Number::Float(2.0)));
    assert_eq!(value("disk", "read_time_seconds_total", Value::Float(0.057)), Some(Number::Float(57.0)));
    assert_eq!(value("network", "speed_bytes_per_second", Value::Unsigned(125_000_000)), Some(Number::Float(1e9)));
    assert_eq!(value("cpu", "idle", Value::Float(57.0)), Some(Number::Float(57.0)), "percentages stay");
    assert_eq!(value("network", "receive_bytes_total", Value::Unsigned(7)), Some(Number::Unsigned(7)));
}

#[test]
fn columns_have_counter_types() {
    use MetricKind::{Counter, Gauge, Histogram, Summary};
    for (kind, column, expected) in [
        (Some(Gauge), Column::Value, "GAUGE"),
        (Some(Counter), Column::Value, "COUNTER"),
        (None, Column::Value, "GAUGE"),
        (Some(Histogram), Column::Bucket, "COUNTER"),
        (Some(Summary), Column::Quantile, "GAUGE"),
        (Some(Summary), Column::Count, "COUNTER"),
    ] {
        assert_eq!(CounterType::new(kind, column).as_str(), expected, "{kind:?} {column:?}");
    }
    assert_eq!(named("cpu", "ctx_switches", &[]).kind, Some(Counter));
}

#[test]
fn metrics_without_a_row_are_module_and_metric() {
    assert_eq!(series("redis", "keys", &[("server", "a:1"), ("db", "0")]), "redis.keys/db=0,server=a:1");
    assert_eq!(series("cpu", "percent", &[]), "cpu.percent/");
    assert_eq!(series("cpu", "idle", &[("cpu", "3")]), "cpu.idle/cpu=3", "a single CPU has a tag");
}

#[test]
fn columns_have_the_name_of_their_metric() {
    static WAIT: NativeMetric =
        NativeMetric { kind: MetricKind::Histogram, ..NativeMetric::gauge("app", "wait", "s", "Waits.", "a test") };
    let collector = CollectorVersion::native("test");
    let source = ModuleSource { module: "app".into(), collector, step: Duration::ZERO, is_verbatim: false };
    let mut writer = ModuleWriter::new(source, [&WAIT], &SeriesAccount::standalone());
    let (module, ()) = writer.write(Duration::ZERO, |values| {
        let bounds = BucketBounds::new(&[1.0]).expect("one");
        values.push_histogram("wait", &[("queue", "a b")].into(), &bounds, &[1, 1], 1.0).expect("a histogram");
    });
    assert_eq!(module.schema().series().len(), 4);
    for series in module.schema().series() {
        let named = name(module.schema().source(), series);
        assert_eq!((&*named.name, named.labels.len(), &*named.labels[0].value), ("app.wait", 1, "a_b"));
    }
}

#[test]
fn verbatim_names_are_kept() {
    for (metric, expected) in
        [("app.latency/p99", "app.latency/p99"), ("node_load1", "node_load1"), ("a b,c=d", "a_b_c_d")]
    {
        let module = module("load", metric, &[]);
        let source = ModuleSource { is_verbatim: true, ..module.schema().source().clone() };
        assert_eq!(&*name(&source, &module.schema().series()[0]).name, expected);
    }
}

proptest! {
    /// With any names of a module, its metrics and labels, names and tags are valid and tags unique.
    #[test]
    fn names_and_tags_are_valid(
        row in prop::option::of(prop::sample::select(rows().filter_map(|row| match &row.relation {
            Relation::Equal(equal) => equal.metric.split_once('.'),
            Relation::Similar(_) | Relation::Missing => None,
        }).collect::<Vec<_>>())),
        is_verbatim in any::<bool>(),
        metric in "[a-zA-Z0-9_]{1,12}|[a-z ,='\">/.\n]{1,12}",
        labels in prop::collection::btree_map(
            prop::sample::select(vec!["cpu", "port", "protocol", "mount", "device", "iface", "group", "name", "a b", "a,b", "a=b"]),
            "[a-z0-9 =,'\">\n]{0,5}",
            0..6,
        ),
    ) {
        let labels: Vec<(&'static str, &str)> = labels.iter().map(|(&name, value)| (name, &**value)).collect();
        let (module_name, metric) = row.map_or_else(|| ("m", metric.clone()), |(module, row)| (module, row.replace('*', "X")));
        let module = module(module_name, &metric, &labels);
        let source = ModuleSource { is_verbatim, ..module.schema().source().clone() };
        let Some(series) = module.schema().series().first() else { return Ok(()) };
        let named = name(&source, series);
        let is_valid = |text: &str| !text.contains([' ', ',', '=', '\'', '"', '>', '\n']);
        prop_assert!(is_valid(&named.name) && !named.name.is_empty(), "{}", named.name);
        prop_assert!(named.labels.iter().all(|label| is_valid(&label.name) && is_valid(&label.value)));
        let names: BTreeSet<&str> = named.labels.iter().map(|label| &*label.name).collect();
        prop_assert_eq!(names.len(), named.labels.len());
        prop_assert_eq!(valid(named.clone()), named);
    }
}
