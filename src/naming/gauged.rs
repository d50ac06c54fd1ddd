//! Our own naming, by rules: `<prefix>_<module>_<metric>` in `snake_case`, in base units, with `_total` exactly for counters.
//! `promtool check metrics` has nothing to say of it, whatever a metric is called. Verbatim modules keep their names.

#[cfg(test)]
mod lint;

use super::labels;
use super::named::Named;
use super::unit::{self, PER_SECOND, Unit};
use super::words;
use crate::sample::{Descriptor, MetricKind, ModuleSource, Series, Text};

/// The unit of a share.
const RATIO: &str = "ratio";

/// The name of a series.
pub(super) fn name(prefix: &str, source: &ModuleSource, series: &Series) -> Named {
    if source.is_verbatim {
        return verbatim(source, series);
    }
    let Descriptor { kind, unit: code, .. } = series.descriptor();
    let unit = Unit::new(code);
    let mut metric = words::split(series.metric_name());
    if *kind == MetricKind::Counter {
        while metric.pop_if(|last| last == "total").is_some() {}
    }
    let suffix = unit.take(&mut metric);
    if metric.is_empty() && suffix == RATIO {
        // `percent` alone, of `cpu`, `memory` and `swap`.
        metric.push("used".to_owned());
    }
    let mut all = words::split(&source.module);
    all.append(&mut metric);
    let mut all = words::join_lookalikes(all);
    words::replace_kinds(&mut all);
    if !suffix.is_empty() {
        all.push(suffix.to_owned());
    } else if all.is_empty() {
        all.push("value".to_owned());
    }
    let unit_suffix = match suffix {
        // A share in the unit 1.
        "" if all.last().is_some_and(|last| last == RATIO) => RATIO,
        PER_SECOND => "",
        suffix => suffix,
    };
    match kind {
        MetricKind::Counter => all.push("total".to_owned()),
        MetricKind::Gauge | MetricKind::Histogram | MetricKind::Summary => words::replace_end(&mut all),
    }
    let prefix = prefix.trim_end_matches('_');
    if !prefix.is_empty() {
        all.insert(0, labels::valid(prefix, |byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    }
    let (factor, base) = match &unit {
        Unit::Known(unit) => (unit.factor, unit.suffix()),
        Unit::None | Unit::CountRate => (None, ""),
    };
    Named {
        name: metric_name(all.join("_")).into(),
        labels: labels::rewritten(series),
        factor,
        kind: Some(*kind),
        unit: unit_suffix,
        ucum: unit.base_code().map_or_else(|| code.clone(), Text::from),
        is_additive: false,
        origin: series.descriptor().origin,
        help: help(source, series, factor.map(|_| base)),
        is_alternative: false,
    }
}

/// The name that the series has already.
fn verbatim(source: &ModuleSource, series: &Series) -> Named {
    let metric = series.metric_name();
    let name = labels::valid(metric, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'));
    let name = metric_name(name);
    Named {
        name: name.into(),
        labels: labels::verbatim(series),
        factor: None,
        kind: Some(series.descriptor().kind),
        unit: "",
        ucum: series.descriptor().unit.clone(),
        is_additive: false,
        origin: series.descriptor().origin,
        help: help(source, series, None),
        is_alternative: false,
    }
}

/// A metric's name that begins as one may.
fn metric_name(mut name: String) -> String {
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// The description, or that there is none.
pub(super) fn description(source: &ModuleSource, series: &Series) -> Text {
    help(source, series, None)
}

/// The description. It is about the collector's unit, in words or numbers, so both are named where the value is converted.
fn help(source: &ModuleSource, series: &Series, converted_to: Option<&str>) -> Text {
    let Descriptor { description, unit: code, .. } = series.descriptor();
    let (metric, module) = (series.metric_name(), &source.module);
    match converted_to {
        _ if description.trim().is_empty() => {
            format!("The metric {metric} of the module {module}, which its collector does not describe.").into()
        }
        Some(unit) => {
            let (code, unit) = (unit::without_annotations(code), unit.replace('_', " "));
            let article = if unit.starts_with(RATIO) { "as a" } else { "in" };
            let sentence = description.trim().trim_end_matches('.');
            format!("{sentence}. Measured in {}, exposed {article} {unit}.", code.trim_end_matches('/')).into()
        }
        None => description.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::Arc;
    use std::time::Duration;

    use expect_test::expect;
    use proptest::prelude::*;

    use super::lint::complaints;
    use super::*;
    use crate::sample::{
        BucketBounds, CollectorVersion, Labels, Module, ModuleWriter, NativeMetric, Quantiles, SeriesAccount,
        is_label_name, is_scraped_name,
    };

    fn source(module: &str, is_verbatim: bool) -> ModuleSource {
        let collector = CollectorVersion::native("test");
        ModuleSource { module: module.to_owned().into(), collector, step: Duration::ZERO, is_verbatim }
    }

    /// A module with one metric.
    fn module(source: ModuleSource, metric: &str, kind: MetricKind, unit: &str, labels: &Labels) -> Arc<Module> {
        // Descriptors are part of the program.
        let [module, name, unit] = [&*source.module, metric, unit].map(|text| &*String::leak(text.to_owned()));
        let described = Box::leak(Box::new(NativeMetric {
            kind,
            ..NativeMetric::gauge(module, name, unit, "A level of 100.", "a source")
        }));
        let mut writer = ModuleWriter::new(source, [&*described], &SeriesAccount::standalone());
        let fill = |values: &mut crate::sample::Values<'_>| match kind {
            MetricKind::Gauge | MetricKind::Counter => values.push_labelled(metric, labels, 1),
            MetricKind::Histogram => {
                let bounds = BucketBounds::new(&[1.0]).expect("one");
                values.push_histogram(metric, labels, &bounds, &[1, 1], 1.0).expect("a histogram");
            }
            MetricKind::Summary => {
                let quantiles = Quantiles::new(&[0.5]).expect("one");
                values.push_summary(metric, labels, &quantiles, &[Some(1.0)], (1.0, 1)).expect("a summary");
            }
        };
        writer.write(Duration::ZERO, fill).0
    }

    fn named(module_name: &str, metric: &str, kind: MetricKind, unit: &str) -> Named {
        let module = module(source(module_name, false), metric, kind, unit, &Labels::default());
        name("gauged", module.schema().source(), &module.schema().series()[0])
    }

    #[test]
    fn names_are_in_base_units() {
        use MetricKind::{Counter, Gauge, Histogram, Summary};
        let mut text = String::new();
        for (module, metric, kind, unit) in [
            ("cpu", "percent", Gauge, "%"),
            ("cpu", "user", Gauge, "%"),
            ("cpu", "user_seconds_total", Counter, "s"),
            ("cpu", "freq_current", Gauge, "MHz"),
            ("cpu", "ctx_switches", Counter, "{switch}"),
            ("cpu", "count_logical", Gauge, "{cpu}"),
            ("load", "1min", Gauge, "{task}"),
            ("memory", "total", Gauge, "By"),
            ("swap", "sin", Counter, "By"),
            ("uptime", "seconds", Gauge, "s"),
            ("kernel", "entropy_available_bits", Gauge, "bit"),
            ("network", "speed_bytes_per_second", Gauge, "By/s"),
            ("network", "speed_mbps", Gauge, "Mbit/s"),
            ("network", "speed", Gauge, "Mbit/s"),
            ("nginx", "requests_per_second", Gauge, "{request}/s"),
            ("nginx", "requests", Gauge, "{request}/s"),
            ("netstat", "TcpExt_ListenOverflows_total", Counter, "{connection}"),
            ("netstat", "Tcp_RtoMin", Gauge, "ms"),
            ("temperature", "sensor_celsius", Gauge, "Cel"),
            ("temperature", "fan_rpm", Gauge, "{revolution}/min"),
            ("redis", "fragmentation_ratio", Gauge, "1"),
            ("app", "memory_bytes_used", Gauge, "By"),
            ("app", "latency_ms_max", Gauge, "ms"),
            ("app", "wait", Histogram, "ms"),
            ("app", "size_kb", Summary, "KiBy"),
            ("app", "bytes_per_packet", Gauge, "By"),
            ("app", "busy_last_5_minutes", Gauge, "s"),
            ("app", "phase_b", Gauge, ""),
            ("app", "thread_count", Gauge, "{thread}"),
            ("app", "users_total", Gauge, "{user}"),
            ("app", "packet_counter", Counter, "{packet}"),
            ("app", "total", Counter, "1"),
            ("m", "latency", Gauge, "ms/{request}"),
            ("m", "value", Gauge, ""),
            ("m", "bytes", Gauge, "By"),
        ] {
            let Named { name, factor, unit: base, help, .. } = named(module, metric, kind, unit);
            let factor = factor.map_or(String::new(), |factor| format!(" × {factor}"));
            writeln!(text, "{module}.{metric} in {unit}: {name}{factor} [{base}] {help}").expect("a string grows");
        }
        expect![[r"
            cpu.percent in %: gauged_cpu_used_ratio × 0.01 [ratio] A level of 100. Measured in %, exposed as a ratio.
            cpu.user in %: gauged_cpu_user_ratio × 0.01 [ratio] A level of 100. Measured in %, exposed as a ratio.
            cpu.user_seconds_total in s: gauged_cpu_user_seconds_total [seconds] A level of 100.
            cpu.freq_current in MHz: gauged_cpu_freq_current_hertz × 1000000 [hertz] A level of 100. Measured in MHz, exposed in hertz.
            cpu.ctx_switches in {switch}: gauged_cpu_ctx_switches_total [] A level of 100.
            cpu.count_logical in {cpu}: gauged_cpu_count_logical [] A level of 100.
            load.1min in {task}: gauged_load_1min [] A level of 100.
            memory.total in By: gauged_memory_total_bytes [bytes] A level of 100.
            swap.sin in By: gauged_swap_sin_bytes_total [bytes] A level of 100.
            uptime.seconds in s: gauged_uptime_seconds [seconds] A level of 100.
            kernel.entropy_available_bits in bit: gauged_kernel_entropy_available_bytes × 0.125 [bytes] A level of 100. Measured in bit, exposed in bytes.
            network.speed_bytes_per_second in By/s: gauged_network_speed_bytes_per_second [bytes_per_second] A level of 100.
            network.speed_mbps in Mbit/s: gauged_network_speed_bytes_per_second × 125000 [bytes_per_second] A level of 100. Measured in Mbit/s, exposed in bytes per second.
            network.speed in Mbit/s: gauged_network_speed_bytes_per_second × 125000 [bytes_per_second] A level of 100. Measured in Mbit/s, exposed in bytes per second.
            nginx.requests_per_second in {request}/s: gauged_nginx_requests_per_second [] A level of 100.
            nginx.requests in {request}/s: gauged_nginx_requests_per_second [] A level of 100.
            netstat.TcpExt_ListenOverflows_total in {connection}: gauged_netstat_tcp_ext_listen_overflows_total [] A level of 100.
            netstat.Tcp_RtoMin in ms: gauged_netstat_tcp_rto_min_seconds × 0.001 [seconds] A level of 100. Measured in ms, exposed in seconds.
            temperature.sensor_celsius in Cel: gauged_temperature_sensor_celsius [celsius] A level of 100.
            temperature.fan_rpm in {revolution}/min: gauged_temperature_fan_rpm [] A level of 100.
            redis.fragmentation_ratio in 1: gauged_redis_fragmentation_ratio [ratio] A level of 100.
            app.memory_bytes_used in By: gauged_app_memory_used_bytes [bytes] A level of 100.
            app.latency_ms_max in ms: gauged_app_latency_max_seconds × 0.001 [seconds] A level of 100. Measured in ms, exposed in seconds.
            app.wait in ms: gauged_app_wait_seconds × 0.001 [seconds] A level of 100. Measured in ms, exposed in seconds.
            app.size_kb in KiBy: gauged_app_size_bytes × 1024 [bytes] A level of 100. Measured in KiBy, exposed in bytes.
            app.bytes_per_packet in By: gauged_app_bytes_per_packet [] A level of 100.
            app.busy_last_5_minutes in s: gauged_app_busy_last_5minutes_seconds [seconds] A level of 100.
            app.phase_b in : gauged_app_phaseb [] A level of 100.
            app.thread_count in {thread}: gauged_app_thread_number [] A level of 100.
            app.users_total in {user}: gauged_app_users_overall [] A level of 100.
            app.packet_counter in {packet}: gauged_app_packet_counters_total [] A level of 100.
            app.total in 1: gauged_app_total [] A level of 100.
            m.latency in ms/{request}: gauged_modulem_latency_seconds × 0.001 [seconds] A level of 100. Measured in ms, exposed in seconds.
            m.value in : gauged_modulem_value [] A level of 100.
            m.bytes in By: gauged_modulem_bytes [bytes] A level of 100.
        "]]
        .assert_eq(&text);
    }

    #[test]
    fn labels_of_columns_are_not_used_by_others() {
        let labels: Labels = [("le", "1"), ("quantile", "0.5"), ("mountPoint", "/"), ("mount_point", "/a")].into();
        let module = module(source("m", false), "level", MetricKind::Gauge, "", &labels);
        let named = name("gauged", module.schema().source(), &module.schema().series()[0]);
        let labels: Vec<&str> = named.labels.iter().map(|label| &*label.name).collect();
        assert_eq!(labels, ["exported_le", "exported_quantile", "mount_point", "mount_point_2"]);
    }

    #[test]
    fn columns_have_the_name_of_their_metric() {
        for kind in [MetricKind::Histogram, MetricKind::Summary] {
            let module = module(source("app", false), "wait_ms", kind, "ms", &[("queue", "a")].into());
            let expected: Vec<Named> =
                module.metrics().map(|metric| name("gauged", module.schema().source(), metric.series)).collect();
            assert_eq!(&*expected[0].name, "gauged_app_wait_seconds");
            assert!(expected.iter().all(|named| *named == expected[0]), "{expected:?}");
            assert_eq!(expected[0].labels.len(), 1);
        }
    }

    #[test]
    fn verbatim_names_are_kept() {
        for (metric, expected) in
            [("node_load1", "node_load1"), ("cpu.idle", "cpu_idle"), ("a:b", "a:b"), ("1x", "_1x")]
        {
            let module = module(source("scraped", true), metric, MetricKind::Counter, "ms", &Labels::default());
            let named = name("gauged", module.schema().source(), &module.schema().series()[0]);
            assert_eq!((&*named.name, named.factor, named.kind), (expected, None, Some(MetricKind::Counter)));
        }
    }

    #[test]
    fn prefixes_are_made_valid() {
        let module = module(source("1m", false), "level", MetricKind::Gauge, "", &Labels::default());
        let named = |prefix| name(prefix, module.schema().source(), &module.schema().series()[0]).name;
        let all = ["", "_", "my-host", "host_", "1"].map(|prefix| named(prefix).to_string());
        assert_eq!(all, ["_1m_level", "_1m_level", "my_host_1m_level", "host_1m_level", "_1_1m_level"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Whatever a metric is called, its name is valid, those of counters and only those end with `_total`, and the linter of
        /// Prometheus has nothing to say.
        #[test]
        fn names_are_valid_and_idiomatic(
            module_name in "[a-zA-Z0-9_]{1,6}|[smhdb]|counter|bytes|_",
            metric in "[a-zA-Z0-9_]{1,12}|(([smhdb]|ms|kb|min|5|per|second|seconds|bytes|bits|minutes|kilobytes|percent|ratio|total|count|sum|bucket|gauge|counter|summary|histogram|info)_?){1,5}",
            kind in prop::sample::select(vec![MetricKind::Gauge, MetricKind::Counter, MetricKind::Histogram, MetricKind::Summary]),
            unit in prop::sample::select(
                unit::codes().flat_map(|code| [code.to_owned(), format!("{code}/s")])
                    .chain(["", "1", "{x}", "{x}/s", "1/s", "furlong", "ms/{x}", "By/min"].map(str::to_owned)).collect::<Vec<_>>()
            ),
            labels in prop::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,4}", "[ab]", 0..3),
        ) {
            let reserved = |name: &str| name == "le" || name == "quantile";
            let labels: Labels = labels.into_iter()
                .filter(|(name, _)| matches!(kind, MetricKind::Gauge | MetricKind::Counter) || !reserved(name))
                .map(|(name, value)| crate::sample::Label { name: name.into(), value: value.into() })
                .collect();
            let module = module(source(&module_name, false), &metric, kind, &unit, &labels);
            for series in module.schema().series() {
                let named = name("gauged", module.schema().source(), series);
                prop_assert!(is_scraped_name(&named.name), "{}", named.name);
                prop_assert!(named.name.starts_with("gauged_"), "{}", named.name);
                prop_assert_eq!(named.name.ends_with("_total"), kind == MetricKind::Counter, "{}", named.name);
                prop_assert!(named.labels.iter().all(|label| is_label_name(&label.name)), "{:?}", named.labels);
                let base = named.name.strip_suffix("_total").filter(|_| kind == MetricKind::Counter).unwrap_or(&named.name);
                prop_assert!(named.unit.is_empty() || base.ends_with(&format!("_{}", named.unit)), "{}", named.name);
                prop_assert_eq!(complaints(&named), Vec::<String>::new(), "{}", named.name);
            }
        }

        #[test]
        fn verbatim_names_are_made_valid(metric in "[a-zA-Z0-9_.: -]{1,12}|[äß√]{1,3}") {
            let module = module(source("m", true), &metric, MetricKind::Gauge, "", &Labels::default());
            let named = name("gauged", module.schema().source(), &module.schema().series()[0]);
            prop_assert!(is_scraped_name(&named.name), "{}", named.name);
            prop_assert!(!is_scraped_name(&metric) || *named.name == metric, "{}", named.name);
        }
    }
}
