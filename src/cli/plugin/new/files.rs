//! The files of new projects: `scaffold/`, the WIT and the SDK, as they were when this program was built.

/// A file of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct File {
    /// The path in the project.
    pub(crate) path: &'static str,
    /// The content, with `PLUGIN_NAME` and `PLUGIN_MODULE` in place of the names of the plugin and its module.
    pub(crate) text: &'static str,
}

/// The directories of a project whose files are not its author's: `gauged plugin upgrade` renews them. Nothing in them depends on
/// the name of the plugin.
const VENDORED: [&str; 3] = ["wit/", "vendor/", "bindings/"];

/// Whether a path in a project is in one of these directories, and not above it by `..`.
pub(crate) fn is_vendored(path: &str) -> bool {
    let is_below = VENDORED.iter().any(|directory| path.starts_with(directory));
    is_below && path.split('/').all(|name| !matches!(name, "" | "." | ".."))
}

/// The files among these that are not the author's: path and content.
pub(crate) fn vendored(files: &'static [&'static [File]]) -> impl Iterator<Item = (&'static str, &'static str)> {
    files.iter().copied().flatten().filter(|file| is_vendored(file.path)).map(|file| (file.path, file.text))
}

/// Files of a directory of these sources, at the same paths in a directory of the project.
macro_rules! files {
    ($from:literal to $to:literal: $($name:literal)*) => {
        &[$(File {
            path: concat!($to, $name),
            text: include_str!(concat!("../../../../", $from, $name)),
        }),*]
    };
}

/// A file made of one or more files of these sources. Such a source has a name of its own because a tool would obey it
/// there, or because the file has variants.
macro_rules! file {
    ($path:literal from $($name:literal)*) => {
        File { path: $path, text: concat!($(include_str!(concat!("../../../../", $name))),*) }
    };
}

/// The WIT.
pub(super) const WIT: &[File] = files!("wit/" to "wit/": "gauged.wit");

/// The SDK; `build.rs` lists its files.
const SDK: &[File] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// A project in Rust.
pub(super) const RUST: &[&[File]] = &[
    WIT,
    files!("scaffold/rust/" to "": "src/lib.rs" "build.sh" "test.sh"),
    &[
        file!("README.md" from "scaffold/rust/README.md" "scaffold/rust/alone.md"),
        file!("Cargo.toml" from "scaffold/rust/alone.toml"),
        file!(".gitignore" from "scaffold/rust/gitignore"),
    ],
    SDK,
];

/// A project in Rust in `plugins/` of these sources, which has the SDK, the WIT and the build for all plugins.
pub(super) const CHECKOUT: &[&[File]] = &[
    files!("scaffold/rust/" to "": "src/lib.rs"),
    &[
        file!("README.md" from "scaffold/rust/README.md" "scaffold/rust/checkout.md"),
        file!("Cargo.toml" from "scaffold/rust/checkout.toml"),
    ],
];

/// A project in Python.
pub(super) const PYTHON: &[&[File]] = &[
    WIT,
    files!("scaffold/python/" to "":
        "README.md" "app.py" "measure.py" "test_measure.py" "requirements.txt" "build.sh" "test.sh"
    ),
    &[file!(".gitignore" from "scaffold/python/gitignore")],
];

/// A project in JavaScript.
pub(super) const JAVASCRIPT: &[&[File]] = &[
    WIT,
    files!("scaffold/javascript/" to "":
        "README.md" "plugin.js" "measure.js" "measure.test.js" "package.json" "build.mjs" "build.sh" "test.sh"
    ),
    &[file!(".gitignore" from "scaffold/javascript/gitignore")],
];

/// A project in TypeScript.
pub(super) const TYPESCRIPT: &[&[File]] = &[
    WIT,
    files!("scaffold/typescript/" to "":
        "README.md"
        "src/plugin.ts"
        "src/measure.ts"
        "src/measure.test.ts"
        "src/settings.ts"
        "src/settings.test.ts"
        "bindings/plugin.d.ts"
        "package.json"
        "tsconfig.json"
        "build.mjs"
        "build.sh"
        "test.sh"
    ),
    &[file!(".gitignore" from "scaffold/typescript/gitignore")],
];

/// A project in Go.
pub(super) const GO: &[&[File]] = &[
    WIT,
    files!("scaffold/go/" to "":
        "README.md"
        "go.mod"
        "main.go"
        "collector/collector.go"
        "collector/settings.go"
        "collector/settings_test.go"
        "measure/measure.go"
        "measure/measure_test.go"
        "build.sh"
        "test.sh"
    ),
    // A package for each interface; `build.rs` lists them.
    include!(concat!(env!("OUT_DIR"), "/go_bindings.rs")),
    &[file!(".gitignore" from "scaffold/go/gitignore")],
];

