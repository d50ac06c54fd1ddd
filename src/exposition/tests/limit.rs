//! Tests of the limit of series.

use super::*;

#[test]
fn earlier_series_stay_within_the_limit() {
    let mut exposition = Exposition::new(ExpositionSettings { max_series: 2, ..settings() });
    let mut writer = writer("app", false, &[]);
    let mut counts = |names: &[&str]| {
        let (module, ()) = writer.write(TICK, |values| names.iter().for_each(|name| values.push(name, 1)));
        let lines = lines(&mut exposition, &sample([module]));
        (lines.join(" "), exposition.counts().left_out)
    };
    assert_eq!(counts(&["x", "y"]), ("gauged_app_x 1 gauged_app_y 1".to_owned(), 0));
    assert_eq!(counts(&["a", "x", "y", "z"]), ("gauged_app_x 1 gauged_app_y 1".to_owned(), 2));
    assert_eq!(counts(&["a", "y", "z"]), ("gauged_app_a 1 gauged_app_y 1".to_owned(), 1));
}

#[test]
fn texts_take_no_place_of_the_limit() {
    let mut exposition = Exposition::new(ExpositionSettings { max_series: 2, ..settings() });
    let mut app = writer("app", false, &METRICS);
    let mut tick = |state: Value, gone: Value| {
        let fill = |values: &mut Values<'_>| {
            values.push("state", state);
            values.push("gone", gone);
            values.push("used", 1);
            values.push("requests", 2);
        };
        let sample = sample([app.write(TICK, fill).0]);
        (lines(&mut exposition, &sample), exposition.counts())
    };
    let text = || Value::from("idle");
    let counts = |left_out| ExpositionCounts { series: 2, left_out, collisions: 0 };
    let used = || "gauged_app_used_bytes 1".to_owned();
    // A series that is null has a place: it may get a number.
    assert_eq!(tick(text(), Value::Null), (vec![used()], counts(1)));
    assert_eq!(tick(text(), Value::Unsigned(5)), (vec!["gauged_app_gone 5".to_owned(), used()], counts(1)));
    // A number in place of a text is a new series.
    assert_eq!(tick(Value::Unsigned(7), Value::Null), (vec![used()], counts(2)));
    let mut unlimited = Exposition::new(settings());
    let mut state =
        |state: Value| lines(&mut unlimited, &sample([app.write(TICK, |values| values.push("state", state)).0]));
    assert_eq!(state(text()), [""; 0]);
    assert_eq!(state(Value::Boolean(true)), ["gauged_app_state 1"]);
}

#[test]
fn histograms_are_left_out_as_a_whole() {
    let mut exposition = Exposition::new(ExpositionSettings { max_series: 7, ..settings() });
    let sample = sample([module("app", &METRICS, |values| {
        let bounds = BucketBounds::new(&[1.0, 5.0]).expect("rising");
        for queue in ["a", "b"] {
            let labels = [("queue", queue)].into();
            values.push_histogram("wait_ms", &labels, &bounds, &[1, 2, 3], 77.0).expect("a histogram");
        }
        values.push("up", 1);
    })]);
    let lines = lines(&mut exposition, &sample);
    assert!(lines.len() == 6 && !lines.iter().any(|line| line.contains("queue=\"b\"")), "{lines:?}");
    assert_eq!(exposition.counts(), ExpositionCounts { series: 6, left_out: 5, collisions: 0 });
}

#[test]
fn absent_modules_keep_their_places() {
    let every = |step: u64, name: &'static str| {
        let (collector, step) = (CollectorVersion::native("test"), Duration::from_secs(step));
        let source = ModuleSource { module: name.into(), collector, step, is_verbatim: false };
        ModuleWriter::new(source, [], &SeriesAccount::standalone()).write(TICK, |values| values.push("x", 1)).0
    };
    let (frequent, seldom, new) = (every(10, "frequent"), every(30, "seldom"), every(10, "new"));
    let mut exposition = Exposition::new(ExpositionSettings { max_series: 2, ..settings() });
    let mut at = |seconds: u64, modules: &[&Arc<Module>]| {
        let tick = TICK + Duration::from_secs(seconds);
        let sample = Sample { tick, ..sample(modules.iter().copied().cloned()) };
        let lines = lines(&mut exposition, &sample).join(" ");
        (lines, exposition.counts().left_out, exposition.layout.rows.as_ptr())
    };
    let both = "gauged_frequent_x 1 gauged_seldom_x 1".to_owned();
    let (lines, _, layout) = at(0, &[&frequent, &seldom]);
    assert_eq!(lines, both);
    assert_eq!(at(30, &[&frequent]), ("gauged_frequent_x 1".to_owned(), 0, layout), "its last call failed");
    assert_eq!(at(60, &[&frequent, &seldom]), (both.clone(), 0, layout), "the layout is the same");
    let (lines, left_out, layout) = at(90, &[&new, &frequent]);
    assert_eq!((&*lines, left_out), ("gauged_frequent_x 1", 1), "the new module takes nobody's place");
    assert_eq!(at(149, &[&new, &frequent]).2, layout);
    let (lines, left_out, _) = at(150, &[&new, &frequent]);
    assert_eq!((&*lines, left_out), ("gauged_frequent_x 1 gauged_new_x 1", 0), "it is gone");
}
