//! Plugins whose instances and types are large, while their linear memories and tables are small: no limiter of wasmtime's is
//! asked for these.

use std::fs;

use crate::guest::Guest;
use crate::harness::{Agent, fault_count, plugin_metric};
use crate::hostile::{HostileTest, Outcome, assert_outcome, in_parallel};

/// The memory that the plugin may have in most of these tests.
const LITTLE: &str = "memory = \"1MiB\"\ntimeout = \"100ms\"";

/// How much more than before a test the agent may hold while it is idle: an allocator keeps some, and tests run in parallel.
const SLACK_KB: u64 = 4 << 10;

/// The plugin `bad` as a component, with more definitions. It has one core module and one component of its own, so that the first
/// ones here are number 1.
fn with(definitions: &str) -> Vec<u8> {
    let mut component = Guest::new("bad").component();
    let more = wat::parse_str(format!("(component {definitions})")).unwrap_or_else(|error| panic!("{error}"));
    // Without its header it goes on where the other ends.
    component.extend(&more[8..]);
    component
}

/// A core module with these fields, instantiated so many times.
fn instances(fields: &str, count: usize) -> Vec<u8> {
    with(&format!("(core module {fields}) {}", "(core instance (instantiate 1))".repeat(count)))
}

fn repeated(count: usize, text: impl Fn(usize) -> String) -> String {
    (0..count).map(text).collect()
}

fn globals(count: usize) -> String {
    "(global i32 (i32.const 7))".repeat(count)
}

/// Types of functions, each different.
fn types(count: usize) -> String {
    let bit = |number: usize, bit: usize| if number >> bit & 1 == 1 { "i32 " } else { "i64 " };
    repeated(count, |number| format!("(type (func (param {})))", repeated(17, |at| bit(number, at).to_owned())))
}

/// Types of functions with very many parameters, each different.
fn wide_types(count: usize, parameters: usize) -> String {
    let kinds = ["i32 ", "i64 ", "f32 ", "f64 "];
    let kind = |number: usize, at: usize| kinds[(number >> (at % 10)) & 1 | (at % 2) << 1].to_owned();
    let text = |number| format!("(type (func (param {})))", repeated(parameters, |at| kind(number, at)));
    format!("(core module {})", repeated(count, text))
}

/// Modules that nobody instantiates, with a few bytes far apart in a memory: an image of it may have 16 MiB.
fn images(count: usize) -> String {
    "(core module (memory 256) (data (i32.const 0) \"a\") (data (i32.const 16000000) \"b\"))".repeat(count)
}

/// The memory that an agent takes, in kB: its own, and that of files in memory, of which its status has only what it has touched.
fn taken_kb(agent: &Agent) -> u64 {
    agent.status("RssAnon") + agent.mapped_memory_files_kb()
}

#[test]
fn images_of_unused_modules_are_refused() {
    assert_outcome(&with(&images(11)), LITTLE, &Outcome::Rejected("more than its limit of 1.0 MiB"));
}

#[test]
fn globals_of_sixty_instances_are_refused() {
    let outcome = Outcome::Rejected("of 32.0 MiB at most");
    assert_outcome(&instances(&globals(1_000_000), 60), LITTLE, &outcome);
}

#[test]
fn globals_beyond_the_memory_limit_are_refused() {
    let outcome = Outcome::Rejected("more than its limit of 1.0 MiB");
    assert_outcome(&instances(&globals(900_000), 1), LITTLE, &outcome);
}

