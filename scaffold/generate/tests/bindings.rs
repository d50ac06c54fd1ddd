//! The checked-in bindings are those that the generator makes of the WIT.

use std::collections::BTreeSet;
use std::path::Path;

use expect_test::expect_file;

#[test]
fn checked_in_bindings_match_the_wit() {
    let files = generate::bindings();
    let scaffold = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in &files {
        let path = scaffold.join(&file.path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("created");
        if std::fs::read_to_string(&path).is_ok_and(|text| text != file.text) {
            // Before the comparison, whose output is long.
            println!("wit/gauged.wit has changed; run in scaffold/generate: UPDATE_EXPECT=1 cargo test");
        }
        expect_file![path].assert_eq(&file.text);
    }
    let languages: BTreeSet<&str> = files.iter().filter_map(|file| file.path.split('/').next()).collect();
    assert_eq!(languages.into_iter().collect::<Vec<_>>(), ["..", "c", "go", "typescript", "zig"]);
}

/// The first line of a text that begins with `key`, without it and quotes.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let value = text.lines().find_map(|line| line.strip_prefix(key));
    value.expect(key).trim_end_matches(';').trim_matches('"')
}

#[test]
fn sdk_has_the_version_of_the_wit() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| std::fs::read_to_string(repository.join(path)).expect(path);
    let (wit, manifest) = (read("wit/gauged.wit"), read("plugins/sdk/Cargo.toml"));
    let (wit, sdk) = (value(&wit, "package gauged:plugin@"), value(&manifest, "version = "));
    // A release may have another third number; a candidate has all of it.
    let line = |version: &str| match version.split_once('-') {
        Some(_) => version.to_owned(),
        None => version.rsplit_once('.').expect("three numbers").0.to_owned(),
    };
    assert_eq!(line(sdk), line(wit), "write the version of the WIT into plugins/sdk/Cargo.toml");
}
