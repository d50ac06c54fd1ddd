//! What projects are made of: the files in `scaffold/`, the contract and the SDK, as they were when this program was built.

/// A file of a project.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    /// Where in the project it is.
    pub(super) path: &'static str,
    /// With `PLUGIN_NAME` and `PLUGIN_MODULE` where the plugin's name and that of its module belong.
    pub(super) text: &'static str,
}

/// Files below a directory of these sources, at the same paths below a directory of the project.
macro_rules! files {
    ($from:literal to $to:literal: $($name:literal)*) => {
        &[$(File {
            path: concat!($to, $name),
            text: include_str!(concat!("../../../../", $from, $name)),
        }),*]
    };
}

/// A file at another path, made of one or several files of these sources: what would be obeyed there, or has a variant.
macro_rules! file {
    ($path:literal from $($name:literal)*) => {
        File { path: $path, text: concat!($(include_str!(concat!("../../../../", $name))),*) }
    };
}

/// The contract.
pub(super) const CONTRACT: &[File] = files!("wit/" to "wit/": "gauged.wit");

/// The SDK, all of it: `build.rs` lists it.
const SDK: &[File] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// A project in Rust.
pub(super) const RUST: &[&[File]] = &[
    CONTRACT,
    files!("scaffold/rust/" to "": "src/lib.rs" "build.sh" "test.sh"),
    &[
        file!("README.md" from "scaffold/rust/README.md" "scaffold/rust/alone.md"),
        file!("Cargo.toml" from "scaffold/rust/alone.toml"),
        file!(".gitignore" from "scaffold/rust/gitignore"),
        file!("vendor/gauged-plugin/LICENSE" from "LICENSE"),
    ],
    SDK,
];

/// A project in Rust among the plugins of these sources, where the SDK, the contract and the build are there for all.
pub(super) const CHECKOUT: &[&[File]] = &[
    files!("scaffold/rust/" to "": "src/lib.rs"),
    &[
        file!("README.md" from "scaffold/rust/README.md" "scaffold/rust/checkout.md"),
        file!("Cargo.toml" from "scaffold/rust/checkout.toml"),
    ],
];

/// A project in Python.
pub(super) const PYTHON: &[&[File]] = &[
    CONTRACT,
    files!("scaffold/python/" to "":
        "README.md" "app.py" "measure.py" "test_measure.py" "requirements.txt" "build.sh" "test.sh"
    ),
    &[file!(".gitignore" from "scaffold/python/gitignore")],
];

/// A project in JavaScript.
pub(super) const JAVASCRIPT: &[&[File]] = &[
    CONTRACT,
    files!("scaffold/javascript/" to "":
        "README.md" "plugin.js" "measure.js" "measure.test.js" "package.json" "build.mjs" "build.sh" "test.sh"
    ),
    &[file!(".gitignore" from "scaffold/javascript/gitignore")],
];

/// A project in C.
pub(super) const C: &[&[File]] = &[
    CONTRACT,
    files!("scaffold/c/" to "":
        "README.md"
        "src/collector.c"
        "src/measure.c"
        "src/measure.h"
        "tests/measure_test.c"
        "bindings/plugin.c"
        "bindings/plugin.h"
        "bindings/component_type.c"
        "libc/libc.c"
        "libc/stdlib.h"
        "libc/string.h"
        "build.sh"
        "test.sh"
    ),
    &[file!(".gitignore" from "scaffold/c/gitignore")],
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    /// All files below a directory of these sources.
    fn there_are(directory: &str) -> BTreeSet<PathBuf> {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        let (mut files, mut open) = (BTreeSet::new(), vec![top.clone()]);
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).expect("readable").map(|entry| entry.expect("readable").path()) {
                if entry.is_dir() {
                    open.push(entry);
                } else {
                    files.insert(entry.strip_prefix(&top).expect("below it").to_owned());
                }
            }
        }
        assert!(!files.is_empty(), "looked in the wrong place");
        files
    }

    fn paths(groups: &[&[File]]) -> BTreeSet<PathBuf> {
        groups.iter().flat_map(|files| files.iter()).map(|file| PathBuf::from(file.path)).collect()
    }

    #[test]
    fn nothing_of_the_sdk_is_missing() {
        let of_sdk: BTreeSet<PathBuf> = there_are("plugins/sdk");
        let below = |path: &Path| path.strip_prefix("vendor/gauged-plugin").map(Path::to_owned).ok();
        assert_eq!(paths(&[SDK]).iter().filter_map(|path| below(path)).collect::<BTreeSet<_>>(), of_sdk);
    }

    #[test]
    fn nothing_of_a_project_is_missing() {
        for (groups, directory) in [(PYTHON, "scaffold/python"), (JAVASCRIPT, "scaffold/javascript"), (C, "scaffold/c")]
        {
            let hidden = |path: PathBuf| if path == Path::new("gitignore") { ".gitignore".into() } else { path };
            let mut there: BTreeSet<PathBuf> = there_are(directory).into_iter().map(hidden).collect();
            there.insert("wit/gauged.wit".into());
            assert_eq!(paths(groups), there, "{directory}");
        }
    }

    #[test]
    fn all_of_one_language_are_alike() {
        for groups in [RUST, PYTHON, JAVASCRIPT, C] {
            for common in ["README.md", "build.sh", "test.sh", ".gitignore", "wit/gauged.wit"] {
                assert!(paths(groups).contains(Path::new(common)), "{common} is not in {:?}", paths(groups));
            }
        }
    }
}
