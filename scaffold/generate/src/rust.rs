//! The bindings for Rust, by wit-bindgen: the module `bindings` of the SDK.

use wit_bindgen_core::{Files, WorldGenerator as _};

use crate::File;
use crate::wit::Wit;

pub(crate) fn files(wit: &Wit) -> Vec<File> {
    let options = wit_bindgen_rust::Opts {
        generate_all: true,
        // Instead of the library wit-bindgen, which each plugin would have to build.
        runtime_path: Some("crate::bindings_runtime".to_owned()),
        pub_export_macro: true,
        export_macro_name: Some("export_bindings".to_owned()),
        default_bindings_module: Some("gauged_plugin::bindings".to_owned()),
        additional_derive_attributes: vec!["PartialEq".to_owned()],
        ..wit_bindgen_rust::Opts::default()
    };
    let (mut resolve, mut files) = (wit.resolve.clone(), Files::default());
    options.build().generate(&mut resolve, wit.world, &mut files).expect("a world for Rust");
    let made: Vec<_> = files.iter().collect();
    let [(_, text)] = made[..] else { panic!("the bindings for Rust are one file") };
    let text = without_section_of_imports(std::str::from_utf8(text).expect("UTF-8"));
    let text = with_result_of_collect(&text);
    let text = format!(
        "//! Bindings generated from `wit/gauged.wit` by `scaffold/generate`. Use the re-exports of this crate.\n\n{text}"
    );
    vec![File { path: "../plugins/sdk/src/bindings.rs".to_owned(), text }]
}

/// Leaves out the section with the types of the imports, 5 KB in each plugin: the macro that exports a plugin adds one with the types of
/// imports and exports.
fn without_section_of_imports(text: &str) -> String {
    // That of the macro is indented.
    let (before, rest) =
        text.split_once("\n#[cfg(target_arch = \"wasm32\")]\n#[unsafe(link_section = ").expect("a section");
    let (_, after) = rest.split_once("\";\n").expect("its end");
    [before, after].concat()
}

/// Lets `collect` return the address of a result that the SDK has in the layout of the canonical ABI, and keeps until the next
/// call. The generated function would make each text and list of a sample a piece of memory of its own, and free them after the call.
fn with_result_of_collect(text: &str) -> String {
    let (before, rest) = text.split_once("let result0 = {\n      T_::collect(").expect("a call of collect");
    let (call, rest) = rest.split_once("\n    };\n    let ptr1 = ").expect("its end");
    let (_, rest) = rest.split_once("pub trait Guest {").expect("a trait after the functions");
    let (methods, rest) =
        rest.split_once("-> Result<_rt::Vec::<Module>,Error>;").expect("the method collect with its result");
    let (export, rest) =
        rest.split_once("unsafe extern \"C\" fn _post_return_collect(").expect("a function after the call");
    let (export, _) = export.rsplit_once("#[unsafe(export_name = ").expect("its name");
    let (_, rest) = rest.split_once("\n            }\n").expect("its end");
    [
        before,
        "T_::collect(",
        call,
        ".cast_mut()\n  } }\n  pub trait Guest {",
        methods,
        "-> *const u8;",
        export.trim_end(),
        "\n",
        rest,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use wit_parser::TypeDefKind;

    use crate::wit::Wit;

    /// The fields or cases of a type of the SDK, in their order, without what they hold.
    fn members<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
        let start = source.find(&format!(" {name} {{\n")).unwrap_or_else(|| panic!("no type {name}"));
        let (_, body) = source[start..].split_once('\n').expect("a body");
        let lines = body.lines().take_while(|line| *line != "}");
        let member = |line: &'a str| {
            let line = line.strip_prefix("    ").filter(|line| !line.starts_with([' ', '}', '/', '#']))?;
            line.trim_start_matches("pub(crate) ").split([':', '(', ' ', ',']).next()
        };
        lines.filter_map(member).collect()
    }

    /// The fields or cases of a type of the WIT, in their order.
    fn specified(wit: &Wit, interface: &str, name: &str) -> Vec<String> {
        let parts = wit.parts();
        let part = parts.iter().find(|part| part.short_name() == interface).expect("an interface");
        let (_, definition) = part.types(wit).find(|(known, _)| known == name).expect("a type");
        match &definition.kind {
            TypeDefKind::Record(record) => record.fields.iter().map(|field| field.name.replace('-', "_")).collect(),
            TypeDefKind::Variant(variant) => {
                variant.cases.iter().map(|case| heck::AsPascalCase(&case.name).to_string()).collect()
            }
            other => panic!("{name} is {other:?}"),
        }
    }

    #[test]
    fn lowered_types_have_the_order_of_the_wit() {
        let source = include_str!("../../../plugins/sdk/src/lowered.rs");
        let wit = Wit::parse();
        for (interface, name, lowered) in [
            ("metrics", "metric", "Metric"),
            ("metrics", "value", "Value"),
            ("metrics", "quantile", "Quantile"),
            ("metrics", "descriptor", "Descriptor"),
            ("metrics", "module", "ModuleRecord"),
            ("collector", "error", "Failure"),
        ] {
            assert_eq!(members(source, lowered), specified(&wit, interface, name), "{lowered}");
        }
        // Within a case, and as pairs of texts.
        for (name, fields) in
            [("histogram", "bounds counts sum"), ("summary", "quantiles sum count"), ("label", "name value")]
        {
            assert_eq!(specified(&wit, "metrics", name).join(" "), fields, "{name}");
        }
        for case in ["Histogram { bounds: Span, counts: Span, sum: ", "Summary { quantiles: Span, sum: "] {
            assert!(source.contains(case), "{case}");
        }
        assert_eq!(specified(&wit, "metrics", "dimension"), ["name", "meaning"]);
        assert_eq!(specified(&wit, "collector", "invalid"), ["key", "message"]);
    }
}
