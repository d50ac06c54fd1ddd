//! Files that are read in one call, states of files, and links: within the grants as files that are read one by one, and
//! bounded.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use serde_json::{Value, json};

use crate::capabilities::file_guest_as;
use crate::guest::{Guest, HOST_RESULT, SECOND_VALUE, VALUE};
use crate::harness::{Sample, Setup, parse, value};

/// The size of a result in the list that `read-many` returns.
const RESULT_BYTES: u32 = 40;

/// A guest that reads these files in one call, each of at most so many bytes. Its value is the content or error of the one with
/// this number, as of [`file_guest_as`], and its metric `results` their number.
pub fn batch_guest(paths: &[&str], max_bytes: u32, shown: u32) -> Guest {
    let mut guest = Guest::new("reader").second("results").pages(200).import(
        "gauged:plugin/files",
        "read-many",
        "(func $read_many (param i32 i32 i32 i32))",
    );
    let words: Vec<u32> = paths.iter().map(|path| guest.text(path)).flat_map(|(at, length)| [at, length]).collect();
    let list = guest.list(&words);
    let at = |offset: u32| format!("(i32.add (local.get $result) (i32.const {offset}))");
    let text = |offset: u32| format!("(i64.store (i32.const {}) (i64.load {}))", VALUE + 8, at(offset));
    guest.before_collect(&format!(
        "(local $result i32)
         (global.set $heap (i32.const 65536))
         (call $read_many (i32.const {list}) (i32.const {}) (i32.const {max_bytes}) (i32.const {HOST_RESULT}))
         (i64.store (i32.const {}) (i64.load32_u (i32.const {})))
         (local.set $result (i32.add (i32.load (i32.const {HOST_RESULT})) (i32.const {})))
         (i32.store (i32.const {VALUE}) (i32.const 4))
         (if (i32.load8_u {}) (then
            (if (i32.lt_u (i32.load8_u {error}) (i32.const 3))
                (then (if (i32.load8_u {error}) (then {}) (else {})))
                (else (i32.store (i32.const {VALUE}) (i32.const 0))
                      (i64.store (i32.const {}) (i64.load8_u {error})))))
            (else {}))",
        paths.len(),
        SECOND_VALUE + 8,
        HOST_RESULT + 4,
        shown * RESULT_BYTES,
        at(0),
        text(16),
        text(24),
        VALUE + 8,
        text(8),
        error = at(8),
    ))
}

/// Runs a guest once; returns its value and the number of results.
fn run(setup: &Setup, guest: &Guest) -> (Value, Value) {
    guest.install(&setup.plugin("reader.wasm"));
    let (sample, log) = setup.once();
    outcome(&sample).unwrap_or_else(|| panic!("{sample:?}\n{log}"))
}

fn outcome(sample: &Sample) -> Option<(Value, Value)> {
    Some((value(sample, "reader")?, sample.get("reader")?.get("results")?.clone()))
}

/// A setup whose guest may read the files of a directory and these.
fn granting(directory: &str, more: &str) -> Setup {
    Setup::with_config(&format!("[plugins.reader]\ntimeout = \"10s\"\nread = [\"{directory}/*\"{more}]\n"))
}

fn directory() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().canonicalize().expect("it exists").to_str().expect("text").to_owned();
    (directory, path)
}

#[test]
fn batch_has_a_result_for_each_file() {
    let (_kept, at) = directory();
    fs::write(format!("{at}/first"), "one").expect("written");
    fs::write(format!("{at}/last"), "three").expect("written");
    symlink("/etc/shadow", format!("{at}/out")).expect("linked");
    let path = |name: &str| format!("{at}/{name}");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("readable");
    let setup = granting(&at, ", \"/proc/*/stat\"");
    let expected = [
        (path("first"), json!("one")),
        ("/proc/sys/kernel/osrelease".to_owned(), json!(release)),
        (path("none"), json!(3)),
        ("/etc/passwd".to_owned(), json!("/etc/passwd")),
        (path("out"), json!("/etc/shadow")),
        ("/proc/self/stat".to_owned(), json!("no grant opens the agent's own process")),
        (
            "/proc/../etc/passwd".to_owned(),
            json!("\"/proc/../etc/passwd\" has an empty, . or .. segment; write it without"),
        ),
        (at.clone(), json!(at)),
        (path("last"), json!("three")),
    ];
    let paths: Vec<&str> = expected.iter().map(|(path, _)| &**path).collect();
    for (shown, (path, result)) in (0..).zip(&expected) {
        assert_eq!(run(&setup, &batch_guest(&paths, 4096, shown)), (result.clone(), json!(paths.len())), "{path}");
    }
    assert_eq!(run(&setup, &batch_guest(&[], 4096, 0)).1, json!(0));
}

#[test]
fn full_batch_returns_fewer_results() {
    let (_kept, at) = directory();
    let paths: Vec<String> = (0..5).map(|number| format!("{at}/{number}")).collect();
    for path in &paths {
        fs::write(path, vec![b'x'; 3 << 19]).expect("written");
    }
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let setup = granting(&at, "");
    // 4 MiB are two of 1.5 MiB.
    assert_eq!(run(&setup, &batch_guest(&paths, u32::MAX, 9)).1, json!(2));
    // Case 7 of the interface's error: too large. Such files take no room.
    assert_eq!(run(&setup, &batch_guest(&paths, 1 << 20, 4)), (json!(7), json!(5)));
    // The first file always fits, and others of the kernel beside it.
    fs::write(paths[0], vec![b'x'; 4 << 20]).expect("written");
    assert_eq!(run(&setup, &batch_guest(&["/proc/uptime", paths[0], "/proc/uptime"], u32::MAX, 9)).1, json!(1));
    assert_eq!(run(&setup, &batch_guest(&[paths[0], "/proc/uptime"], u32::MAX, 9)).1, json!(1));
}

