//! Plugins that exhaust a resource: time, memory, tables, instances, handles, stack.

use std::fs;

use crate::guest::{Guest, VALUE, VERSION};
use crate::harness::{Sample, fault_count, plugin_metric, ticks_during_calls, value};
use crate::hostile::{HostileTest, Outcome, assert_outcome};

const FOREVER: &str = "(loop $forever (br $forever))";
/// Longer than three intervals: ticks must go on meanwhile.
const SHORT: &str = "timeout = \"800ms\"";

fn bad() -> Guest {
    Guest::new("bad")
}

#[test]
fn an_endless_loop_is_ended_at_its_timeout() {
    let looping = bad().before_collect(FOREVER).module();
    assert_outcome(&looping, SHORT, &Outcome::Fault("timeout", "collect took longer than its timeout of 800ms"));
}

#[test]
fn eight_hanging_plugins_stall_no_other_plugin() {
    // With the default timeout of a second: one after the other they would stall the samples for eight seconds.
    let mut test = HostileTest::new("");
    let looping = bad().before_collect(FOREVER);
    for n in 0..8 {
        looping.install(&test.setup.plugin(&format!("hangs{n}.wasm")));
    }
    let are_ended = |sample: &Sample| {
        let names = (0..8).map(|n| format!("hangs{n}"));
        names.clone().all(|name| fault_count(sample, &name, "timeout") >= 1.0)
            && names.clone().all(|name| ticks_during_calls(sample, &name) >= 2.0)
    };
    test.install(&bad().module());
    test.agent.wait(are_ended);
    for n in 0..8 {
        fs::remove_file(test.setup.plugin(&format!("hangs{n}.wasm"))).expect("removed");
    }
    test.replace_and_check();
}

#[test]
fn an_endless_start_never_serves() {
    let looping = bad().with(&format!("(func $start {FOREVER}) (start $start)")).module();
    assert_outcome(&looping, SHORT, &Outcome::Rejected("its start took longer than its timeout of 800ms"));
}

#[test]
fn an_endless_describe_never_serves() {
    let looping = bad().describe(&format!("{FOREVER} unreachable")).module();
    assert_outcome(&looping, SHORT, &Outcome::Rejected("describe took longer than its timeout of 800ms"));
}

#[test]
fn an_endless_configure_never_serves() {
    let looping = bad().configure(&format!("{FOREVER} unreachable")).module();
    assert_outcome(&looping, SHORT, &Outcome::Rejected("configure took longer than its timeout of 800ms"));
}

#[test]
fn an_endless_allocation_for_the_host_never_serves() {
    // The host allocates memory for the configuration.
    let looping = bad().before_realloc(FOREVER).module();
    assert_outcome(&looping, SHORT, &Outcome::Rejected("configure took longer than its timeout of 800ms"));
}

#[test]
fn endless_post_return_is_ended_at_its_timeout() {
    let export = format!("(export \"cabi_post_gauged:plugin/collector@{VERSION}#collect\")");
    let looping = bad().with(&format!("(func {export} (param i32) {FOREVER})")).module();
    assert_outcome(&looping, SHORT, &Outcome::Fault("timeout", "collect took longer than its timeout of 800ms"));
}

/// Grows a memory and writes to it, until it cannot grow any more.
fn growing(memory: &str) -> String {
    format!(
        "(func $grow (local $was i32)
            (loop $more
                (local.set $was (memory.grow {memory} (i32.const 16)))
                (if (i32.ne (local.get $was) (i32.const -1))
                    (then (memory.fill {memory} (i32.mul (local.get $was) (i32.const 65536)) (i32.const 1) (i32.const 1048576))
                          (br $more)))))"
    )
}

#[test]
fn memory_beyond_the_limit_is_refused() {
    let growing = bad().with(&growing("")).before_collect("(call $grow) unreachable").module();
    let mut test = HostileTest::new("memory = \"32MiB\"").allow_mb(32);
    test.expect(&growing, &Outcome::Fault("memory", "collect needed more memory than its limit of 32.0 MiB"));
    test.replace_and_check();
}

#[test]
fn memories_of_a_plugin_share_one_limit() {
    let memories = (0..20).map(|n| format!("(memory $m{n} 1)")).collect::<Vec<_>>().concat();
    let grow = (0..20)
        .map(|n| format!("(if (i32.eq (memory.grow $m{n} (i32.const 64)) (i32.const -1)) (then unreachable))"))
        .collect::<Vec<_>>()
        .concat();
    assert_outcome(
        &bad().with(&memories).before_collect(&grow).module(),
        "memory = \"16MiB\"\nlimits = { memories = 32 }",
        &Outcome::Fault("memory", "collect needed more memory than its limit of 16.0 MiB"),
    );
}

#[test]
fn initial_memory_beyond_the_limit_is_refused() {
    assert_outcome(
        &bad().pages(64).module(),
        "memory = \"2MiB\"",
        &Outcome::Rejected("its start needed more memory than its limit of 2.0 MiB"),
    );
}

