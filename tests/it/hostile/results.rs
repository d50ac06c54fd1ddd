//! Plugins that return what they must not: too much, what is nothing, what is another's, and now and then nothing at all.

use crate::guest::{Guest, METRIC, MODULE, RETURNED, VALUE};
use crate::harness::{about, faults, value};
use crate::hostile::{Ordeal, Reaction, endures, for_all};

fn bad() -> Guest {
    Guest::new("bad")
}

const TOO_MUCH: Reaction<'_> = Reaction::Fault("oversize", "too much data");

#[test]
fn a_trap_is_counted() {
    endures(&bad().before_collect("unreachable").module(), "", &Reaction::Fault("trap", "collect failed"));
}

#[test]
fn returned_internal_error_is_counted() {
    let failing = bad().error(4, "out of ideas\n").module();
    endures(&failing, "", &Reaction::Fault("internal", r"out of ideas\n (internal)"));
}

#[test]
fn oversized_result_is_refused() {
    // 200,000 modules, which are 3 MiB of memory and more than that once they are taken in.
    endures(&bad().pages(60).patch(RETURNED + 8, &[200_000]).module(), "", &TOO_MUCH);
}

#[test]
fn nested_lists_beyond_the_limit_are_refused() {
    // 10,000 modules, each of the same 10,000 metrics, each with the same 10,000 labels: a petabyte out of a megabyte.
    let (table, many) = (131_072, 10_000);
    let build = format!(
        "(local $at i32) (local.set $at (i32.const {table}))
         (loop $on
            (i32.store (local.get $at) (i32.const 1024)) (i32.store offset=4 (local.get $at) (i32.const 3))
            (i32.store offset=8 (local.get $at) (i32.const {table})) (i32.store offset=12 (local.get $at) (i32.const {many}))
            (local.set $at (i32.add (local.get $at) (i32.const 16)))
            (br_if $on (i32.lt_u (local.get $at) (i32.const 1100000))))"
    );
    let guest = bad().pages(20).patch(RETURNED + 4, &[table, many]).before_collect(&build);
    endures(&guest.module(), "", &TOO_MUCH);
}

#[test]
fn oversized_strings_are_refused() {
    let length = 5 << 20;
    endures(&bad().pages(100).patch(MODULE + 4, &[length]).module(), "", &TOO_MUCH);
    let as_error = bad().pages(100).patch(RETURNED, &[1, 4, 131_072, length]);
    endures(&as_error.module(), "", &TOO_MUCH);
}

#[test]
fn long_error_text_is_truncated_in_the_log() {
    let as_error = bad().pages(40).patch(RETURNED, &[1, 4, 131_072, 1 << 20]);
    endures(&as_error.module(), "", &Reaction::Fault("internal", "… (internal)"));
}

/// What is returned cannot be read: the guest broke the rules of its calls.
fn break_off<const N: usize>(cases: [(Guest, &str); N]) {
    for_all(cases, |(guest, why)| endures(&guest.module(), "", &Reaction::Fault("trap", why)));
}

#[test]
fn results_outside_guest_memory_are_refused() {
    break_off([
        (bad().collect("i32.const -16"), "pointer out of bounds"),
        (bad().collect("i32.const 65"), "pointer not aligned"),
        (bad().patch(RETURNED + 4, &[0xffff_fff0]), "list pointer/length out of bounds"),
        (bad().patch(MODULE, &[0xffff_fff0]), "string pointer/length out of bounds"),
    ]);
}

#[test]
fn invalid_utf8_is_refused() {
    break_off([(bad().patch(1024, &[0xffff_ffff]), "invalid utf-8")]);
}

#[test]
fn unknown_discriminants_are_refused() {
    break_off([
        (bad().patch(RETURNED, &[2]), "invalid expected discriminant"),
        (bad().patch(VALUE, &[9]), "unexpected discriminant: 9"),
        (bad().patch(RETURNED, &[1, 77]), "unexpected discriminant: 77"),
    ]);
}

#[test]
fn non_finite_values_are_dropped_and_counted() {
    let why = Reaction::Dropped(1, "dropped the metric bad.value: its value is not finite; mend the plugin");
    endures(&bad().float(f64::NAN).module(), "", &why);
    endures(&bad().float(f64::NEG_INFINITY).module(), "", &why);
}

#[test]
fn invalid_names_are_dropped_and_counted() {
    let forged = Guest::new("bad\n2026-11-23 ERROR plugin able: gone");
    let why =
        Reaction::Dropped(1, r"dropped the module bad\n2026-11-23 ERROR plugin able: gone: its name breaks the rules");
    endures(&forged.module(), "", &why);
    let mut guest = bad();
    let name = guest.text("value{a=\"b\"}");
    let why = Reaction::Dropped(1, "dropped the metric bad.value{a=\"b\"}: its name breaks the rules");
    endures(&guest.patch(METRIC, &[name.0, name.1]).module(), "", &why);
}

#[test]
fn duplicates_are_dropped_and_counted() {
    let mut guest = bad();
    let name = guest.text("bad");
    let guest = guest.patch(RETURNED + 8, &[2]).patch(MODULE + 16, &[name.0, name.1, METRIC, 1]);
    endures(&guest.module(), "", &Reaction::Dropped(1, "dropped the module bad: it is there twice"));
    let mut guest = bad();
    let metric = guest.text("value");
    let guest = guest.patch(MODULE + 12, &[2]).patch(METRIC + 32, &[metric.0, metric.1, 0, 0, 0, 0, 2, 0]);
    endures(&guest.module(), "", &Reaction::Dropped(1, "dropped the metric bad.value: it is there twice"));
}

