//! Tests of the series of a numeric sink, with a protocol that renders them as text.

use std::fmt::Write as _;

use super::super::admission::SeriesSettings;
use super::*;
use crate::naming::Naming;
use crate::sample::{
    AGENT, CollectorVersion, Label, Labels, ModuleSource, ModuleWriter, Schema, SeriesAccount, Value, Values,
};
use crate::selection::{Selection, SeriesPattern};

fn settings() -> NumericSettings {
    NumericSettings {
        series: Arc::default(),
        naming: Naming::Gauged,
        prefix: "gauged".into(),
        tags: Arc::default(),
        host: "web-1".into(),
    }
}

/// Writes the modules of a collector with an interval of ten seconds.
fn writer(name: &'static str) -> ModuleWriter {
    let (collector, step) = (CollectorVersion::native("test"), Duration::from_secs(10));
    let source = ModuleSource { module: name.into(), collector, step, is_verbatim: false };
    ModuleWriter::new(source, [], &SeriesAccount::standalone())
}

fn module(writer: &mut ModuleWriter, seconds: u64, metrics: &[&str]) -> Arc<Module> {
    let fill = |values: &mut Values<'_>| metrics.iter().for_each(|metric| values.push(metric, 1_u64));
    writer.write(Duration::from_secs(seconds), fill).0
}

fn sample(seconds: u64, superseded: &[&Arc<Module>], modules: &[&Arc<Module>]) -> Sample {
    let own = |modules: &[&Arc<Module>]| modules.iter().copied().cloned().collect();
    Sample {
        tick: Duration::from_secs(seconds),
        superseded: own(superseded),
        modules: own(modules),
        ..Sample::default()
    }
}

/// A sample with latest results of collectors that have no new one.
fn retaining(sample: Sample, retained: &[&Arc<Module>]) -> Sample {
    Sample { retained: retained.iter().copied().cloned().collect(), ..sample }
}

/// A series as text: its name and labels.
fn render(series: &NamedSeries<'_>) -> String {
    let labels: Vec<String> =
        series.flat_labels().iter().map(|label| format!("{}={},", label.name, label.value)).collect();
    let labels = labels.concat();
    format!("{}{{{labels}}}", series.flat_name())
}

/// The parts of a sample: `|` before each group, `-` before a series that has ended.
fn visited(series: &mut NumericSeries<String>, sample: &Sample) -> String {
    let mut text = String::new();
    series.visit(sample, render, |part| {
        let written = match part {
            Part::Group => write!(text, "| "),
            Part::Module(module) => write!(text, "{}: ", module.time.as_secs()),
            Part::Point(series, Number::Unsigned(number)) => write!(text, "{series} {number} "),
            Part::Point(series, number) => write!(text, "{series} {number:?} "),
            Part::Ended(series, time) => write!(text, "-{series} {} ", time.as_secs_f64()),
        };
        written.expect("a string grows");
    });
    text.trim_end().to_owned()
}

#[test]
fn results_are_grouped_by_time() {
    let (mut one, mut two) = (writer("one"), writer("two"));
    let (late, newer, other) =
        (module(&mut one, 10, &["a"]), module(&mut one, 20, &["a"]), module(&mut two, 20, &["y"]));
    let mut series = NumericSeries::new(Arc::new(settings()));
    assert_eq!(
        visited(&mut series, &sample(20, &[&late], &[&newer, &other])),
        "| 10: gauged_one_a{} 1 | 20: gauged_one_a{} 1 20: gauged_two_y{} 1"
    );
    let many: Vec<_> = (0..20).map(|seconds| module(&mut one, seconds, &["a"])).collect();
    let text = visited(&mut series, &sample(30, &many.iter().collect::<Vec<_>>(), &[&other]));
    assert_eq!(text.matches('|').count(), MAX_GROUPS, "{text}");
    assert_eq!(text.matches("gauged_one_a").count(), 20);
    assert!(text.ends_with("| 20: gauged_two_y{} 1"), "{text}");
    assert_eq!(visited(&mut series, &retaining(sample(40, &[], &[]), &[&many[19], &other])), "|");
}

#[test]
fn series_end_with_their_labels_or_module() {
    let (mut one, mut two) = (writer("one"), writer("two"));
    let mut series = NumericSeries::new(Arc::new(settings()));
    let retained = module(&mut two, 20, &["c"]);
    let mut at = |seconds, one_metrics: &[&str], two_metrics: &[&str], is_retained: bool| {
        let modules = [module(&mut one, seconds, one_metrics), module(&mut two, seconds, two_metrics)];
        let present: Vec<_> = modules.iter().filter(|module| !module.is_empty()).collect();
        let all = [&retained];
        visited(&mut series, &retaining(sample(seconds, &[], &present), if is_retained { &all } else { &[] }))
    };
    at(10, &["a", "y"], &["c"], false);
    let text = at(20, &["a"], &["c"], false);
    assert_eq!(text, "| 20: gauged_one_a{} 1 20: gauged_two_c{} 1 -gauged_one_y{} 19.999", "before it was due");
    assert_eq!(at(30, &["a"], &[], true), "| 30: gauged_one_a{} 1");
    assert_eq!(at(40, &["a"], &[], false), "| 40: gauged_one_a{} 1", "its call may take long");
    let text = at(50, &["a"], &[], false);
    assert_eq!(text, "| 50: gauged_one_a{} 1 -gauged_two_c{} 29.999", "two steps after the first absence");
    let mut ended = Vec::new();
    series.end(|series| ended.push(series.clone()));
    assert_eq!(ended, ["gauged_one_a{}"]);
}

