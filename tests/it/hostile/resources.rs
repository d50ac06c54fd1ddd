//! Plugins that want all there is of something: time, memory, tables, instances, handles, stack.

use std::fs;

use crate::guest::Guest;
use crate::harness::{Sample, about, faults, value};
use crate::hostile::{Ordeal, Reaction, endures};

const FOREVER: &str = "(loop $forever (br $forever))";
const SHORT: &str = "timeout = \"100ms\"";

fn bad() -> Guest {
    Guest::new("bad")
}

#[test]
fn an_endless_loop_is_ended_at_its_timeout() {
    let looping = bad().before_collect(FOREVER).module();
    endures(&looping, SHORT, &Reaction::Fault("timeout", "collect took longer than its timeout of 100ms"));
}

#[test]
fn eight_hanging_plugins_stall_no_other_plugin() {
    let mut ordeal = Ordeal::new(SHORT);
    let looping = bad().before_collect(FOREVER);
    for n in 0..8 {
        looping.install(&ordeal.host.plugin(&format!("hangs{n}.wasm")));
    }
    let is_ended = |sample: &Sample| (0..8).all(|n| faults(sample, &format!("hangs{n}"), "timeout") >= 1.0);
    ordeal.put(&bad().module());
    ordeal.agent.wait(is_ended);
    for n in 0..8 {
        fs::remove_file(ordeal.host.plugin(&format!("hangs{n}.wasm"))).expect("removed");
    }
    ordeal.recover();
}

#[test]
fn an_endless_start_never_serves() {
    let looping = bad().with(&format!("(func $start {FOREVER}) (start $start)")).module();
    endures(&looping, SHORT, &Reaction::Rejected("its start took longer than its timeout of 100ms"));
}

#[test]
fn an_endless_describe_never_serves() {
    let looping = bad().describe(&format!("{FOREVER} unreachable")).module();
    endures(&looping, SHORT, &Reaction::Rejected("describe took longer than its timeout of 100ms"));
}

#[test]
fn an_endless_configure_never_serves() {
    let looping = bad().configure(&format!("{FOREVER} unreachable")).module();
    endures(&looping, SHORT, &Reaction::Rejected("configure took longer than its timeout of 100ms"));
}

#[test]
fn an_endless_allocation_for_the_host_never_serves() {
    // The host asks for room for the configuration.
    let looping = bad().before_realloc(FOREVER).module();
    endures(&looping, SHORT, &Reaction::Rejected("configure took longer than its timeout of 100ms"));
}

#[test]
fn endless_post_return_is_ended_at_its_timeout() {
    let export = "(export \"cabi_post_gauged:plugin/collector@0.1.0#collect\")";
    let looping = bad().with(&format!("(func {export} (param i32) {FOREVER})")).module();
    endures(&looping, SHORT, &Reaction::Fault("timeout", "collect took longer than its timeout of 100ms"));
}

/// Grows a memory, and uses what it got, until it gets no more.
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
    let mut ordeal = Ordeal::new("memory = \"32MiB\"").allowing_mb(32);
    ordeal.suffer(&growing, &Reaction::Fault("memory", "collect needed more memory than its limit of 32.0 MiB"));
    ordeal.recover();
}

#[test]
fn memories_of_a_plugin_share_one_limit() {
    let memories = (0..20).map(|n| format!("(memory $m{n} 1)")).collect::<Vec<_>>().concat();
    let grow = (0..20)
        .map(|n| format!("(if (i32.eq (memory.grow $m{n} (i32.const 64)) (i32.const -1)) (then unreachable))"))
        .collect::<Vec<_>>()
        .concat();
    endures(
        &bad().with(&memories).before_collect(&grow).module(),
        "memory = \"16MiB\"\nlimits = { memories = 32 }",
        &Reaction::Fault("memory", "collect needed more memory than its limit of 16.0 MiB"),
    );
}

#[test]
fn initial_memory_beyond_the_limit_is_refused() {
    endures(
        &bad().pages(64).module(),
        "memory = \"2MiB\"",
        &Reaction::Rejected("its start needed more memory than its limit of 2.0 MiB"),
    );
}

