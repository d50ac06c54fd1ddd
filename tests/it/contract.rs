//! How the contract may change. What was shipped of it is kept without its prose in `tests/fixtures/wit`, a file a version;
//! the one in `wit/` is held against each. Knows nothing of components: that those of earlier versions load is
//! `shipped`'s business.

pub mod items;

use std::fs;
use std::path::PathBuf;

use wit_component::WitPrinter;
use wit_parser::Resolve;

use self::items::{Contract, objections};
use crate::guest::CONTRACT;
use crate::harness::repository;

const DECISION: &str = "\
The contract in wit/gauged.wit is not the one that was shipped. Decide which it is:
- a mistake: put it back;
- something more to import (a function, an interface and its types): raise the last number of the package's version, and
  mark what is new with @since(version = …) of that version; plugins that were built before go on as they are;
- another record, variant, export or function than before: raise the middle number, and have the agent serve both versions,
  since a plugin that was built for the one before must load in every later agent.
Then UPDATE_EXPECT=1 cargo test --test it contract shipped keeps what is new, for ever.";

fn directory() -> PathBuf {
    repository().join("tests/fixtures/wit")
}

/// The versions that were shipped, the earliest first.
pub fn shipped() -> Vec<Contract> {
    let files = fs::read_dir(directory()).expect("a directory").map(|entry| entry.expect("readable").path());
    let mut shipped: Vec<Contract> = files
        .map(|file| {
            let contract = Contract::parse(&fs::read_to_string(&file).expect("text")).expect("a contract");
            assert_eq!(file.file_stem().and_then(|stem| stem.to_str()), Some(&*contract.version_text()));
            contract
        })
        .collect();
    shipped.sort_by_key(|contract| contract.version);
    shipped
}

fn now() -> Contract {
    Contract::parse(CONTRACT).expect("a contract")
}

/// A contract without its prose, as it is kept.
fn bare(text: &str) -> String {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("gauged.wit", text).expect("it parses");
    let mut printer = WitPrinter::default();
    printer.emit_docs(false);
    printer.print(&resolve, package, &[]).expect("printed");
    printer.output.to_string()
}

#[test]
fn the_contract_changes_by_decision_only() {
    let current = now();
    let file = directory().join(format!("{}.wit", current.version_text()));
    if std::env::var_os("UPDATE_EXPECT").is_some() && !file.exists() {
        fs::write(&file, bare(CONTRACT)).expect("written");
    }
    let shipped = shipped();
    let objections: Vec<String> = shipped.iter().flat_map(|before| objections(before, &current)).collect();
    assert!(objections.is_empty(), "{}\n\n{DECISION}", objections.join("\n"));
    assert!(file.exists(), "{} is a version that is not kept.\n\n{DECISION}", current.version_text());
    let (last, earlier) = shipped.split_last().expect("at least this one");
    assert_eq!(last.version, current.version, "what is in wit/ is older than what was shipped");
    for (later, before) in shipped.iter().flat_map(|later| earlier.iter().map(move |before| (later, before))) {
        assert_eq!(objections_of(before, later), Vec::<String>::new(), "what is kept is never changed");
    }
}

fn objections_of(before: &Contract, later: &Contract) -> Vec<String> {
    if before.version < later.version { objections(before, later) } else { Vec::new() }
}

/// What is said against changes of the contract as it is, given as one text in the place of another.
fn against(changes: &[(&str, &str)]) -> Vec<String> {
    let mut text = bare(CONTRACT);
    for (from, to) in changes {
        assert!(text.contains(from), "{from} in {text}");
        text = text.replacen(from, to, 1);
    }
    objections(&now(), &Contract::parse(&text).expect("a contract"))
}

const RAISED: (&str, &str) = ("@0.1.0;", "@0.1.1;");
const READ: &str = "read: func(path: string)";

#[test]
fn prose_is_no_change() {
    let bare = Contract::parse(&bare(CONTRACT)).expect("a contract");
    assert_eq!(objections(&bare, &now()), Vec::<String>::new());
}

#[test]
fn what_was_shipped_does_not_change_within_a_version() {
    for (change, item) in [
        (("value: string,", "value: string, more: u8,"), "metrics.label"),
        (("signed(s64),", ""), "metrics.value"),
        (("counter,", "counter, histogram,"), "metrics.kind"),
        (("denied(string),", "denied(u8),"), "files.error"),
        ((READ, "read: func(path: string, most: u32)"), "files.read"),
        ((READ, "read-all: func(path: string)"), "files.read"),
        (("describe: func()", "describe: func(language: string)"), "collector.describe"),
        (("  import net;\n", ""), "import net"),
    ] {
        for changes in [&[change][..], &[RAISED, change]] {
            let says = against(changes);
            assert!(says.iter().any(|says| says.contains(item)), "{changes:?}: {says:?}");
        }
    }
}

#[test]
fn imports_grow_with_a_version_and_a_mark() {
    let more = "stat: func(path: string) -> u8;\n  read: func(path: string)";
    let marked = format!("@since(version = 0.1.1)\n  {more}");
    assert_eq!(
        against(&[(READ, more)]),
        ["files.stat is new, and 0.1.0 was shipped without it: func(path: string) -> u8"]
    );
    assert_eq!(against(&[RAISED, (READ, more)]), ["files.stat is new and not marked @since(version = 0.1.1)"]);
    assert_eq!(against(&[RAISED, (READ, &marked)]), Vec::<String>::new());
    let early = format!("@since(version = 0.1.0)\n  {more}");
    assert_eq!(against(&[RAISED, (READ, &early)]), ["files.stat is new and not marked @since(version = 0.1.1)"]);

    let interface = (
        "interface log",
        "@since(version = 0.1.1)\ninterface env {\n  @since(version = 0.1.1)\n  get: func() -> u8;\n}\ninterface log",
    );
    let import = ("  import log;\n", "  @since(version = 0.1.1)\n  import env;\n  import log;\n");
    assert_eq!(against(&[RAISED, interface, import]), Vec::<String>::new());
}

#[test]
fn exports_do_not_grow() {
    let more = ("describe: func()", "@since(version = 0.1.1)\n  stop: func();\n  describe: func()");
    assert_eq!(
        against(&[RAISED, more]),
        ["collector.stop is new, and plugins that were built before do not export it"]
    );
    let export = ("  export collector;\n", "  @since(version = 0.1.1)\n  export log;\n  export collector;\n");
    let says = against(&[RAISED, export]);
    assert!(says.iter().any(|says| says.starts_with("export log is new")), "{says:?}");
}

#[test]
fn a_new_version_may_be_another() {
    assert_eq!(against(&[("@0.1.0;", "@0.2.0;"), (READ, "read-all: func(path: string)")]), Vec::<String>::new());
}