/// A project in C.
pub(super) const C: &[&[File]] = &[
    WIT,
    files!("scaffold/c/" to "":
        "README.md"
        "src/collector.c"
        "src/measure.c"
        "src/measure.h"
        "src/settings.c"
        "src/settings.h"
        "tests/measure_test.c"
        "libc/libc.c"
        "libc/stdlib.h"
        "libc/string.h"
        "build.sh"
        "test.sh"
    ),
    C_BINDINGS,
    COMPONENT_TYPE,
    &[file!(".gitignore" from "scaffold/c/gitignore")],
];

/// The bindings for C, and for C++ above them.
const C_BINDINGS: &[File] = files!("scaffold/c/" to "": "bindings/plugin.c" "bindings/plugin.h");

/// The section that makes a module a plugin, for the languages whose compiler takes files in C.
const COMPONENT_TYPE: &[File] = files!("scaffold/c/" to "": "bindings/component_type.c");

/// A project in C++.
pub(super) const CPP: &[&[File]] = &[
    WIT,
    files!("scaffold/cpp/" to "":
        "README.md"
        "requirements.txt"
        "src/collector.cpp"
        "src/measure.cpp"
        "src/measure.h"
        "src/settings.cpp"
        "src/settings.h"
        "tests/measure_test.cpp"
        "bindings/plugin.hpp"
        "build.sh"
        "test.sh"
    ),
    C_BINDINGS,
    COMPONENT_TYPE,
    &[file!(".gitignore" from "scaffold/cpp/gitignore")],
];

/// A project in Zig.
pub(super) const ZIG: &[&[File]] = &[
    WIT,
    files!("scaffold/zig/" to "":
        "README.md"
        "requirements.txt"
        "src/collector.zig"
        "src/measure.zig"
        "bindings/canonical.zig"
        "bindings/plugin.zig"
        "build.sh"
        "test.sh"
    ),
    COMPONENT_TYPE,
    &[file!(".gitignore" from "scaffold/zig/gitignore")],
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    /// All files below a directory of these sources.
    fn source_files(directory: &str) -> BTreeSet<PathBuf> {
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
    fn projects_have_all_files_of_the_sdk() {
        let sdk: BTreeSet<PathBuf> = source_files("plugins/sdk");
        let below = |path: &Path| path.strip_prefix("vendor/gauged-plugin").map(Path::to_owned).ok();
        assert_eq!(paths(&[SDK]).iter().filter_map(|path| below(path)).collect::<BTreeSet<_>>(), sdk);
    }

    #[test]
    fn vendored_manifest_inherits_nothing() {
        let manifest = SDK.iter().find(|file| file.path == "vendor/gauged-plugin/Cargo.toml").expect("there").text;
        assert!(manifest.contains("\nversion = \"") && manifest.contains("\nedition = \""), "{manifest}");
        assert!(!manifest.contains("workspace"), "{manifest}");
    }

    #[test]
    fn projects_have_all_files_of_their_scaffold() {
        for (groups, directory) in [
            (PYTHON, "scaffold/python"),
            (JAVASCRIPT, "scaffold/javascript"),
            (TYPESCRIPT, "scaffold/typescript"),
            (GO, "scaffold/go"),
            (C, "scaffold/c"),
            (CPP, "scaffold/cpp"),
            (ZIG, "scaffold/zig"),
        ] {
            let hidden = |path: PathBuf| if path == Path::new("gitignore") { ".gitignore".into() } else { path };
            let mut expected: BTreeSet<PathBuf> = source_files(directory).into_iter().map(hidden).collect();
            expected.insert("wit/gauged.wit".into());
            let shared = [C_BINDINGS, COMPONENT_TYPE].into_iter().filter(|group| groups.contains(group));
            expected.extend(shared.flatten().map(|file| PathBuf::from(file.path)));
            assert_eq!(paths(groups), expected, "{directory}");
        }
    }

    #[test]
    fn vendored_paths_are_recognized_and_have_no_placeholders() {
        for good in ["wit/gauged.wit", "vendor/gauged-plugin/src/lib.rs", "bindings/plugin.c"] {
            assert!(is_vendored(good), "{good}");
        }
        for bad in
            ["wit", "wit/", "witness/a", "src/wit/a", "wit/../src/lib.rs", "wit//a", "vendor/./a", "/wit/a", "../wit/a"]
        {
            assert!(!is_vendored(bad), "{bad}");
        }
        for groups in [RUST, PYTHON, JAVASCRIPT, TYPESCRIPT, GO, C, CPP, ZIG] {
            assert!(vendored(groups).any(|(path, _)| path == "wit/gauged.wit"));
            for (path, text) in vendored(groups) {
                assert!(!text.contains("PLUGIN_NAME") && !text.contains("PLUGIN_MODULE"), "{path}");
            }
        }
        assert_eq!(vendored(CHECKOUT).count(), 0);
    }

    #[test]
    fn projects_of_all_languages_have_common_files() {
        for groups in [RUST, PYTHON, JAVASCRIPT, TYPESCRIPT, GO, C, CPP, ZIG] {
            for common in ["README.md", "build.sh", "test.sh", ".gitignore", "wit/gauged.wit"] {
                assert!(paths(groups).contains(Path::new(common)), "{common} is not in {:?}", paths(groups));
            }
        }
    }
}