/// Returns this many metrics, which differ by the value of their label.
fn flood(many: u32) -> Guest {
    let mut guest = bad();
    let (metric, label) = (guest.text("value"), guest.text("n"));
    let (metrics, labels, texts) = (131_072, 131_072 + 32 * many, 131_072 + 48 * many);
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
            (local.set $m (i32.add (local.get $m) (i32.const 32)))
            (local.set $l (i32.add (local.get $l) (i32.const 16)))
            (local.set $t (i32.add (local.get $t) (i32.const 8)))
            (br_if $on (i32.lt_u (local.get $n) (i32.const {many}))))",
        metric.0, metric.1, label.0, label.1
    );
    guest.pages(3 + 56 * many / 65536).patch(MODULE + 8, &[metrics, many]).before_collect(&build)
}

#[test]
fn a_hundred_thousand_label_sets_are_refused() {
    endures(&flood(100_000).module(), "", &TOO_MUCH);
}

#[test]
fn excess_label_sets_are_dropped_and_counted() {
    let mut ordeal = Ordeal::at_interval("1s", "").allowing_mb(16);
    let why = "dropped the metric bad.value: there are more than limits.metrics";
    ordeal.suffer(&flood(12_000).module(), &Reaction::Dropped(2000, why));
    let sample = ordeal.agent.next();
    assert_eq!(sample["bad"].len(), 10_000);
    ordeal.recover();
}

#[test]
fn modules_of_the_agent_are_reserved() {
    for native in ["cpu", "agent"] {
        let why = format!("its module {native} is dropped, another collector has it; rename one");
        let mut ordeal = Ordeal::new("");
        ordeal.suffer(&Guest::new(native).value(666).module(), &Reaction::Dropped(1, &why));
        assert!(ordeal.agent.seen().iter().all(|sample| value(sample, native).is_none()));
        ordeal.recover();
    }
}

#[test]
fn module_of_another_plugin_is_reserved() {
    let why = "its module able is dropped, another collector has it; rename one";
    let mut ordeal = Ordeal::new("");
    ordeal.suffer(&Guest::new("able").value(666).module(), &Reaction::Dropped(1, why));
    assert!(ordeal.agent.seen().iter().all(|sample| value(sample, "able") != Some(666.into())));
    ordeal.recover();
}

#[test]
fn decreasing_counter_is_passed_on_unchanged() {
    let back = format!("(i32.store (i32.const {0}) (i32.sub (i32.load (i32.const {0})) (i32.const 10)))", VALUE + 8);
    let mut ordeal = Ordeal::new("");
    ordeal.put(&bad().value(1000).before_collect(&back).module());
    ordeal.agent.wait(|sample| value(sample, "bad") == Some(960.into()));
    let values: Vec<u64> = ordeal.agent.seen().iter().filter_map(|sample| value(sample, "bad")?.as_u64()).collect();
    // The first call was the trial.
    assert_eq!(values, [980, 970, 960]);
    ordeal.recover();
}

#[test]
fn intermittent_failure_never_gives_stale_metrics() {
    // Counts its calls and traps at the fourth; the first one of the first instance is its trial.
    let count = format!(
        "(i32.store (i32.const {0}) (i32.add (i32.load (i32.const {0})) (i32.const 1)))
         (if (i32.eq (i32.load (i32.const {0})) (i32.const 4)) (then unreachable))",
        VALUE + 8
    );
    let mut ordeal = Ordeal::new("");
    ordeal.put(&bad().value(0).before_collect(&count).module());
    ordeal.agent.wait(|sample| faults(sample, "bad", "trap") >= 2.0);
    ordeal.agent.wait(|sample| value(sample, "bad").is_some());
    let mut rows: Vec<Vec<u64>> = vec![vec![]];
    let (mut pauses, mut failed) = (vec![], 0.0);
    for sample in ordeal.agent.seen().iter().skip_while(|sample| value(sample, "bad").is_none()) {
        if faults(sample, "bad", "trap") > failed {
            failed = faults(sample, "bad", "trap");
            rows.push(vec![]);
            pauses.push(0);
        }
        if let Some(value) = value(sample, "bad") {
            assert_eq!(about(sample, "plugin_up", "bad"), Some(1.0));
            rows.last_mut().expect("one").extend(value.as_u64());
        } else {
            assert_eq!(about(sample, "plugin_up", "bad"), Some(0.0));
            *pauses.last_mut().expect("it has failed") += 1;
        }
    }
    assert_eq!(rows, [vec![2, 3], vec![1, 2, 3], vec![1]], "each value once, and none of a call that failed");
    // The tick that failed, and those within a pause of 0.9 to 1 s, of 1.8 to 2 s.
    assert!(matches!(*pauses, [4..=5, 8..=9]), "{pauses:?}");
    let log = ordeal.agent.log();
    assert!(log.contains("started afresh after 1s") && log.contains("started afresh after 2s"), "{log}");
    ordeal.recover();
}
