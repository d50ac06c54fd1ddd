//! `gauged plugin test`.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{CommandOutput, plugin, write_plugin};
use crate::guest::{COLLECT_RESULT, Guest, HOST_RESULT, METRIC, OTHER_RESULT, SECOND_VALUE, VALUE};
use crate::harness::Setup;

const GAUGE: u32 = 0;
const COUNTER: u32 = 1;

/// A guest that follows the plugin rules.
pub fn good_guest() -> Guest {
    Guest::new("decent").describes(&[("decent", "value", GAUGE)])
}

/// Runs `gauged plugin test` on a guest.
fn test(guest: &Guest, arguments: &[&str]) -> CommandOutput {
    let setup = Setup::new();
    write_plugin(&setup, guest, "guest.wasm");
    plugin(&setup, &[&["test", "guest.wasm"], arguments].concat())
}

/// Runs `gauged plugin test --json` on a guest; returns the report.
fn report(guest: &Guest, arguments: &[&str]) -> Value {
    let output = test(guest, &[&["--json"], arguments].concat());
    let json = output.json();
    assert_eq!(output.code, Some(i32::from(json["passed"] != true)), "{}", output.stderr);
    json
}

/// Asserts the rules that a guest breaks: the kind, the text, and the number of runs.
fn assert_violations(guest: &Guest, expected: &Expect) {
    let json = report(guest, &[]);
    assert_eq!((&json["passed"], &json["failures"], &json["denied"]), (&json!(false), &json!([]), &json!([])));
    let lines: Vec<String> = json["violations"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|violation| {
            format!("{} {} {}\n", violation["kind"], violation["text"].as_str().expect("a text"), violation["runs"])
        })
        .collect();
    expected.assert_eq(&lines.concat());
}

/// Instructions that add a number to the word at an address.
fn add(at: u32, by: &str) -> String {
    format!("(i32.store (i32.const {at}) (i32.add (i32.load (i32.const {at})) (i32.const {by})))")
}

/// Adds a read of a file at each call, whose result is ignored.
pub fn reading(guest: Guest, path: &str) -> Guest {
    let mut guest = guest.import("gauged:plugin/files", "read", "(func $read (param i32 i32 i32))");
    let (path, length) = guest.text(path);
    guest.before_collect(&format!("(call $read (i32.const {path}) (i32.const {length}) (i32.const {HOST_RESULT}))"))
}

