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
        expect_file![path].assert_eq(&file.text);
    }
    let languages: BTreeSet<&str> = files.iter().filter_map(|file| file.path.split('/').next()).collect();
    assert_eq!(languages.into_iter().collect::<Vec<_>>(), ["c", "go", "typescript", "zig"]);
}
