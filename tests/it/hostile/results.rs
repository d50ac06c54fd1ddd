//! Plugins that return invalid results: too much data, invalid values, modules of others, and errors now and then.

use crate::guest::{
    COLLECT_RESULT, Guest, METRIC, METRIC_BYTES, METRICS, MODULE, MODULE_BYTES, VALUE, metric_of, module_words,
};
use crate::harness::{fault_count, plugin_metric, value};
use crate::hostile::{HostileTest, Outcome, assert_outcome, in_parallel};

fn bad() -> Guest {
    Guest::new("bad")
}

const TOO_MUCH: Outcome<'_> = Outcome::Fault("oversize", "too much data");

#[test]
fn a_trap_is_counted() {
    assert_outcome(&bad().before_collect("unreachable").module(), "", &Outcome::Fault("trap", "collect failed"));
}

#[test]
fn returned_error_is_counted_and_no_fault() {
    let failing = bad().error(4, "out of ideas\n").module();
    assert_outcome(&failing, "", &Outcome::Error(r#"reason="out of ideas\\n""#));
}

#[test]
fn oversized_result_is_refused() {
    // 150,000 modules: 8 MiB of the guest's memory, and more of the host's.
    assert_outcome(&bad().pages(140).patch(COLLECT_RESULT + 8, &[150_000]).module(), "", &TOO_MUCH);
}

#[test]
fn nested_lists_beyond_the_limit_are_refused() {
    // 10,000 modules, each of the same 10,000 metrics, each with the same 10,000 labels: a petabyte out of a megabyte.
    let many = 10_000;
    let labels = 131_072;
    let metrics = labels + 16 * many;
    let modules = metrics + METRIC_BYTES * many;
    // Each has a name, and a list at some place, or a text.
    let fill = |table: u32, stride: u32, place: u32, (at, length): (u32, u32)| {
        format!(
            "(local.set $at (i32.const {table}))
             (loop $on
                (i32.store (local.get $at) (i32.const 1024)) (i32.store offset=4 (local.get $at) (i32.const 3))
                (i32.store offset={place} (local.get $at) (i32.const {at}))
                (i32.store offset={} (local.get $at) (i32.const {length}))
                (local.set $at (i32.add (local.get $at) (i32.const {stride})))
                (br_if $on (i32.lt_u (local.get $at) (i32.const {}))))",
            place + 4,
            table + stride * many
        )
    };
    let build = [
        fill(labels, 16, 8, (1024, 3)),
        fill(metrics, METRIC_BYTES, 8, (labels, many)),
        fill(modules, MODULE_BYTES, METRICS - MODULE, (metrics, many)),
    ];
    let build = format!("(local $at i32) {}", build.concat());
    let guest = bad().pages(22).patch(COLLECT_RESULT + 4, &[modules, many]).before_collect(&build);
    // What is taken of the result until it is too much.
    let mut test = HostileTest::new("").allow_mb(12);
    test.expect(&guest.module(), &TOO_MUCH);
    test.replace_and_check();
}

#[test]
fn oversized_strings_are_refused() {
    let length = 9 << 20;
    assert_outcome(&bad().pages(160).patch(MODULE + 4, &[length]).module(), "", &TOO_MUCH);
    let as_error = bad().pages(160).patch(COLLECT_RESULT, &[1, 4, 131_072, length]);
    assert_outcome(&as_error.module(), "", &TOO_MUCH);
}

#[test]
fn long_error_text_is_truncated_in_the_log() {
    let as_error = bad().pages(40).patch(COLLECT_RESULT, &[1, 4, 131_072, 1 << 20]);
    assert_outcome(&as_error.module(), "", &Outcome::Error("…\""));
}

/// Asserts that a result breaks the canonical ABI, which is a trap with this reason.
fn assert_invalid<const N: usize>(cases: [(Guest, &str); N]) {
    in_parallel(cases, |(guest, reason)| assert_outcome(&guest.module(), "", &Outcome::Fault("trap", reason)));
}

#[test]
fn results_outside_guest_memory_are_refused() {
    assert_invalid([
        (bad().collect("i32.const -16"), "pointer out of bounds"),
        (bad().collect("i32.const 65"), "pointer not aligned"),
        (bad().patch(COLLECT_RESULT + 4, &[0xffff_fff0]), "list pointer/length out of bounds"),
        (bad().patch(MODULE, &[0xffff_fff0]), "string pointer/length out of bounds"),
        (bad().patch(METRICS, &[0xffff_fff0]), "list pointer/length out of bounds"),
        (bad().patch(METRICS, &[METRIC + 4]), "list pointer is not aligned"),
        (bad().patch(METRIC, &[0xffff_fff0]), "string pointer/length out of bounds"),
        (bad().patch(METRIC + 8, &[0xffff_fff0, 1]), "list pointer/length out of bounds"),
        (bad().patch(METRIC + 8, &[METRIC + 2, 1]), "list pointer is not aligned"),
    ]);
}

#[test]
fn invalid_utf8_is_refused() {
    // The name of the module, and within that of the metric after it.
    assert_invalid([1024, 1028].map(|at| (bad().patch(at, &[0xffff_ffff]), "invalid utf-8")));
}

#[test]
fn unknown_discriminants_are_refused() {
    assert_invalid([
        (bad().patch(COLLECT_RESULT, &[2]), "invalid expected discriminant"),
        (bad().patch(VALUE, &[9]), "unexpected discriminant: 9"),
        (bad().patch(COLLECT_RESULT, &[1, 77]), "unexpected discriminant: 77"),
    ]);
}

#[test]
fn non_finite_values_are_dropped_and_counted() {
    let outcome = Outcome::Dropped(1, "the metric bad.value: its value is not finite");
    assert_outcome(&bad().float(f64::NAN).module(), "", &outcome);
    assert_outcome(&bad().float(f64::NEG_INFINITY).module(), "", &outcome);
}

#[test]
fn invalid_names_are_dropped_and_counted() {
    let forged = Guest::new("bad\n2026-11-23 ERROR plugin able: gone");
    let outcome =
        Outcome::Dropped(1, r"the module bad\\n2026-11-23 ERROR plugin able: gone: its name breaks the rules");
    assert_outcome(&forged.module(), "", &outcome);
    let mut guest = bad();
    let name = guest.text("value{a=\"b\"}");
    let outcome = Outcome::Dropped(1, r#"the metric bad.value{a=\"b\"}: its name breaks the rules"#);
    assert_outcome(&guest.patch(METRIC, &[name.0, name.1]).module(), "", &outcome);
}

#[test]
fn duplicates_are_dropped_and_counted() {
    let mut guest = bad();
    let name = guest.text("bad");
    let guest = guest.patch(COLLECT_RESULT + 8, &[2]).patch(MODULE + MODULE_BYTES, &module_words(name, METRIC, 1));
    assert_outcome(&guest.module(), "", &Outcome::Dropped(1, "the module bad: it is there twice"));
    let mut guest = bad();
    let metric = guest.text("value");
    let second = metric_of(metric, (0, 0), [0, 0, 2, 0]);
    let guest = guest.patch(METRICS + 4, &[2]).patch(METRIC + METRIC_BYTES, &second);
    assert_outcome(&guest.module(), "", &Outcome::Dropped(1, "the metric bad.value: it is there twice"));
}

/// A plugin that returns so many metrics, which differ by the value of their label.
fn many_label_sets(many: u32) -> Guest {
    many_label_sets_as("bad", many)
}

/// The same guest with another module.
pub fn many_label_sets_as(module: &str, many: u32) -> Guest {
    let mut guest = Guest::new(module);
    let (metric, label) = (guest.text("value"), guest.text("n"));
    let (metrics, labels, texts) = (131_072, 131_072 + 64 * many, 131_072 + 80 * many);
    let digits = (0..5)
        .map(|digit| {
            format!(
                "(i32.store8 offset={digit} (local.get $t)
                    (i32.add (i32.const 97) (i32.and (i32.shr_u (local.get $n) (i32.const {})) (i32.const 15))))",
                digit * 4
            )
        })
        .collect::<Vec<_>>()
        .concat();
    let build = format!(
        "(local $n i32) (local $m i32) (local $l i32) (local $t i32)
         (local.set $m (i32.const {metrics})) (local.set $l (i32.const {labels})) (local.set $t (i32.const {texts}))
         (loop $on
            (i32.store (local.get $m) (i32.const {})) (i32.store offset=4 (local.get $m) (i32.const {}))
            (i32.store offset=8 (local.get $m) (local.get $l)) (i32.store offset=12 (local.get $m) (i32.const 1))
            (i32.store (local.get $l) (i32.const {})) (i32.store offset=4 (local.get $l) (i32.const {}))
            (i32.store offset=8 (local.get $l) (local.get $t)) (i32.store offset=12 (local.get $l) (i32.const 5))
            {digits}
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (local.set $m (i32.add (local.get $m) (i32.const 64)))
            (local.set $l (i32.add (local.get $l) (i32.const 16)))
            (local.set $t (i32.add (local.get $t) (i32.const 8)))
            (br_if $on (i32.lt_u (local.get $n) (i32.const {many}))))",
        metric.0, metric.1, label.0, label.1
    );
    guest.pages(3 + 88 * many / 65536).patch(METRICS, &[metrics, many]).before_collect(&build)
}

#[test]
fn a_hundred_thousand_label_sets_are_refused() {
    // The guest's own memory is nine megabytes.
    let mut test = HostileTest::new("").allow_mb(24);
    test.expect(&many_label_sets(100_000).module(), &TOO_MUCH);
    test.replace_and_check();
}

#[test]
fn excess_label_sets_are_dropped_and_counted() {
    let mut test = HostileTest::at_interval("1s", "").allow_mb(32);
    let reason = "the metric bad.value: there are more than limits.metrics";
    test.expect(&many_label_sets(22_000).module(), &Outcome::Dropped(2000, reason));
    let sample = test.agent.next();
    assert_eq!(sample["bad"].len(), 20_000);
    test.replace_and_check();
}

#[test]
fn modules_of_the_agent_are_reserved() {
    for native in ["cpu", "agent"] {
        let reason = format!(
            "module={native} reason=\"another collector has the module\" remedy=\"rename the module in one of them, or remove one\""
        );
        let mut test = HostileTest::new("");
        test.expect(&Guest::new(native).value(666).module(), &Outcome::Dropped(1, &reason));
        assert!(test.agent.samples().iter().all(|sample| value(sample, native).is_none()));
        test.replace_and_check();
    }
}

#[test]
fn module_of_another_plugin_is_reserved() {
    let reason = "module=able reason=\"another collector has the module\" remedy=\"rename the module in one of them, or remove one\"";
    let mut test = HostileTest::new("");
    test.expect(&Guest::new("able").value(666).module(), &Outcome::Dropped(1, reason));
    assert!(test.agent.samples().iter().all(|sample| value(sample, "able") != Some(666.into())));
    test.replace_and_check();
}

#[test]
fn decreasing_counter_is_passed_on_unchanged() {
    let decrease =
        format!("(i32.store (i32.const {0}) (i32.sub (i32.load (i32.const {0})) (i32.const 10)))", VALUE + 8);
    let mut test = HostileTest::new("");
    test.install(&bad().value(1000).before_collect(&decrease).module());
    test.agent.wait(|sample| value(sample, "bad") == Some(960.into()));
    let values: Vec<u64> = test.agent.samples().iter().filter_map(|sample| value(sample, "bad")?.as_u64()).collect();
    // The first call was the trial.
    assert_eq!(values, [980, 970, 960]);
    test.replace_and_check();
}

#[test]
fn intermittent_failure_never_gives_stale_metrics() {
    // Counts its calls and traps at the fourth. The first call of the first instance is the trial.
    let count = format!(
        "(i32.store (i32.const {0}) (i32.add (i32.load (i32.const {0})) (i32.const 1)))
         (if (i32.eq (i32.load (i32.const {0})) (i32.const 4)) (then unreachable))",
        VALUE + 8
    );
    let mut test = HostileTest::new("");
    test.install(&bad().value(0).before_collect(&count).module());
    test.agent.wait(|sample| fault_count(sample, "bad", "trap") >= 2.0);
    test.agent.wait(|sample| value(sample, "bad").is_some());
    let mut values: Vec<Vec<u64>> = vec![vec![]];
    // From the last value before each fault to the first one after it, in seconds.
    let mut pauses = vec![];
    let (mut last_value, mut known_faults) = (0.0, 0.0);
    for sample in test.agent.samples().iter().skip_while(|sample| value(sample, "bad").is_none()) {
        let timestamp = sample["agent"]["timestamp"].as_f64().expect("a number");
        if fault_count(sample, "bad", "trap") > known_faults {
            known_faults = fault_count(sample, "bad", "trap");
            values.push(vec![]);
        }
        if let Some(value) = value(sample, "bad") {
            assert_eq!(plugin_metric(sample, "plugin_up", "bad"), Some(1.0));
            let since_fault = values.last_mut().expect("one");
            if since_fault.is_empty() && known_faults > 0.0 {
                pauses.push(timestamp - last_value);
            }
            since_fault.extend(value.as_u64());
            last_value = timestamp;
        } else {
            assert_eq!(plugin_metric(sample, "plugin_up", "bad"), Some(0.0));
        }
    }
    assert_eq!(values, [vec![2, 3], vec![1, 2, 3], vec![1]], "each value once, and none of a call that failed");
    // A backoff of 0.9 to 1 s, then one of 1.8 to 2 s, each until the next tick; a busy machine may take a second longer.
    assert!(matches!(*pauses, [0.9..2.5, 1.8..3.5]), "{pauses:?}");
    test.agent.wait_log("restart_after=1s");
    test.agent.wait_log("restart_after=2s");
    test.replace_and_check();
}
