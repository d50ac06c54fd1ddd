//! What is checked in is what is made of the contract.

use expect_test::expect_file;

#[test]
fn the_checked_in_bindings_are_those_of_the_contract() {
    let bindings = generate::bindings();
    let names: Vec<&str> = bindings.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["plugin.c", "plugin.h", "component_type.c"]);
    for (name, text) in &bindings {
        expect_file![format!("{}/../c/bindings/{name}", env!("CARGO_MANIFEST_DIR"))].assert_eq(text);
    }
}