#[test]
fn states_and_links_need_a_grant() {
    let (_kept, at) = directory();
    fs::write(format!("{at}/file"), "content").expect("written");
    symlink("file", format!("{at}/in")).expect("linked");
    symlink("/etc/shadow", format!("{at}/out")).expect("linked");
    let process = format!("/proc/{}", std::process::id());
    let setup = granting(&at, ", \"/proc/*/exe\", \"/proc/*/cwd\", \"/proc/*/fd\"");
    let call = |function: &str, path: &str| {
        file_guest_as("reader", function, path).install(&setup.plugin("reader.wasm"));
        let (sample, log) = setup.once();
        value(&sample, "reader").unwrap_or_else(|| panic!("{sample:?}\n{log}"))
    };
    let own = "no grant opens the agent's own process";
    assert_eq!(call("stat", &format!("{at}/file")), json!(7));
    assert_eq!(call("stat", &format!("{at}/in")), json!(7));
    assert_eq!(call("stat", &at), json!(fs::metadata(&at).expect("it is there").size()), "it may be listed");
    assert_eq!(call("stat", &format!("{at}/none")), json!(3));
    assert_eq!(call("stat", &format!("{at}/out")), json!("/etc/shadow"), "what it leads to is not granted");
    assert_eq!(call("stat", "/etc/shadow"), json!("/etc/shadow"));
    assert_eq!(call("stat", "/proc/self/fd"), json!(own));
    let magic = call("stat", &format!("{process}/cwd"));
    assert!(magic.as_str().is_some_and(|why| why.contains("leads through a magic link")), "{magic}");

    assert_eq!(call("read-link", &format!("{at}/in")), json!("file"));
    assert_eq!(call("read-link", &format!("{at}/out")), json!("/etc/shadow"), "it is not followed");
    assert_eq!(call("read-link", &format!("{at}/file")), json!(6), "of the wrong type");
    assert_eq!(call("read-link", "/etc/mtab"), json!("/etc/mtab"));
    assert_eq!(call("read-link", "/proc/self/exe"), json!(own));
    let program = std::env::current_exe().expect("it is known");
    assert_eq!(call("read-link", &format!("{process}/exe")), json!(program.to_str().expect("text")));
    let within = call("read-link", &format!("{process}/cwd/link"));
    assert_eq!(within, json!(format!("{process}/cwd/link")));
}

#[test]
fn batches_states_and_links_are_of_process_1() {
    let setup = Setup::new();
    let at = |path: &str| setup.path("host/proc/1").join(path);
    fs::create_dir_all(at("net")).expect("created");
    fs::write(at("net/dev"), "interfaces").expect("written");
    fs::write(at("net/tcp"), "sockets").expect("written");
    symlink("elsewhere", at("mounts")).expect("linked");
    let value_of = |guest: &Guest, read: &str| {
        guest.install(&setup.plugin("reader.wasm"));
        fs::write(setup.path("gauged.toml"), format!("[plugins.reader]\nread = [{read}]\n")).expect("written");
        let output = setup.command_without_root(&["--once", "--root", "host"]).output().expect("it runs");
        let [sample, log] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
        value(&parse(&sample), "reader").unwrap_or_else(|| panic!("{log}"))
    };
    let paths = ["/proc/net/dev", "/proc/net/tcp"];
    assert_eq!(value_of(&batch_guest(&paths, 4096, 0), ""), "interfaces");
    assert_eq!(value_of(&batch_guest(&paths, 4096, 1), ""), "/proc/1/net/tcp");
    assert_eq!(value_of(&batch_guest(&paths, 4096, 1), "\"/proc/net/tcp\""), "sockets");
    let call = |function: &str, path: &str| value_of(&file_guest_as("reader", function, path), "");
    assert_eq!(call("stat", "/proc/net/dev"), 10);
    assert_eq!(call("stat", "/proc/net/tcp"), "/proc/1/net/tcp");
    assert_eq!(call("read-link", "/proc/mounts"), "elsewhere");
    assert_eq!(call("read-link", "/proc/net/tcp"), "/proc/1/net/tcp");
}

#[test]
fn size_of_descriptors_is_their_number() {
    let process = format!("/proc/{}/fd", std::process::id());
    let setup = Setup::with_config("[plugins.reader]\nread = [\"/proc/*/fd\"]\n");
    file_guest_as("reader", "stat", &process).install(&setup.plugin("reader.wasm"));
    let (sample, log) = setup.once();
    let count = value(&sample, "reader").and_then(|value| value.as_u64()).unwrap_or_else(|| panic!("{log}"));
    // Linux before 6.2 has no number. Other tests of this process open and close files meanwhile.
    let is_counted = fs::metadata(&process).expect("it is there").size() > 0;
    assert_eq!(count > 0, is_counted);
}