#[test]
fn removed_module_ends_at_once() {
    let (mut one, mut two) = (writer("one"), writer("two"));
    let mut series = NumericSeries::new(Arc::new(settings()));
    let modules = [module(&mut one, 10, &["a"]), module(&mut two, 10, &["c"])];
    visited(&mut series, &sample(10, &[], &[&modules[0], &modules[1]]));
    let next = retaining(sample(15, &[], &[]), &[&modules[1]]);
    assert_eq!(visited(&mut series, &next), "| -gauged_one_a{} 15", "not in the future");
}

#[test]
fn late_points_are_not_older_than_the_end() {
    let mut slow = writer("slow");
    let mut series = NumericSeries::new(Arc::new(settings()));
    // Each call takes more than five steps.
    let first = module(&mut slow, 10, &["a"]);
    assert_eq!(visited(&mut series, &sample(70, &[], &[&first])), "| 10: gauged_slow_a{} 1");
    let mut without = |tick: u64| {
        let retained: &[&Arc<Module>] = if tick == 80 { &[&first] } else { &[] };
        visited(&mut series, &retaining(sample(tick, &[], &[]), retained))
    };
    assert_eq!([80, 90, 100, 110].map(&mut without), ["|", "|", "| -gauged_slow_a{} 19.999", "|"]);
    let second = module(&mut slow, 70, &["a"]);
    assert_eq!(visited(&mut series, &sample(130, &[], &[&second])), "| 70: gauged_slow_a{} 1");
}

#[test]
fn parts_of_pushed_points_end_no_series() {
    let mut pushed = writer("push_60");
    let mut series = NumericSeries::new(Arc::new(settings()));
    let mut whole = |seconds: u64, names: &[&str]| module(&mut pushed, seconds, names);
    let all = whole(9, &["a", "c", "e"]);
    visited(&mut series, &sample(10, &[], &[&all]));
    // Programs push at moments of their own.
    let part = |at: usize, seconds: u64| {
        let schema = Schema::with_series(all.schema().source().clone(), vec![Arc::clone(&all.schema().series()[at])]);
        Arc::new(Module::new(Duration::from_secs(seconds), schema, vec![Value::Unsigned(at as u64)]))
    };
    let (older, newer) = (part(2, 17), part(1, 19));
    let mut next = retaining(sample(20, &[&older], &[&newer]), &[&all]);
    next.stale.push("push_60".into());
    assert_eq!(visited(&mut series, &next), "| 17: gauged_push_60_e{} 2 | 19: gauged_push_60_c{} 1");
    assert_eq!(visited(&mut series, &retaining(sample(30, &[], &[]), &[&all])), "|");
    let left = whole(39, &["c", "e"]);
    let text = visited(&mut series, &sample(40, &[], &[&left]));
    assert_eq!(text, "| 39: gauged_push_60_c{} 1 gauged_push_60_e{} 1 -gauged_push_60_a{} 18.999");
}

#[test]
fn series_released_twice_ends_once() {
    let mut one = writer("one");
    let empty: Labels = [("disk", "")].into();
    let first = module(&mut one, 10, &["a"]);
    // The same series to a receiver, and another one to the module.
    let second = one.write(Duration::from_secs(20), |values| values.push_labelled("a", &empty, 2_u64)).0;
    let third = module(&mut one, 30, &["y"]);
    let mut series = NumericSeries::new(Arc::new(settings()));
    assert_eq!(
        visited(&mut series, &sample(30, &[&first, &second], &[&third])),
        "| 10: gauged_one_a{} 1 | 20: gauged_one_a{} 2 | 30: gauged_one_y{} 1 -gauged_one_a{} 29.999"
    );
}

#[test]
fn null_series_do_not_end() {
    let mut one = writer("one");
    let mut series = NumericSeries::new(Arc::new(settings()));
    let null = one.write(Duration::from_secs(10), |values| values.push("a", None::<u64>)).0;
    assert_eq!(visited(&mut series, &sample(10, &[], &[&null])), "| 10:");
    assert_eq!(visited(&mut series, &sample(20, &[], &[&module(&mut one, 20, &["y"])])), "| 20: gauged_one_y{} 1");
}