#[test]
fn slow_leak_ends_at_the_memory_limit() {
    // A page at every tick; what it had is gone with the instance.
    let leak = "(if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
                (i32.store (i32.const 216) (memory.size))";
    let mut ordeal = Ordeal::at_interval("100ms", "memory = \"1MiB\"");
    let reaction = Reaction::Fault("memory", "collect needed more memory than its limit of 1.0 MiB");
    ordeal.suffer(&bad().before_collect(leak).module(), &reaction);
    let sizes: Vec<u64> = ordeal.agent.seen().iter().filter_map(|sample| value(sample, "bad")?.as_u64()).collect();
    assert!(sizes.is_sorted() && sizes.last() == Some(&16), "{sizes:?}");
    let sample = ordeal.agent.wait(|sample| value(sample, "bad").is_some());
    assert_eq!((value(&sample, "bad"), faults(&sample, "bad", "memory")), (Some(5.into()), 1.0));
    assert_eq!(about(&sample, "plugin_memory_bytes", "bad"), Some(5.0 * 65536.0));
    ordeal.recover();
}

#[test]
fn table_elements_beyond_the_limit_are_refused() {
    let grow = "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
                unreachable";
    endures(
        &bad().with("(table $t 1 funcref)").before_collect(grow).module(),
        "",
        &Reaction::Fault("memory", "collect needed more table elements than its limit of 20000"),
    );
    endures(
        &bad().with("(table 10000000 funcref)").module(),
        "",
        &Reaction::Rejected("its start needed more table elements than its limit of 20000"),
    );
}

#[test]
fn excess_tables_and_memories_are_refused() {
    let tables = "(table 1 funcref)".repeat(9);
    let why = Reaction::Rejected("its start failed: resource limit exceeded: table count too high at 9 (limit)");
    endures(&bad().with(&tables).module(), "", &why);
    let memories = "(memory 0)".repeat(2);
    let why = Reaction::Rejected("its start failed: resource limit exceeded: memory count too high at 3 (limit)");
    endures(&bad().with(&memories).module(), "", &why);
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
    // A hundred instances of that module, which is the second one, with nothing to import.
    let mut instances = vec![100];
    instances.extend([0, 1, 0].repeat(100));
    section(&mut component, 2, &instances);
    let why = Reaction::Rejected("its start failed: resource limit exceeded: instance count too high at 65 (limit)");
    endures(&component, "", &why);
}

#[test]
fn excess_handles_are_refused() {
    // The stubs of WASI hand out as many streams as they are asked for.
    let hoard = "(loop $more (drop (call $stdout)) (br $more))";
    let guest = bad().import("wasi:cli/stdout@0.2.3", "get-stdout", "(func $stdout (result i32))");
    let why = Reaction::Fault("limit", "collect failed: cannot allocate another handle: store handle limit exceeded");
    endures(&guest.before_collect(hoard).component_with_wasi(), "", &why);
}

#[test]
fn recursion_ends_at_the_stack_limit() {
    let deep = bad().with("(func $deep (call $deep))");
    endures(&deep.before_collect("(call $deep)").module(), "", &Reaction::Fault("stack", "collect failed"));
}

#[test]
fn recursion_in_start_ends_at_the_stack_limit() {
    let deep = "(func $deep (param i64) (result i64)
                    (i64.add (call $deep (i64.add (local.get 0) (i64.const 1))) (local.get 0)))
                (func $start (drop (call $deep (i64.const 1)))) (start $start)";
    endures(&bad().with(deep).module(), "", &Reaction::Rejected("(stack)"));
}

#[test]
fn recursive_host_calls_end_at_the_stack_limit() {
    // At every depth of the guest's stack the host is called once, down to the last.
    let log = "(func $log (param i32 i32 i32))";
    let deep = "(func $deep (call $log (i32.const 0) (i32.const 1024) (i32.const 4)) (call $deep))";
    let guest = bad().import("gauged:plugin/log@0.1.0", "log", log).with(deep).before_collect("(call $deep)");
    endures(&guest.module(), "", &Reaction::Fault("stack", "collect failed"));
}
