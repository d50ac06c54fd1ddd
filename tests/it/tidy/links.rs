//! The links in documents that lead to other files of the repository, and to their headings.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::repository;

/// Directories that builds fill.
const BUILT: [&str; 3] = ["target", "node_modules", "vendor"];

/// All documents below a directory, without hidden ones.
fn documents(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let entry = entry.expect("readable");
        let (path, name) = (entry.path(), entry.file_name().into_string().expect("text"));
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() && !name.starts_with('.') && !BUILT.contains(&&*name) {
            documents(&path, found);
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The lines of a document outside of its code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The names by which links lead to the headings of a document, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for heading in prose(text).filter_map(|line| line.strip_prefix('#')) {
        let heading = heading.trim_start_matches('#').trim();
        let kept = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | ' ');
        let name: String = heading.chars().filter(|&letter| kept(letter)).collect();
        let name = name.to_lowercase().replace(' ', "-");
        let again = (1..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone()).chain(again).find(|name| !anchors.contains(name));
        anchors.extend(free);
    }
    anchors
}

/// The places of a line's links.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
}

/// The fault of a link of a document.
fn fault(document: &Path, link: &str) -> Option<&'static str> {
    let is_elsewhere = link
        .split_once(':')
        .is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_lowercase()));
    if is_elsewhere {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let file = if path.is_empty() { document.to_owned() } else { document.parent()?.join(path) };
    if !file.exists() {
        return Some("no such file");
    }
    let leads_somewhere =
        anchor.is_empty() || fs::read_to_string(&file).is_ok_and(|text| anchors(&text).contains(anchor));
    (!leads_somewhere).then_some("no such heading")
}

#[test]
fn links_in_documents_lead_somewhere() {
    let (mut found, mut checked, mut wrong) = (Vec::new(), 0, Vec::new());
    documents(repository(), &mut found);
    for document in &found {
        let text = fs::read_to_string(document).expect("readable");
        for link in prose(&text).flat_map(links) {
            checked += 1;
            wrong.extend(fault(document, link).map(|why| format!("{}: {link}: {why}", document.display())));
        }
    }
    assert!(checked > 300, "only {checked} links in {} documents", found.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn headings_have_the_anchors_of_github() {
    let text = "# The `spool`, kept\n```sh\n# no heading\n```\n## Sub_section: 1\n## Sub_section: 1\n";
    let expected = ["sub_section-1", "sub_section-1-1", "the-spool-kept"].map(str::to_owned);
    assert_eq!(anchors(text), BTreeSet::from(expected));
    let here = repository().join("README.md");
    assert_eq!(fault(&here, "https://example.org/x#y"), None);
    assert_eq!(fault(&here, "docs/no-such-file.md"), Some("no such file"));
    assert_eq!(fault(&here, "SPECIFICATION.md#no-such-heading"), Some("no such heading"));
}
