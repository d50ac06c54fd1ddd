//! Rules for changes of the WIT, the interface between agent and plugins. `tests/fixtures/wit` keeps every shipped version
//! without its comments, and `wit/gauged.wit` is compared with each. That plugins of earlier versions still load is tested
//! in `shipped`.

pub mod items;

use std::fs;
use std::path::PathBuf;

use wit_component::WitPrinter;
use wit_parser::Resolve;

use self::items::{Interface, objections};
use crate::guest::{VERSION, WIT};
use crate::harness::repository;

const DECISION: &str = "\
wit/gauged.wit differs from the version that was shipped. Choose one:
- The change is a mistake: revert it.
- The version is a candidate, such as 0.2.0-rc.4: raise its last number, and remove the files of the candidate before.
- The change adds something to import (a function, an interface and its types): raise the last number of the package's
  version, and mark the new items with @since(version = …) of that version. Existing plugins keep working.
- The change alters a record, variant, export or function: raise the middle number, and have the agent serve both versions,
  since a plugin that was built for the earlier one must load in every later agent.
Then UPDATE_EXPECT=1 cargo test --test it -- wit:: shipped:: stores the new version permanently.";

fn directory() -> PathBuf {
    repository().join("tests/fixtures/wit")
}

/// The shipped versions, the earliest first.
pub fn shipped() -> Vec<Interface> {
    let files = fs::read_dir(directory()).expect("a directory").map(|entry| entry.expect("readable").path());
    let mut shipped: Vec<Interface> = files
        .map(|file| {
            let interface = parse(&fs::read_to_string(&file).expect("text"));
            assert_eq!(file.file_stem().and_then(|stem| stem.to_str()), Some(&*interface.version_text()));
            interface
        })
        .collect();
    shipped.sort_by_key(|interface| interface.version.clone());
    shipped
}

fn parse(text: &str) -> Interface {
    Interface::parse(text).expect("valid WIT")
}

/// The WIT without its comments, as it is kept.
fn bare(text: &str) -> String {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("gauged.wit", text).expect("it parses");
    let mut printer = WitPrinter::default();
    printer.emit_docs(false);
    printer.print(&resolve, package, &[]).expect("printed");
    printer.output.to_string()
}

#[test]
fn changed_wit_needs_a_new_version() {
    let current = parse(WIT);
    let file = directory().join(format!("{}.wit", current.version_text()));
    if std::env::var_os("UPDATE_EXPECT").is_some() && !file.exists() {
        fs::write(&file, bare(WIT)).expect("written");
    }
    let shipped = shipped();
    let found: Vec<String> = shipped.iter().flat_map(|before| objections(before, &current)).collect();
    assert!(found.is_empty(), "{}\n\n{DECISION}", found.join("\n"));
    assert!(file.exists(), "version {} is not in tests/fixtures/wit.\n\n{DECISION}", current.version_text());
    let (last, earlier) = shipped.split_last().expect("at least this one");
    assert_eq!(last.version, current.version, "wit/gauged.wit is older than the last shipped version");
    for (later, before) in shipped.iter().flat_map(|later| earlier.iter().map(move |before| (later, before))) {
        if before.version < later.version {
            assert_eq!(objections(before, later), Vec::<String>::new(), "shipped versions never change");
        }
    }
}

/// The objections to changes of the current WIT, each a text and its replacement, as if it were a shipped version: a
/// candidate may change.
fn objections_to(changes: &[(&str, &str)]) -> Vec<String> {
    let shipped = bare(&WIT.replace(VERSION, SHIPPED));
    objections(&parse(&shipped), &parse(&changed(&shipped, changes)))
}

fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} in {text}");
        text.replacen(from, to, 1)
    })
}

const SHIPPED: &str = "0.2.0";
const RAISED: (&str, &str) = ("@0.2.0;", "@0.2.1;");
const READ: &str = "read: func(path: string)";

#[test]
fn changed_comments_are_accepted() {
    assert_eq!(objections(&parse(&bare(WIT)), &parse(WIT)), Vec::<String>::new());
}