#[test]
fn second_series_of_a_name_waits_for_it() {
    // Both are `gauged_x_y_z`.
    let (mut first, mut second) = (writer("x_y"), writer("x"));
    let mut series = NumericSeries::new(Arc::new(settings()));
    let mut at = |seconds, first_metrics: &[&str]| {
        let modules = [module(&mut second, seconds, &["y_z"]), module(&mut first, seconds, first_metrics)];
        // The one that has the name first comes last later.
        let order: [usize; 2] = if seconds == 10 { [1, 0] } else { [0, 1] };
        let text = visited(&mut series, &sample(seconds, &[], &order.map(|at| &modules[at])));
        (text, series.left_out())
    };
    let both = ("| 10: gauged_x_y_z{} 1 10:".to_owned(), 1);
    assert_eq!(at(10, &["z"]), both);
    assert_eq!(at(20, &["z"]).1, 1);
    // The name is free at the end of this sample only.
    at(30, &["w"]);
    let (text, left_out) = at(40, &["w"]);
    assert_eq!((&*text, left_out), ("| 40: gauged_x_y_z{} 1 40: gauged_x_y_w{} 1", 0));
}

#[test]
fn alternatives_are_not_left_out() {
    let (mut cpu, mut kernel) = (writer("cpu"), writer("kernel"));
    let settings = NumericSettings { naming: Naming::OpenFalcon, ..settings() };
    let mut series = NumericSeries::new(Arc::new(settings));
    let modules = [module(&mut cpu, 10, &["ctx_switches"]), module(&mut kernel, 10, &["context_switches_total"])];
    let text = visited(&mut series, &sample(10, &[], &[&modules[0], &modules[1]]));
    assert_eq!((&*text, series.left_out()), ("| 10: cpu.switches{} 1 10:", 0));
    let next = [20, 30].map(|seconds| module(&mut kernel, seconds, &["context_switches_total"]));
    assert_eq!(visited(&mut series, &sample(20, &[], &[&next[0]])), "| 20: -cpu.switches{} 19.999");
    let text = visited(&mut series, &sample(30, &[], &[&next[1]]));
    assert_eq!((&*text, series.left_out()), ("| 30: cpu.switches{} 1", 0));
}

#[test]
fn changed_selection_ends_series() {
    let mut one = writer("one");
    let mut series = NumericSeries::new(Arc::new(settings()));
    visited(&mut series, &sample(10, &[], &[&module(&mut one, 10, &["a", "y"])]));
    let exclude = vec![SeriesPattern::parse("one.a").expect("a pattern")];
    let selected = SeriesSettings { own: Selection { exclude, ..Selection::default() }, ..SeriesSettings::default() };
    series.follow(&Arc::new(NumericSettings { series: Arc::new(selected), ..settings() }));
    let next = sample(20, &[], &[&module(&mut one, 20, &["a", "y"])]);
    assert_eq!(visited(&mut series, &next), "| 20: gauged_one_y{} 1 -gauged_one_a{} 19.999");
}

#[test]
fn tags_are_labels_of_every_series() {
    let tags: Vec<Label> = [("dc", "fra1"), ("disk", "none"), ("empty", "")]
        .map(|(name, value)| Label { name: name.into(), value: value.into() })
        .into();
    let mut series = NumericSeries::new(Arc::new(NumericSettings { tags: tags.into(), ..settings() }));
    let labels: Labels = [("disk", "sda"), ("bus", "")].into();
    let module = writer("one").write(Duration::ZERO, |values| values.push_labelled("a", &labels, 1_u64)).0;
    assert_eq!(visited(&mut series, &sample(0, &[], &[&module])), "| 0: gauged_one_a{dc=fra1,disk=sda,} 1");
}

#[test]
fn series_of_one_name_after_renaming_collide() {
    let mut series =
        NumericSeries::with_rules(Arc::new(settings()), NameRules { reserved: &["job"], ..NameRules::default() });
    let labels: [Labels; 2] = [[("job", "x")].into(), [("exported_job", "x")].into()];
    let fill = |values: &mut Values<'_>| labels.iter().for_each(|labels| values.push_labelled("a", labels, 1_u64));
    let module = writer("one").write(Duration::ZERO, fill).0;
    let text = visited(&mut series, &sample(0, &[], &[&module]));
    assert_eq!((&*text, series.left_out()), ("| 0: gauged_one_a{exported_job=x,} 1", 1));
}

#[test]
fn host_name_of_the_sample_is_followed() {
    let agent = writer(AGENT).write(Duration::ZERO, |values| values.push("hostname", "web-2")).0;
    let settings = Arc::new(settings());
    assert_eq!(&*settings.with_host(&sample(0, &[], &[&agent])).host, "web-2");
    assert!(Arc::ptr_eq(&settings.with_host(&sample(0, &[], &[])), &settings));
}
