//! The WIT, and what the generators read of it.

use wit_bindgen_core::{Files, WorldGenerator};
use wit_component::StringEncoding;
use wit_parser::{Docs, Function, Interface, Resolve, Type, TypeDef, WorldId, WorldItem, WorldKey};

use crate::File;

/// The text.
const TEXT: &str = include_str!("../../../wit/gauged.wit");

/// The resolved WIT.
pub(crate) struct Wit {
    pub(crate) resolve: Resolve,
    pub(crate) world: WorldId,
}

/// An interface of the world.
pub(crate) struct Part<'a> {
    pub(crate) interface: &'a Interface,
    /// The name in imports and exports: `gauged:plugin/files@0.2.0`.
    pub(crate) name: String,
    /// Whether the plugin exports it.
    pub(crate) is_export: bool,
}

impl Wit {
    pub(crate) fn parse() -> Self {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("gauged.wit", TEXT).expect("valid WIT");
        let world = resolve.select_world(&[package], Some("plugin")).expect("a world plugin");
        Self { resolve, world }
    }

    /// The interfaces, imports first.
    pub(crate) fn parts(&self) -> Vec<Part<'_>> {
        let world = &self.resolve.worlds[self.world];
        let part = |is_export: bool| {
            move |(key, item): (&WorldKey, &WorldItem)| {
                let WorldItem::Interface { id, .. } = item else { panic!("a world of interfaces") };
                Part { interface: &self.resolve.interfaces[*id], name: self.resolve.name_world_key(key), is_export }
            }
        };
        world.imports.iter().map(part(false)).chain(world.exports.iter().map(part(true))).collect()
    }

    /// The files that a generator of wit-bindgen makes, in a directory.
    pub(crate) fn generated(&self, mut generator: Box<dyn WorldGenerator>, directory: &str) -> Vec<File> {
        let (mut resolve, mut files) = (self.resolve.clone(), Files::default());
        generator.generate(&mut resolve, self.world, &mut files).expect("a world that the language supports");
        let file = |(name, bytes): (&str, &[u8])| {
            // An object file is left out: the custom section is assembler text, in component_type.c.
            let text = String::from_utf8(bytes.to_vec()).ok()?;
            Some(File { path: format!("{directory}/{name}"), text })
        };
        files.iter().filter_map(file).collect()
    }
}

impl Part<'_> {
    /// The name of the interface: `files`.
    pub(crate) fn short_name(&self) -> &str {
        self.interface.name.as_deref().expect("an interface with a name")
    }

    /// The types with their names.
    pub(crate) fn types<'a>(&self, wit: &'a Wit) -> impl Iterator<Item = (String, &'a TypeDef)> {
        self.interface.types.iter().map(|(name, id)| (name.clone(), &wit.resolve.types[*id]))
    }
}

/// The content of the custom section with the world of a module.
pub(crate) fn component_type(wit: &Wit) -> Vec<u8> {
    wit_component::metadata::encode(&wit.resolve, wit.world, StringEncoding::UTF8, None).expect("a valid world")
}

/// The lines of a documentation, each after a prefix.
pub(crate) fn documentation(docs: &Docs, prefix: &str) -> String {
    lines(docs.contents.as_deref().unwrap_or_default(), prefix)
}

/// The lines of a text, each after a prefix, without white space at their ends.
pub(crate) fn lines(text: &str, prefix: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        lines.push_str(format!("{prefix} {line}").trim_end());
        lines.push('\n');
    }
    lines
}

/// The name of a function without the resource that it belongs to, and of that resource.
pub(crate) fn function_name(function: &Function) -> (Option<&str>, &str) {
    match function.name.split_once(']') {
        Some((_, name)) => {
            let (resource, name) = name.split_once('.').expect("a function of a resource");
            (Some(resource), name)
        }
        None => (None, &function.name),
    }
}

/// The type of a definition, if it is another name of one.
pub(crate) fn definition<'a>(wit: &'a Wit, ty: &Type) -> Option<&'a TypeDef> {
    match ty {
        Type::Id(id) => Some(&wit.resolve.types[*id]),
        _ => None,
    }
}
