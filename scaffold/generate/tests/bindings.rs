//! The checked-in bindings are those that the generator makes of the WIT.

use expect_test::expect_file;

#[test]
fn checked_in_bindings_match_the_wit() {
    let bindings = generate::bindings();
    let names: Vec<&str> = bindings.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["plugin.c", "plugin.h", "component_type.c"]);
    for (name, text) in &bindings {
        expect_file![format!("{}/../c/bindings/{name}", env!("CARGO_MANIFEST_DIR"))].assert_eq(text);
    }
}
