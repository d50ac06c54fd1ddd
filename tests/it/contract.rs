//! What a plugin says of its metrics: descriptors from `describe`, `configure` and `collect`, kinds, origins, times and names.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gauged::exposition::{Exposition, ExpositionSettings, Format};
use gauged::naming::Naming;
use gauged::sample::{CounterOrigin, MetricKind, Module, Sample};
use serde_json::json;

use crate::guest::{Guest, VALUE, metric_of};
use crate::harness::{Setup, plugin_metric, value};
use crate::results::{module, samples};

/// The numbers of the kinds in the interface, and those of origins, which are in the byte after them.
const GAUGE: u32 = 0;
const COUNTER: u32 = 1;
const HISTOGRAM: u32 = 2;
const SUMMARY: u32 = 3;
const SINCE_BOOT: u32 = 1 << 8;
const SINCE_START: u32 = 2 << 8;

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970")
}

/// A module of a guest, in a sample.
fn module_of(setup: &Setup, name: &str) -> Arc<Module> {
    // It is compiled by the agent's own program.
    setup.once();
    let has = |sample: &Arc<Sample>| module(&sample.modules, name).is_some();
    let samples = samples(setup, |samples| samples.iter().any(has));
    let found = samples.iter().find_map(|sample| module(&sample.modules, name));
    Arc::clone(found.expect("seen"))
}

#[test]
fn counters_count_from_where_the_plugin_says() {
    let setup = Setup::with_config("interval = \"200ms\"\n");
    // A third party's plugin may have the name of one that counts from boot.
    let guests = [("disk", COUNTER), ("kernel", COUNTER | SINCE_BOOT), ("hello", COUNTER | SINCE_START)];
    for (name, kind) in guests {
        Guest::new(name).describes(&[(name, "value", kind)]).install(&setup.plugin(name).with_extension("wasm"));
    }
    let before = now();
    setup.once();
    let has = |sample: &Arc<Sample>| guests.iter().all(|(name, _)| module(&sample.modules, name).is_some());
    let samples = samples(&setup, |samples| samples.iter().any(has));
    let sample = samples.iter().find(|sample| has(sample)).expect("seen");
    let origin = |name: &str| {
        let module = module(&sample.modules, name).expect("it is there");
        let series = &module.schema().series()[0];
        let named = Naming::Otel.name("gauged", module.schema().source(), series).expect("named");
        assert_eq!(named.origin, series.descriptor().origin);
        named.origin
    };
    assert_eq!([origin("disk"), origin("kernel")], [CounterOrigin::Unknown, CounterOrigin::Boot]);
    let CounterOrigin::Moment(started) = origin("hello") else { panic!("{:?}", origin("hello")) };
    assert!(before <= started && started <= now(), "{started:?}");
}