#[test]
fn slow_leak_ends_at_the_memory_limit() {
    // A page at every tick. A fault drops the instance with its memory.
    let leak = format!(
        "(if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
         (i32.store (i32.const {}) (memory.size))",
        VALUE + 8
    );
    let mut test = HostileTest::at_interval("100ms", "memory = \"1MiB\"");
    let outcome = Outcome::Fault("memory", "collect needed more memory than its limit of 1.0 MiB");
    test.expect(&bad().before_collect(&leak).module(), &outcome);
    let sizes: Vec<u64> = test.agent.samples().iter().filter_map(|sample| value(sample, "bad")?.as_u64()).collect();
    // The sixteenth page would not leave the instance itself room.
    assert!(sizes.is_sorted() && sizes.last() == Some(&15), "{sizes:?}");
    let sample = test.agent.wait(|sample| value(sample, "bad").is_some());
    assert_eq!((value(&sample, "bad"), fault_count(&sample, "bad", "memory")), (Some(5.into()), 1.0));
    let held = plugin_metric(&sample, "plugin_memory_bytes", "bad").expect("reported");
    assert!((5.0 * 65536.0..6.0 * 65536.0).contains(&held), "{held} bytes are five pages and the instance");
    test.replace_and_check();
}

#[test]
fn table_elements_beyond_the_limit_are_refused() {
    let grow = "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
                unreachable";
    assert_outcome(
        &bad().with("(table $t 1 funcref)").before_collect(grow).module(),
        "",
        &Outcome::Fault("memory", "collect needed more table elements than its limit of 20000"),
    );
    assert_outcome(
        &bad().with("(table 10000000 funcref)").module(),
        "",
        &Outcome::Rejected("its start needed more table elements than its limit of 20000"),
    );
}

#[test]
fn excess_tables_and_memories_are_refused() {
    let tables = "(table 1 funcref)".repeat(9);
    let outcome = Outcome::Rejected("its start failed: resource limit exceeded: table count too high at 9 (limit)");
    assert_outcome(&bad().with(&tables).module(), "", &outcome);
    let memories = "(memory 0)".repeat(2);
    let outcome = Outcome::Rejected("its start failed: resource limit exceeded: memory count too high at 3 (limit)");
    assert_outcome(&bad().with(&memories).module(), "", &outcome);
}

#[test]
fn excess_core_instances_are_refused() {
    let mut component = bad().component();
    let section = |component: &mut Vec<u8>, id: u8, content: &[u8]| {
        component.push(id);
        let length = u16::try_from(content.len()).expect("a short section");
        component.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
        component.extend(content);
    };
    let empty = wat::parse_str("(module)").expect("valid");
    section(&mut component, 1, &empty);
    // A hundred instances of that module, which is the component's second and imports nothing.
    let mut instances = vec![100];
    instances.extend([0, 1, 0].repeat(100));
    section(&mut component, 2, &instances);
    let outcome = Outcome::Rejected("its start failed: resource limit exceeded: instance count too high at 65 (limit)");
    assert_outcome(&component, "", &outcome);
}

#[test]
fn excess_handles_are_refused() {
    // The stub of WASI returns a new handle at each call.
    let hoard = "(loop $more (drop (call $stdout)) (br $more))";
    let guest = bad().import("wasi:cli/stdout@0.2.3", "get-stdout", "(func $stdout (result i32))");
    let outcome =
        Outcome::Fault("limit", "collect failed: cannot allocate another handle: store handle limit exceeded");
    assert_outcome(&guest.before_collect(hoard).component_with_wasi(), "", &outcome);
}

#[test]
fn recursion_ends_at_the_stack_limit() {
    let deep = bad().with("(func $deep (call $deep))");
    assert_outcome(&deep.before_collect("(call $deep)").module(), "", &Outcome::Fault("stack", "collect failed"));
}

#[test]
fn recursion_in_start_ends_at_the_stack_limit() {
    let deep = "(func $deep (param i64) (result i64)
                    (i64.add (call $deep (i64.add (local.get 0) (i64.const 1))) (local.get 0)))
                (func $start (drop (call $deep (i64.const 1)))) (start $start)";
    assert_outcome(&bad().with(deep).module(), "", &Outcome::Rejected("(stack)"));
}

#[test]
fn recursive_host_calls_end_at_the_stack_limit() {
    // The host is called at every depth of the guest's stack.
    let log = "(func $log (param i32 i32 i32))";
    let deep = "(func $deep (call $log (i32.const 0) (i32.const 1024) (i32.const 4)) (call $deep))";
    let guest = bad().import("gauged:plugin/log", "log", log).with(deep).before_collect("(call $deep)");
    assert_outcome(&guest.module(), "", &Outcome::Fault("stack", "collect failed"));
}
