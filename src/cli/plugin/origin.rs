//! The record of a project's origin: which of its files are gauged's, with the hashes of what was written, and which agent wrote
//! them. `gauged plugin new` makes it, and `gauged plugin upgrade` decides by it. Its lines have the form of `sha256sum`, and
//! `sha256sum -c` checks them.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::new::files::is_vendored;
use crate::plugin::harness::SERVED;

/// The name of the record in a project.
pub(super) const ORIGIN_FILE: &str = "gauged.sum";

/// The first line of a record.
const TITLE: &str = "# Files of gauged in this project. `gauged plugin upgrade` renews them; do not edit them.";

/// The record of a project's origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// The version of the agent that wrote the files.
    pub(super) agent: String,
    /// The version of the WIT among them.
    pub(super) interface: String,
    /// The language of the project.
    pub(super) language: String,
    /// The hash of each file, by its path in the project.
    pub(super) files: BTreeMap<String, String>,
}

impl Origin {
    /// The record of files that this program writes: paths and contents.
    pub(super) fn new<'a>(language: &str, files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self {
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            interface: SERVED.to_owned(),
            language: language.to_owned(),
            files: files.into_iter().map(|(path, text)| (path.to_owned(), hash(text.as_bytes()))).collect(),
        }
    }

    /// The text of the record.
    pub(super) fn text(&self) -> String {
        let Self { agent, interface, language, files } = self;
        let head = format!("{TITLE}\n# agent {agent}\n# interface {interface}\n# language {language}\n");
        files.iter().fold(head, |text, (path, hash)| text + hash + "  " + path + "\n")
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// Why it is none: the end of a sentence that begins with its file.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut facts, mut files) = (BTreeMap::new(), BTreeMap::new());
        for (number, line) in (1..).zip(text.lines()) {
            let damaged = || format!("line {number} is damaged; restore the file from your version control");
            if let Some(comment) = line.strip_prefix("# ") {
                if let Some((key, value)) = comment.split_once(' ') {
                    facts.entry(key).or_insert(value);
                }
                continue;
            }
            let (hash, path) = line.split_once("  ").ok_or_else(damaged)?;
            if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) || !is_vendored(path) {
                return Err(damaged());
            }
            files.insert(path.to_owned(), hash.to_owned());
        }
        let fact = |key: &str| match facts.get(key) {
            Some(value) => Ok((*value).to_owned()),
            None => Err(format!("has no line \"# {key} …\"; restore the file from your version control")),
        };
        Ok(Self { agent: fact("agent")?, interface: fact("interface")?, language: fact("language")?, files })
    }
}

/// The hash of a content, in hexadecimal digits.
pub(super) fn hash(content: &[u8]) -> String {
    format!("{:x}", Sha256::digest(content))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn record_is_read_as_it_was_written() {
        let origin = Origin::new("rust", [("wit/gauged.wit", "package x;"), ("vendor/a b", "")]);
        let text = origin.text();
        assert_eq!(Origin::parse(&text), Ok(origin));
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let lines: Vec<&str> = text.lines().skip(4).collect();
        assert_eq!(lines, [format!("{empty}  vendor/a b"), format!("{}  wit/gauged.wit", hash(b"package x;"))]);
    }

    #[test]
    fn damaged_records_are_refused() {
        let good = Origin::new("c", [("wit/gauged.wit", "")]).text();
        let hash = hash(b"");
        for (from, to, why) in [
            ("# agent", "# server", "has no line \"# agent …\""),
            ("# language c\n", "", "has no line \"# language …\""),
            ("wit/gauged.wit", "src/lib.rs", "line 5 is damaged"),
            ("wit/gauged.wit", "wit/../../a", "line 5 is damaged"),
            ("wit/gauged.wit", "/wit/a", "line 5 is damaged"),
            (&*hash, "abc", "line 5 is damaged"),
            ("  wit", " wit", "line 5 is damaged"),
            ("# agent", "agent", "line 2 is damaged"),
        ] {
            let text = good.replace(from, to);
            assert_ne!(text, good, "{from}");
            let error = Origin::parse(&text).expect_err("damaged");
            assert!(error.starts_with(why), "{error} for {to}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_texts_name_files_of_gauged_only(text in "(# (agent|interface|language) [a-z.]{0,3}\n|[0-9a-f]{64}  (wit/|vendor/|)[a./]{0,6}\n|[^\n]{0,9}\n){0,9}") {
            if let Ok(origin) = Origin::parse(&text) {
                prop_assert!(origin.files.keys().all(|path| is_vendored(path)));
            }
        }
    }
}