/// Each of these held more than was counted, or is of the kind.
#[test]
fn reported_memory_covers_any_shape() {
    let exports = |count| repeated(count, |number| format!("(export \"{number}\" (func 0))"));
    let imports = repeated(1000, |number| format!("(import \"m{number}\" \"a\" (func))"));
    let arguments = repeated(1000, |number| format!("(with \"m{number}\" (instance 1))"));
    let drops = repeated(900, |number| format!("(core func $f{number} (canon resource.drop $r))"));
    let used = repeated(900, |number| format!("(import \"m\" \"{number}\" (func (param i32)))"));
    let given = repeated(900, |number| format!("(export \"{number}\" (func $f{number}))"));
    let lower = |number| {
        format!(
            "(core func $f{number} (canon lower (func $f) (memory (core memory $i \"mem\")) (realloc (core func $i \"r\"))
             string-encoding=latin1+utf16))"
        )
    };
    let strings = repeated(400, |number| format!("(import \"m\" \"{number}\" (func (param i32 i32)))"));
    let adapted = repeated(400, |number| format!("(export \"{number}\" (func $f{number}))"));
    let memory = "(memory (export \"mem\") 0) (func (export \"r\") (param i32 i32 i32 i32) (result i32) i32.const 0)";
    let shapes = [
        instances(&globals(30_000), 30),
        instances(&format!("(func) (elem func {})", "0 ".repeat(50_000)), 30),
        instances(&format!("(table 100 funcref) (func) {}", format!("(elem (i32.const 0) func {})", "0 ".repeat(100)).repeat(300)), 30),
        instances(&format!("{} (elem declare func {})", "(func)".repeat(20_000), repeated(20_000, |number| format!("{number} "))), 30),
        instances(&format!("(func) {}", exports(20_000)), 1),
        instances(&"(func)".repeat(30_000), 1),
        instances(&"(data \"a\")".repeat(10_000), 30),
        instances(&types(10_000), 1),
        with(&repeated(900, |number| format!("(core module (func (export \"{number}\")))"))),
        with(&"(type (resource (rep i32)))".repeat(5000)),
        with(&wide_types(100, 900)),
        with(&images(5)),
        with(&format!("(component) {}", "(instance (instantiate 1))".repeat(900))),
        with(&format!(
            "(core module (func (export \"a\"))) (core module {imports}) (core instance (instantiate 1)) {}",
            format!("(core instance (instantiate 2 {arguments}))").repeat(30)
        )),
        with(&format!(
            "(component (type $r (resource (rep i32))) {drops} (core module {used})
             (core instance (instantiate 0 (with \"m\" (instance {given}))))) (instance (instantiate 1))"
        )),
        with(&format!(
            "(component
                (component $a
                    (core module $m {memory} (func (export \"f\") (param i32 i32)))
                    (core instance $i (instantiate $m))
                    (func (export \"f\") (param \"s\" string)
                        (canon lift (core func $i \"f\") (memory (core memory $i \"mem\")) (realloc (core func $i \"r\")) string-encoding=utf16)))
                (component $b
                    (import \"f\" (func $f (param \"s\" string)))
                    (core module $m {memory})
                    (core instance $i (instantiate $m))
                    {}
                    (core module {strings})
                    (core instance (instantiate 1 (with \"m\" (instance {adapted})))))
                (instance $x (instantiate $a)) (instance (instantiate $b (with \"f\" (func $x \"f\")))))
             (instance (instantiate 1))",
            repeated(400, lower)
        )),
    ];
    // Compilers take whole cores, and the others' ticks need one, too.
    let numbered: Vec<_> = shapes.iter().enumerate().collect();
    let each = |&(number, shape): &(usize, &Vec<u8>)| {
        let limits = "limits = { memories = 8, instances = 1000, table_elements = 1000000, tables = 64 }";
        let mut test = HostileTest::new(&format!("memory = \"256MiB\"\ntimeout = \"10s\"\n{limits}"));
        let before_kb = taken_kb(&test.agent);
        test.install(shape);
        let sample = test.agent.wait(|sample| plugin_metric(sample, "plugin_up", "bad") == Some(1.0));
        let held_kb = plugin_metric(&sample, "plugin_memory_bytes", "bad").expect("reported") as u64 / 1024;
        let taken_kb = taken_kb(&test.agent).saturating_sub(before_kb);
        assert!(taken_kb <= held_kb + SLACK_KB, "shape {number}: {taken_kb} kB are taken, {held_kb} kB reported");
        test.agent.terminate();
        test.agent.assert_no_gaps();
    };
    numbered.chunks(2).for_each(|some| in_parallel(some, each));
}

#[test]
fn held_memory_is_reported_and_given_back() {
    in_parallel([instances(&globals(30_000), 30), instances(&types(20_000), 1)], |shape| {
        let mut test = HostileTest::new("memory = \"128MiB\"\ntimeout = \"10s\"").allow_mb(128);
        let before_kb = taken_kb(&test.agent);
        test.install(&shape);
        let sample = test.agent.wait(|sample| plugin_metric(sample, "plugin_up", "bad") == Some(1.0));
        let reported_kb = plugin_metric(&sample, "plugin_memory_bytes", "bad").expect("reported") / 1024.0;
        let held_kb = (taken_kb(&test.agent) - before_kb) as f64;
        assert!(held_kb > 8.0 * 1024.0, "it holds {held_kb} kB");
        assert!(reported_kb > held_kb - SLACK_KB as f64, "{reported_kb} kB are reported of {held_kb} kB");
        fs::remove_file(test.setup.plugin("bad.wasm")).expect("removed");
        let agent = &mut test.agent;
        // The last instance is dropped after the sample that does not have it any more.
        while taken_kb(agent) > before_kb + SLACK_KB {
            agent.wait(|sample| plugin_metric(sample, "plugin_up", "bad").is_none());
        }
        test.replace_and_check();
    });
}

#[test]
fn code_of_a_failing_plugin_is_counted() {
    let mut test = HostileTest::new("memory = \"32MiB\"\ntimeout = \"10s\"").allow_mb(32);
    let mut component = Guest::new("bad").before_collect("unreachable").component();
    let types = wat::parse_str(format!("(component (core module {}))", types(5000))).expect("valid");
    component.extend(&types[8..]);
    test.install(&component);
    // A version that fails at once serves where there is none before, and its instance is dropped.
    let sample = test.agent.wait(|sample| fault_count(sample, "bad", "trap") >= 1.0);
    let held = plugin_metric(&sample, "plugin_memory_bytes", "bad").expect("reported");
    assert!((f64::from(1 << 20)..f64::from(32 << 20)).contains(&held), "{held} bytes");
    fs::remove_file(test.setup.plugin("bad.wasm")).expect("removed");
    let sample = test.agent.wait(|sample| plugin_metric(sample, "plugin_memory_bytes", "bad").is_none());
    let total = sample["agent"]["plugins_memory_bytes"].as_f64().expect("a number");
    assert!(total < held, "{total} bytes are still counted");
    test.agent.terminate();
}
