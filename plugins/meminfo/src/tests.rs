//! The plugin on fixture machines: kernels from 2.6.18 to 6.18, and other architectures.

use gauged_plugin::testing::{
    Harness, Host, assert_damage_is_contained_for, assert_golden, assert_line_damage_is_contained,
    assert_lines_are_independent, assert_not_permitted, assert_readme, assert_settings, not_permitted,
};
use gauged_plugin::{Value, files};

use super::*;

mod malformed;
mod worlds;

const NUMA: &str = r#"{"numa": true}"#;

fn start(host: Host, config: &str) -> Harness<Meminfo> {
    Harness::start(host, config).expect("the configuration is right")
}

fn machine(name: &str) -> Host {
    Host::from_fixture(&format!("fixtures/{name}"))
}

/// A host with this `/proc/meminfo`.
fn host(meminfo: &str) -> Host {
    let mut host = Host::new();
    host.file(MEMINFO, meminfo);
    host
}

#[test]
fn machines_match_their_golden_files() {
    for name in ["linux-2.6.18-i686", "linux-2.6.32", "linux-4.18-power9", "linux-6.18"] {
        let mut meminfo = start(machine(name), NUMA);
        let sample = meminfo.tick().expect("a sample");
        assert_golden(&format!("fixtures/{name}/expected"), &sample.render());
        assert_eq!(meminfo.host().warnings(), Vec::<&str>::new(), "{name}");
    }
}

#[test]
fn fields_have_the_kernels_names_and_base_units() {
    let sample = start(host("Active(anon):   1600 kB\nHugePages_Total:      12\n"), "{}").tick().expect("a sample");
    assert_eq!(sample.render(), "meminfo.Active_anon_bytes 1638400\nmeminfo.HugePages_Total 12\n");
}