#[test]
fn distributions_of_plugins_are_columns_everywhere() {
    let setup = Setup::with_config("interval = \"200ms\"\n");
    let mut guest = Guest::new("shop").describes(&[("shop", "wait_bytes", HISTOGRAM), ("shop", "size_bytes", SUMMARY)]);
    let [wait, size] = ["wait_bytes", "size_bytes"].map(|name| guest.text(name));
    let (histogram, summary) = (guest.histogram(&[0.5, 1.0], &[1, 2, 3], 4.5), guest.summary(&[(0.5, 2.0)], 9.0, 3));
    let metrics = [metric_of(wait, (0, 0), histogram), metric_of(size, (0, 0), summary)];
    guest.returns(&metrics).install(&setup.plugin("shop.wasm"));
    let (sample, log) = setup.once();
    let expected = json!({
        "wait_bytes_bucket{le=\"0.5\"}": 1, "wait_bytes_bucket{le=\"1\"}": 3, "wait_bytes_bucket{le=\"+Inf\"}": 6,
        "wait_bytes_sum": 4.5, "wait_bytes_count": 6,
        "size_bytes{quantile=\"0.5\"}": 2.0, "size_bytes_sum": 9.0, "size_bytes_count": 3,
    });
    assert_eq!(json!(sample.get("shop")), expected, "{log}");

    let sample = Sample { modules: vec![module_of(&setup, "shop")], ..Sample::default() };
    let settings = ExpositionSettings {
        naming: Naming::Gauged,
        prefix: "gauged".into(),
        tags: Vec::new(),
        is_selected: Box::new(|_, _| true),
        max_series: usize::MAX,
    };
    let mut text = Vec::new();
    Exposition::new(settings).render(&sample, Format::Text, None, &mut text);
    let text = String::from_utf8(text).expect("text");
    for line in [
        "# TYPE gauged_shop_wait_bytes histogram",
        "gauged_shop_wait_bytes_bucket{le=\"1.0\"} 3",
        "gauged_shop_wait_bytes_count 6",
        "# TYPE gauged_shop_size_bytes summary",
        "gauged_shop_size_bytes{quantile=\"0.5\"} 2",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn verbatim_modules_keep_their_names_in_every_naming() {
    let setup = Setup::with_config("interval = \"200ms\"\n");
    let mut guest = Guest::new("scraped").verbatim().finds(&[("scraped", "node:load:avg", COUNTER)]);
    let [load, free] = ["node:load:avg", "node_free_bytes"].map(|name| guest.text(name));
    let metrics = [metric_of(load, (0, 0), [0, 0, 1, 0]), metric_of(free, (0, 0), [0, 0, 2, 0])];
    guest.returns(&metrics).install(&setup.plugin("scraped.wasm"));
    let module = module_of(&setup, "scraped");
    let source = module.schema().source();
    assert!(source.is_verbatim);
    for naming in Naming::NAMES.iter().filter_map(|name| Naming::parse(name)) {
        let names: Vec<String> = module
            .schema()
            .series()
            .iter()
            .map(|series| naming.name("gauged", source, series).expect("named").name.to_string())
            .collect();
        assert_eq!(names, ["node:load:avg", "node_free_bytes"], "{}", naming.as_str());
    }
    let kinds: Vec<MetricKind> = module.schema().series().iter().map(|series| series.descriptor().kind).collect();
    assert_eq!(kinds, [MetricKind::Counter, MetricKind::Gauge], "as the result describes them");
}

#[test]
fn descriptors_of_configure_win_over_those_of_describe() {
    let setup = Setup::with_config("interval = \"200ms\"\n");
    let described = [("both", "value", GAUGE), ("both", "second", GAUGE)];
    let guest =
        Guest::new("both").describes(&described).configures(&[("both", "value", COUNTER), ("both", "third", GAUGE)]);
    guest.second("second").install(&setup.plugin("both.wasm"));
    let module = module_of(&setup, "both");
    let kinds: Vec<MetricKind> = module.schema().series().iter().map(|series| series.descriptor().kind).collect();
    assert_eq!(kinds, [MetricKind::Counter, MetricKind::Gauge]);
}

#[test]
fn invalid_descriptors_of_configure_reject_the_plugin() {
    let setup = Setup::new();
    Guest::new("bad").configures(&[("bad", "a b", GAUGE)]).install(&setup.plugin("bad.wasm"));
    let (_, log) = setup.once();
    assert!(log.contains("plugin=bad") && log.contains("bad.a b\\\", whose name breaks the rules"), "{log}");
}

#[test]
fn modules_may_be_of_an_earlier_moment() {
    let setup = Setup::with_config("interval = \"200ms\"\n");
    let before = now().saturating_sub(Duration::from_secs(30 * 60));
    let millis = |time: Duration| u64::try_from(time.as_millis()).expect("an age of the universe");
    Guest::new("file").time(millis(before)).install(&setup.plugin("file.wasm"));
    let module = module_of(&setup, "file");
    assert_eq!(module.time, Duration::from_millis(millis(before)));
    let (sample, log) = setup.once();
    assert_eq!(plugin_metric(&sample, "plugin_refused_times_total", "file"), Some(0.0), "{log}");
}

#[test]
fn refused_module_times_are_counted_and_reported() {
    for (millis, why) in
        [(1_000_000_000_000, "is more than an hour before the tick"), (u64::MAX >> 1, "is after the tick")]
    {
        let setup = Setup::new();
        Guest::new("file").time(millis).install(&setup.plugin("file.wasm"));
        let (sample, log) = setup.once();
        assert_eq!(value(&sample, "file"), Some(json!(1)), "the tick's time is used");
        assert_eq!(plugin_metric(&sample, "plugin_refused_times_total", "file"), Some(1.0));
        assert!(log.contains(&format!("the time of the module file: it {why}")), "{log}");
    }
}

#[test]
fn tick_tells_the_interval() {
    let setup = Setup::with_config("interval = \"2s\"\n[plugins.asks]\ninterval = \"6s\"\n");
    let tells = format!("(i64.store (i32.const {}) (local.get 3))", VALUE + 8);
    Guest::new("asks").before_collect(&tells).install(&setup.plugin("asks.wasm"));
    assert_eq!(value(&setup.once().0, "asks"), Some(json!(6000)));
}

/// The mechanism by which the interface grows: what an agent does not have is refused by its name.
#[test]
fn unknown_imports_are_refused_by_name() {
    let setup = Setup::new();
    let package = "package test:later@0.1.0;\n\
        interface events { emit: func(); }\n\
        world plugin { import events; export gauged:plugin/collector@VERSION; }"
        .replace("VERSION", crate::guest::VERSION);
    let guest =
        Guest::new("later").import("test:later/events@0.1.0", "emit", "(func $emit)").before_collect("(call $emit)");
    crate::guest::install(&guest.component_of(&package), &setup.plugin("later.wasm"));
    let (_, log) = setup.once();
    assert!(log.contains("test:later/events") && log.contains("update the agent, or rebuild it"), "{log}");
}