#[test]
fn shipped_item_cannot_change_within_a_version() {
    for (change, item) in [
        (("value: string,", "value: string, more: u8,"), "metrics.label"),
        (("integer(s64),", ""), "metrics.value"),
        (("counter,", "counter, info,"), "metrics.kind"),
        (("needs: list<need>,", "needs: list<need>, more: u8,"), "collector.configured"),
        (("denied(capability),", "denied(u8),"), "files.error"),
        ((READ, "read: func(path: string, most: u32)"), "files.read"),
        ((READ, "read-all: func(path: string)"), "files.read"),
        (("describe: func()", "describe: func(language: string)"), "collector.describe"),
        (("  import net;\n", ""), "import net"),
    ] {
        for changes in [&[change][..], &[RAISED, change]] {
            let found = objections_to(changes);
            assert!(found.iter().any(|objection| objection.contains(item)), "{changes:?}: {found:?}");
        }
    }
}

#[test]
fn new_imports_need_a_version_and_a_mark() {
    let more = "owner: func(path: string) -> u8;\n  read: func(path: string)";
    let marked = format!("@since(version = 0.2.1)\n  {more}");
    assert_eq!(
        objections_to(&[(READ, more)]),
        ["files.owner is new, and 0.2.0 was shipped without it: func(path: string) -> u8"]
    );
    assert_eq!(objections_to(&[RAISED, (READ, more)]), ["files.owner is new and not marked @since(version = 0.2.1)"]);
    assert_eq!(objections_to(&[RAISED, (READ, &marked)]), Vec::<String>::new());
    let early = format!("@since(version = 0.2.0)\n  {more}");
    assert_eq!(objections_to(&[RAISED, (READ, &early)]), ["files.owner is new and not marked @since(version = 0.2.1)"]);

    let interface = (
        "interface log",
        "@since(version = 0.2.1)\ninterface env {\n  @since(version = 0.2.1)\n  get: func() -> u8;\n}\ninterface log",
    );
    let import = ("  import log;\n", "  @since(version = 0.2.1)\n  import env;\n  import log;\n");
    assert_eq!(objections_to(&[RAISED, interface, import]), Vec::<String>::new());
}

#[test]
fn new_exports_are_rejected() {
    let more = ("describe: func()", "@since(version = 0.2.1)\n  stop: func();\n  describe: func()");
    assert_eq!(
        objections_to(&[RAISED, more]),
        ["collector.stop is new, and plugins that were built before do not export it"]
    );
    let export = ("  export collector;\n", "  @since(version = 0.2.1)\n  export log;\n  export collector;\n");
    let found = objections_to(&[RAISED, export]);
    assert!(found.iter().any(|objection| objection.starts_with("export log is new")), "{found:?}");
}

#[test]
fn new_minor_version_may_differ() {
    assert_eq!(objections_to(&[("@0.2.0;", "@0.3.0;"), (READ, "read-all: func(path: string)")]), Vec::<String>::new());
}

/// The keywords of the languages whose bindings would have to rename them.
const KEYWORDS: &str = "
    auto break case char const continue default do double else enum extern float for goto if inline int long register restrict
    return short signed sizeof static struct switch typedef union unsigned void volatile while bool true false nullptr constexpr
    typeof alignas alignof
    func interface select defer go map chan package fallthrough range type import var
    False None True and as assert async await class def del elif except finally from global in is lambda nonlocal not or pass
    raise try with yield match
    catch debugger delete export extends function instanceof new super this throw let implements private protected public null
    eval arguments";

#[test]
fn names_are_no_keywords_elsewhere() {
    let names = items::names(WIT).expect("valid WIT");
    assert!(names.len() > 100, "{names:?}");
    let keywords: Vec<&str> = KEYWORDS.split_ascii_whitespace().collect();
    let found: Vec<&String> = names.iter().filter(|name| keywords.contains(&name.as_str())).collect();
    assert_eq!(found, Vec::<&String>::new(), "of C, Go, Python or JavaScript");
}

#[test]
fn candidate_may_differ_from_the_one_before() {
    let (current, change) = (bare(WIT), (READ, "read-all: func(path: string)"));
    let next = changed(&current, &[(VERSION, "0.2.0-rc.99"), change]);
    assert_eq!(objections(&parse(&current), &parse(&next)), Vec::<String>::new());
    assert_eq!(objections(&parse(&current), &parse(&changed(&next, &[("-rc.99", "")]))), Vec::<String>::new());
    let same = objections(&parse(&current), &parse(&changed(&current, &[change])));
    assert!(same.iter().any(|objection| objection.contains("files.read has gone")), "{same:?}");
}