#[test]
fn unknown_fields_are_measured() {
    let text = "MemTotal: 4 kB\nNew(kind): 7 kB\nNewPages: 3\n";
    let mut meminfo = start(host(text), "{}");
    for _ in 0..2 {
        let sample = meminfo.tick().expect("a sample");
        assert_eq!(sample.render(), "meminfo.MemTotal_bytes 4096\nmeminfo.NewPages 3\nmeminfo.New_kind_bytes 7168\n");
    }
    let mut node = host(text);
    node.file("/sys/devices/system/node/node1/meminfo", "Node 1 MemTotal: 4 kB\nNode 1 New(kind): 7 kB\n");
    let sample = start(node, NUMA).tick().expect("a sample");
    assert_eq!(sample[r#"meminfo_numa.New_kind_bytes{node="1"}"#], 7168);
}

#[test]
fn patterns_select_by_the_name_in_the_file() {
    let names = |config: &str| {
        let sample = start(machine("linux-6.18"), config).tick().expect("a sample");
        sample.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        names(r#"{"fields": {"include": ["*(anon)", "HugePages_*"], "exclude": ["*_Surp", "Inactive*"]}}"#),
        "meminfo.Active_anon_bytes meminfo.HugePages_Free meminfo.HugePages_Rsvd meminfo.HugePages_Total"
    );
    // A field that only nodes have.
    assert_eq!(
        names(r#"{"fields": {"include": ["MemUsed"]}, "numa": true}"#),
        r#"meminfo_numa.MemUsed_bytes{node="0"} meminfo_numa.MemUsed_bytes{node="1"}"#
    );
}

#[test]
fn selection_without_fields_is_an_invalid_setting() {
    let mut meminfo = start(machine("linux-6.18"), r#"{"fields": {"include": ["Active_anon"]}}"#);
    let message = "selects no field of /proc/meminfo; fields have names such as Active(anon)";
    assert_eq!(meminfo.tick(), Err(Error::invalid("fields", message)));
    let Err(Error::InvalidConfig(errors)) = Harness::<Meminfo>::start(Host::new(), r#"{"field": {}}"#) else {
        panic!("the key is unknown");
    };
    assert_eq!(errors[0].key, "field");
}

#[test]
fn excluded_field_is_not_reported() {
    let mut meminfo = start(host("MemTotal: 4 kB\nMemFree: -1 kB\n"), r#"{"fields": {"exclude": ["MemFree"]}}"#);
    assert_eq!(meminfo.tick().expect("a sample").len(), 1);
    assert_eq!(meminfo.host().warnings(), Vec::<&str>::new());
}

#[test]
fn machine_without_nodes_has_the_host() {
    let mut meminfo = start(host("MemTotal: 4 kB\n"), NUMA);
    assert_eq!(meminfo.tick().expect("a sample").render(), "meminfo.MemTotal_bytes 4096\n");
    assert_eq!(meminfo.host().warnings(), Vec::<&str>::new());
}

#[test]
fn nodes_beyond_the_limit_are_left_out() {
    let mut host = host("MemTotal: 4 kB\n");
    for node in 0..=numa::MAX_NODES {
        host.file(&format!("/sys/devices/system/node/node{node}/meminfo"), format!("Node {node} MemFree: 4 kB\n"));
    }
    host.file("/sys/devices/system/node/possible", "0-1023\n");
    let mut meminfo = start(host, NUMA);
    assert_eq!(meminfo.tick().expect("a sample").len(), 1 + numa::MAX_NODES);
    let why =
        "WARN without the other nodes: /sys/devices/system/node is malformed: has 129 nodes, of which 128 are measured";
    assert_eq!(meminfo.host().warnings(), [why]);
}

/// Vendors of phones add fields: `RbinTotal` (Samsung), `ION_heap` (Qualcomm). Right: as they are written.
#[test]
fn fields_of_vendors_are_measured() {
    let sample = start(host("RbinTotal: 163840 kB\nION_heap: 16 kB\nKgslShmemUsage: 7 kB\n"), "{}").tick();
    let sample = sample.expect("a sample");
    assert_eq!(
        [&sample["meminfo.RbinTotal_bytes"], &sample["meminfo.ION_heap_bytes"]],
        [&Value::Natural(163_840 << 10), &Value::Natural(16 << 10)]
    );
}

/// Five levels of tables give the kernel 12,800 TiB of addresses, and 64-bit ARM has more than that. Right: the exact number, also
/// beyond the 53 bits of a float.
#[test]
fn addresses_beyond_53_bits_are_exact() {
    let sample = start(host("VmallocTotal:   133009506240 kB\nVmallocChunk: 9007199254740991 kB\n"), "{}").tick();
    let sample = sample.expect("a sample");
    assert_eq!(sample["meminfo.VmallocTotal_bytes"], 133_009_506_240_u64 << 10);
    assert_eq!(sample["meminfo.VmallocChunk_bytes"], 9_007_199_254_740_991_u64 << 10);
}

/// Fields of nodes only, whose files cannot be read now. Right: the failure, and not a wrong setting.
#[test]
fn failing_nodes_are_not_a_wrong_selection() {
    let config = r#"{"fields": {"include": ["MemUsed"]}, "numa": true}"#;
    let mut host = machine("linux-6.18");
    for node in 0..2 {
        host.file_fails(&format!("/sys/devices/system/node/node{node}/meminfo"), files::Error::Timeout);
    }
    let Err(Error::Unavailable(_)) = start(host, config).tick() else { panic!("the failure passes") };
    let none = r#"{"fields": {"include": ["None"]}, "numa": true}"#;
    assert!(matches!(start(machine("linux-6.18"), none).tick(), Err(Error::InvalidConfig(_))));
}

/// A file that the agent's user may not read. Right: an error that names it, and not an absent file.
#[test]
fn refused_file_is_not_absent() {
    let mut host = Host::new();
    host.file_fails(MEMINFO, not_permitted());
    assert_not_permitted(&start(host, "{}").tick(), MEMINFO);
    let missing = Err(Error::Unavailable("/proc/meminfo does not exist".to_owned()));
    assert_eq!(start(Host::new(), "{}").tick(), missing);
}

/// The metrics of a line, as patterns.
fn given(line: &str) -> Vec<String> {
    let name = line.split_once(':').map_or("", |(key, _)| key.rsplit(' ').next().unwrap_or(key));
    let name = name.replace('(', "_").replace(')', "");
    [name.clone(), format!("{name}_bytes")].to_vec()
}

#[test]
fn damaged_line_costs_only_its_field() {
    assert_line_damage_is_contained::<Meminfo>(&machine("linux-2.6.18-i686"), "{}", MEMINFO, 0, given);
    assert_lines_are_independent::<Meminfo>(&machine("linux-6.18"), "{}", MEMINFO, 0);
}

#[test]
fn damaged_file_costs_only_its_fields() {
    let text = String::from_utf8(std::fs::read("fixtures/linux-6.18/proc/meminfo").expect("readable")).expect("text");
    let of_host: Vec<String> = text.lines().flat_map(given).collect();
    assert_damage_is_contained_for::<Meminfo, _>(&machine("linux-6.18"), NUMA, |path| {
        let node = path.strip_prefix("/sys/devices/system/node/node").and_then(|rest| rest.strip_suffix("/meminfo"));
        node.map_or_else(|| of_host.clone(), |node| vec![format!("*{{node=\"{node}\"}}")])
    });
}

#[test]
fn readme_lists_metrics_and_settings() {
    assert_readme::<Meminfo>();
}

#[test]
fn settings_are_declared_with_their_defaults() {
    assert_settings::<Meminfo>("{}");
}