#[test]
fn test_shows_sample_time_memory_and_verdict() {
    let output = test(&good_guest().value(7), &[]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{}", output.stdout);
    // Times and hashes differ from run to run, and the memory with the compiler.
    let varies = |line: &str| line.contains(" ms to ") || line.contains("5 of 5 runs") || line.contains("  memory  ");
    let lines: Vec<&str> = output.stdout.lines().filter(|line| !varies(line)).collect();
    expect![[r#"
        {
          "decent": {
            "value": 7
          }
        }

          metrics        1, modules: 1

        test passed
    "#]]
    .assert_eq(&(lines.join("\n") + "\n"));
    let json = report(&good_guest().value(7), &["--runs", "3"]);
    assert_eq!((&json["runs"], &json["sample"]["decent"]["value"]), (&json!(3), &json!(7)));
    let seconds = |key: &str| json["seconds"][key].as_f64().expect("a number");
    assert!(0.0 < seconds("min") && seconds("min") <= seconds("median") && seconds("median") <= seconds("max"));
    assert_eq!(seconds("limit"), 1.0);
    let memory = json["memory_bytes"].as_u64().expect("a number");
    assert!((262_144..400_000).contains(&memory), "{memory} bytes are four pages, the instance and its code");
    assert!(output.stdout.contains(" KiB; at most 64.0 MiB\n"), "{}", output.stdout);
}

#[test]
fn guest_messages_are_shown() {
    let json = report(&good_guest().logs(0, "so far, so\ngood"), &["--runs", "2"]);
    let message = |run| json!({ "run": run, "level": "debug", "text": "so far, so\\ngood" });
    assert_eq!(json["messages"], json!([message(1), message(2)]));
    assert_eq!(json["passed"], true);
    let output = test(&good_guest().logs(2, "careful"), &["--runs", "1"]);
    assert!(output.stdout.contains("log\n  run 1  warn  careful\n"), "{}", output.stdout);
}

#[test]
fn test_enforces_the_agents_limits() {
    let json = report(&good_guest().before_collect("(loop $forever (br $forever))"), &["--runs", "1"]);
    assert_eq!(json["failures"][0]["kind"], "timeout");
    assert!(json["failures"][0]["text"].as_str().expect("a text").contains("longer than its timeout of 1s"));
    let grow = "(if (i32.eq (memory.grow (i32.const 1000)) (i32.const -1)) (then (unreachable)))";
    let json = report(&good_guest().before_collect(grow), &["--runs", "3"]);
    let kinds: Vec<&Value> =
        json["failures"].as_array().expect("a list").iter().map(|failure| &failure["kind"]).collect();
    assert_eq!(kinds, ["memory"], "one failure, then a fresh instance: {json}");
    let setup = Setup::with_config("[plugins.guest]\nlimits = { metrics = 5 }\ntimeout = \"20ms\"\n");
    write_plugin(&setup, &good_guest().metrics(20), "guest.wasm");
    let json = plugin(&setup, &["test", "guest.wasm", "--json"]).json();
    assert_eq!(json["seconds"]["limit"], 0.02);
    assert!(json["violations"].to_string().contains("there are more than limits.metrics"), "{json}");
}

#[test]
fn faults_are_shown_with_their_backtrace() {
    let failing = |body: &str| {
        let functions = format!("(func $inner {body}) (func $outer (call $inner))");
        good_guest().with(&functions).before_collect("(call $outer)")
    };
    let grow = "(if (i32.eq (memory.grow (i32.const 2000)) (i32.const -1)) (then (unreachable)))";
    let recurse = "(call $inner)";
    for (body, kind) in
        [("unreachable", "trap"), ("(loop $on (br $on))", "timeout"), (grow, "memory"), (recurse, "stack")]
    {
        let json = report(&failing(body), &["--runs", "2"]);
        assert_eq!(json["failures"][0]["kind"], kind, "{json}");
        let text = json["failures"][0]["text"].as_str().expect("a text");
        assert!(!text.contains("backtrace"), "{text}");
        assert_eq!((&json["backtraces"][0]["runs"], &json["backtraces"][1]), (&json!([1, 2]), &json!(null)), "{json}");
        let frames = json["backtraces"][0]["frames"].as_array().expect("a list");
        assert!(frames[0].as_str().is_some_and(|frame| frame.starts_with("inner")), "{kind}: {frames:?}");
        assert!(
            kind == "stack" || frames[1].as_str().is_some_and(|frame| frame.starts_with("outer at 0x")),
            "{frames:?}"
        );
        assert!(frames.len() <= 30, "{kind}: {frames:?}");
    }
    let output = test(&failing("unreachable"), &["--runs", "3"]);
    assert!(output.stdout.contains("\nbacktrace of run 1, and of 2 more\n  inner at 0x"), "{}", output.stdout);
}

#[test]
fn denials_are_shown_with_their_remedy() {
    let guest = reading(good_guest(), "/etc/hostname");
    let json = report(&guest, &["--runs", "3"]);
    assert_eq!((&json["passed"], &json["denied"]), (&json!(false), &json!(["read = [\"/etc/hostname\"]"])));
    assert_eq!(json["configuration"], json!(["[plugins.guest]", "read = [\"/etc/hostname\"]"]));
    let output = test(&guest, &[]);
    assert_eq!(output.code, Some(1));
    assert!(
        output.stdout.contains("\n  [plugins.guest]\n  read = [\"/etc/hostname\"]\n\ntest failed\n"),
        "{}",
        output.stdout
    );
    let json = report(&guest, &["--grant", "read=/etc/*"]);
    assert_eq!(json["passed"], true, "{json}");
    let json = report(&reading(good_guest(), "/proc/self/mem"), &[]);
    assert_eq!(
        (&json["denied"], &json["configuration"]),
        (&json!(["no grant opens the agent's own process"]), &json!([]))
    );
}

#[test]
fn ungranted_need_fails_the_test() {
    let guest = good_guest().needs("connect", "db:5432", "ask for the size");
    let json = report(&guest, &[]);
    assert_eq!((&json["passed"], &json["denied"]), (&json!(false), &json!([])));
    assert_eq!(json["configuration"][1], "connect = [\"db:5432\"]");
    assert_eq!(report(&guest, &["--grant", "connect=db:5432"])["passed"], true);
    let json = report(&good_guest().needs("read", "etc", "read it"), &[]);
    assert_eq!((&json["passed"], &json["needs"][0]["granted"]), (&json!(false), &json!("never")));
}

#[test]
fn undescribed_metric_breaks_the_plugin_rules() {
    assert_violations(
        &Guest::new("guest"),
        &expect![[r#"
        "undescribed" guest.value is returned but not described 5
    "#]],
    );
}

#[test]
fn falling_counter_breaks_the_plugin_rules() {
    let guest = Guest::new("guest").describes(&[("guest", "value_total", COUNTER)]);
    let mut guest = guest.value(100).before_collect(&add(VALUE + 8, "-1"));
    let name = guest.text("value_total");
    assert_violations(
        &guest.patch(METRIC, &[name.0, name.1]),
        &expect![[r#"
        "backwards" guest.value_total is a counter, but fell from 99 to 98 4
    "#]],
    );
}

#[test]
fn value_of_wrong_kind_breaks_the_plugin_rules() {
    // A number and a boolean in turn.
    let alternate = format!("(i32.store (i32.const {VALUE}) (i32.xor (i32.load (i32.const {VALUE})) (i32.const 3)))");
    let guest = Guest::new("guest").describes(&[("guest", "value", COUNTER)]).before_collect(&alternate);
    assert_violations(
        &guest.patch(VALUE, &[0, 0, 0, 0]),
        &expect![[r#"
            "kind" guest.value is described as a counter, but is a boolean 5
            "name" guest.value is described as a counter, but its name does not end in _total 0
        "#]],
    );
}

#[test]
fn growing_label_sets_break_the_plugin_rules() {
    // One label, whose value is another digit at each run.
    let mut guest = good_guest();
    let (key, digit) = (guest.text("id"), guest.text("0"));
    let labels = guest.list(&[key.0, key.1, digit.0, digit.1]);
    let next =
        format!("(i32.store8 (i32.const {at}) (i32.add (i32.load8_u (i32.const {at})) (i32.const 1)))", at = digit.0);
    assert_violations(
        &guest.patch(METRIC + 8, &[labels, 1]).before_collect(&next),
        &expect![[r#"
        "growing" decent.value had 5 label sets in 5 runs, new ones in 4 of the last 4; use labels with few values 1
    "#]],
    );
}

#[test]
fn dropped_metrics_break_the_plugin_rules() {
    let nan = good_guest().float(f64::NAN).second("value").patch(SECOND_VALUE, &[2, 0, 0, 0x7ff0_0000]);
    assert_violations(
        &nan,
        &expect![[r#"
        "dropped" the metric decent.value: its value is not finite 5
    "#]],
    );
    let twice = good_guest().second("value");
    assert_violations(
        &twice,
        &expect![[r#"
        "dropped" the metric decent.value: it is there twice: labels are a set, whatever their order 5
    "#]],
    );
    // Two metrics with one set of labels, in another order.
    let mut reordered = good_guest().second("value");
    let texts = ["a", "b", "1"].map(|text| reordered.text(text));
    let [a, b, one] = texts;
    let first = reordered.list(&[a.0, a.1, one.0, one.1, b.0, b.1, one.0, one.1]);
    let second = reordered.list(&[b.0, b.1, one.0, one.1, a.0, a.1, one.0, one.1]);
    assert_violations(
        &reordered.patch(METRIC + 8, &[first, 2]).patch(SECOND_VALUE - 8, &[second, 2]),
        &expect![[r#"
            "dropped" the metric decent.value: it is there twice: labels are a set, whatever their order 5
            "label" decent.value has the label a, which is not described 5
            "label" decent.value has the label b, which is not described 5
        "#]],
    );
    let mut named = good_guest();
    let name = named.text("a value");
    assert_violations(
        &named.patch(METRIC, &[name.0, name.1]),
        &expect![[r#"
        "dropped" the metric decent.a value: its name breaks the rules 5
    "#]],
    );
    assert_violations(
        &Guest::new("cpu").describes(&[("cpu", "value", GAUGE)]),
        &expect![[r#"
        "reserved" the module cpu is reserved for the agent, which drops the plugin's; rename it 5
    "#]],
    );
}

#[test]
fn counters_may_restart_after_a_fault() {
    let guest = Guest::new("guest").describes(&[("guest", "value_total", COUNTER)]);
    // 1, 2, a trap, 1, 2.
    let at_three = format!("(if (i32.eq (i32.load (i32.const {})) (i32.const 3)) (then (unreachable)))", VALUE + 8);
    let mut guest = guest.value(0).before_collect(&format!("{} {at_three}", add(VALUE + 8, "1")));
    let name = guest.text("value_total");
    let json = report(&guest.patch(METRIC, &[name.0, name.1]), &["--runs", "5"]);
    assert_eq!((&json["violations"], &json["failures"][0]["run"]), (&json!([]), &json!(3)), "{json}");
    assert_eq!((&json["failures"][0]["kind"], &json["sample"]["guest"]["value_total"]), (&json!("trap"), &json!(2)));
}

#[test]
fn counters_may_restart_after_fault_then_unavailable() {
    let mut guest = Guest::new("guest").describes(&[("guest", "value_total", COUNTER)]).value(0);
    let (name, message) = (guest.text("value_total"), guest.text("not yet"));
    // Unavailable, 2, 3, a trap, unavailable, 2.
    let body = format!(
        "{} (if (i32.eq (i32.load (i32.const {at})) (i32.const 4)) (then (unreachable)))
        (if (i32.eq (i32.load (i32.const {at})) (i32.const 1)) (then (return (i32.const {OTHER_RESULT}))))",
        add(VALUE + 8, "1"),
        at = VALUE + 8
    );
    let guest =
        guest.patch(METRIC, &[name.0, name.1]).patch(OTHER_RESULT, &[1, 3, message.0, message.1]).before_collect(&body);
    let json = report(&guest, &["--runs", "6"]);
    let runs: Vec<&Value> =
        json["failures"].as_array().expect("a list").iter().map(|failure| &failure["run"]).collect();
    assert_eq!(runs, [1, 4, 5], "{json}");
    assert_eq!((&json["violations"], &json["sample"]["guest"]["value_total"]), (&json!([]), &json!(2)));
}

#[test]
fn plugin_that_never_measures_fails_the_test() {
    let json = report(&good_guest().configure_error(0, "no such sensor"), &[]);
    assert_eq!((&json["runs"], &json["failures"][0]["kind"]), (&json!(0), &json!("disabled")));
    let output = test(&good_guest().configure_error(0, "no such sensor"), &[]);
    assert!(output.stdout.contains(": 0 of 5 runs, 100ms apart\n\nfailures\n  start  cannot"), "{}", output.stdout);
    let json = report(&good_guest().configure("unreachable"), &[]);
    assert_eq!((&json["runs"], &json["failures"][0]["run"]), (&json!(0), &json!(0)));
    let json = report(&good_guest().error(3, "the server is down"), &["--runs", "2"]);
    assert_eq!((&json["runs"], &json["failures"][1]["kind"]), (&json!(2), &json!("unavailable")));
    let json = report(&good_guest().error(0, "no such sensor"), &[]);
    assert_eq!(
        (&json["runs"], &json["failures"][0]["kind"]),
        (&json!(1), &json!("disabled")),
        "it is not called again"
    );
    // A plugin that becomes available passes.
    let mut late = good_guest();
    let message = late.text("not yet");
    let body = format!(
        "{} (if (i32.lt_u (i32.load (i32.const 1000)) (i32.const 3)) (then
            (return (i32.const {OTHER_RESULT}))))",
        add(1000, "1")
    );
    let late = late.patch(OTHER_RESULT, &[1, 3, message.0, message.1]).before_collect(&body);
    let json = report(&late, &[]);
    assert_eq!((&json["passed"], json["failures"].as_array().map(Vec::len)), (&json!(true), Some(2)), "{json}");
}

#[test]
fn returned_denial_is_shown_with_its_grant() {
    let mut guest = good_guest();
    let [kind, path, reason] = ["read", "/etc/shadow", "look"].map(|text| guest.text(text));
    let guest = guest.patch(COLLECT_RESULT, &[1, 2, kind.0, kind.1, path.0, path.1, reason.0, reason.1]);
    let json = report(&guest, &[]);
    assert_eq!(json["failures"][0]["text"], "is missing the grant read = [\"/etc/shadow\"] to look");
}

#[test]
fn load_errors_exit_1_and_usage_errors_2() {
    let setup = Setup::new();
    std::fs::write(setup.path("bad.wasm"), "").expect("written");
    let output = plugin(&setup, &["test", "bad.wasm"]);
    assert_eq!((output.code, &*output.stderr), (Some(1), "bad.wasm (e3b0c442) is empty; copy it again\n"));
    for arguments in [&["--runs", "0"][..], &["--runs", "x"], &["--interval", "1ms"], &["--grant", "all"]] {
        let output = plugin(&setup, &[&["test", "bad.wasm"], arguments].concat());
        assert_eq!((output.code, &*output.stdout), (Some(2), ""), "{arguments:?}");
        assert!(output.stderr.contains(arguments[0]), "{}", output.stderr);
    }
}
