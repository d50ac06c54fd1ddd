//! The items of the WIT, each with its name and a text that does not depend on the layout of the file, and the objections to
//! replacing one version by another.

use std::collections::{BTreeMap, BTreeSet};

use wit_parser::{
    Function, Handle, InterfaceId, Resolve, Stability, Type, TypeDefKind, TypeId, TypeOwner, WorldId, WorldItem,
    WorldKey,
};

/// Major, minor, patch, and the name of a candidate.
pub type Version = (u64, u64, u64, String);

/// All items of one version of the WIT.
pub struct Interface {
    /// The version of its package.
    pub version: Version,
    items: BTreeMap<String, Item>,
}

/// A type, a function, an import or an export.
struct Item {
    text: String,
    since: Option<Version>,
    /// Whether plugins import it, rather than export it.
    is_imported: bool,
}

impl Interface {
    /// Parses the text of a WIT file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("gauged.wit", text).map_err(|error| format!("{error}\n{text}"))?;
        let version = resolve.packages[package].name.version.clone().ok_or("it has no version")?;
        let version = (version.major, version.minor, version.patch, version.pre.as_str().to_owned());
        let world = resolve.select_world(&[package], Some("plugin")).map_err(|error| error.to_string())?;
        let mut items = BTreeMap::new();
        for (_, &interface) in &resolve.packages[package].interfaces {
            interface_items(&resolve, interface, world, &mut items);
        }
        world_items(&resolve, world, &mut items);
        Ok(Self { version, items })
    }

    /// The version as text.
    pub fn version_text(&self) -> String {
        written(&self.version)
    }

    /// Versions with the same line are compatible. A candidate has a line of its own.
    fn line(&self) -> String {
        match &self.version {
            (0, minor, _, candidate) if candidate.is_empty() => format!("0.{minor}"),
            (major, _, _, candidate) if candidate.is_empty() => major.to_string(),
            candidate => written(candidate),
        }
    }
}

/// The objections to a version after one that was shipped. There are none when the two are incompatible by their numbers:
/// the agent then serves both.
pub fn objections(before: &Interface, after: &Interface) -> Vec<String> {
    if before.line() != after.line() {
        return Vec::new();
    }
    let shipped = before.version_text();
    let changed = before.items.iter().filter_map(|(name, item)| match after.items.get(name) {
        None => Some(format!("{name} has gone, and {shipped} was shipped with it: {}", item.text)),
        Some(now) if now.text != item.text => Some(format!(
            "{name} has changed, and {shipped} was shipped with it as it was:\n  {}\n  {}",
            item.text, now.text
        )),
        Some(_) => None,
    });
    let added = after.items.iter().filter(|(name, _)| !before.items.contains_key(*name)).filter_map(|(name, item)| {
        let is_marked = item.since.as_ref().is_some_and(|since| *since > before.version);
        if before.version == after.version {
            Some(format!("{name} is new, and {shipped} was shipped without it: {}", item.text))
        } else if !item.is_imported {
            Some(format!("{name} is new, and plugins that were built before do not export it"))
        } else if !is_marked {
            Some(format!("{name} is new and not marked @since(version = {})", after.version_text()))
        } else {
            None
        }
    });
    changed.chain(added).collect()
}

/// The names of all interfaces, types, fields, cases, functions and parameters.
pub fn names(text: &str) -> Result<BTreeSet<String>, String> {
    let mut resolve = Resolve::default();
    resolve.push_str("gauged.wit", text).map_err(|error| error.to_string())?;
    let mut names = BTreeSet::new();
    for (_, ty) in &resolve.types {
        names.extend(ty.name.clone());
        match &ty.kind {
            TypeDefKind::Record(record) => names.extend(record.fields.iter().map(|field| field.name.clone())),
            TypeDefKind::Variant(variant) => names.extend(variant.cases.iter().map(|case| case.name.clone())),
            TypeDefKind::Enum(cases) => names.extend(cases.cases.iter().map(|case| case.name.clone())),
            TypeDefKind::Flags(flags) => names.extend(flags.flags.iter().map(|flag| flag.name.clone())),
            _ => {}
        }
    }
    for (_, interface) in &resolve.interfaces {
        names.extend(interface.name.clone());
        for function in interface.functions.values() {
            names.insert(function.item_name().to_owned());
            names.extend(function.params.iter().map(|parameter| parameter.name.clone()));
        }
    }
    Ok(names)
}

fn written((major, minor, patch, candidate): &Version) -> String {
    let mark = if candidate.is_empty() { "" } else { "-" };
    format!("{major}.{minor}.{patch}{mark}{candidate}")
}

fn since(stability: &Stability) -> Option<Version> {
    match stability {
        Stability::Stable { since, .. } => Some((since.major, since.minor, since.patch, String::new())),
        Stability::Unstable { .. } | Stability::Unknown => None,
    }
}

fn interface_items(resolve: &Resolve, id: InterfaceId, world: WorldId, items: &mut BTreeMap<String, Item>) {
    let interface = &resolve.interfaces[id];
    let own = interface.name.as_deref().expect("interfaces of a package have names");
    let is_imported = !resolve.worlds[world].exports.contains_key(&WorldKey::Interface(id));
    for (name, &kind) in &interface.types {
        let (text, since) = (defined(resolve, kind), since(&resolve.types[kind].stability));
        items.insert(format!("{own}.{name}"), Item { text, since, is_imported });
    }
    for (name, function) in &interface.functions {
        let (text, since) = (signature(resolve, id, function), since(&function.stability));
        items.insert(format!("{own}.{name}"), Item { text, since, is_imported });
    }
}

fn world_items(resolve: &Resolve, world: WorldId, items: &mut BTreeMap<String, Item>) {
    let world = &resolve.worlds[world];
    for (direction, entries) in [("import", &world.imports), ("export", &world.exports)] {
        for (key, item) in entries {
            let name = match key {
                WorldKey::Name(name) => name.clone(),
                WorldKey::Interface(id) => resolve.interfaces[*id].name.clone().expect("it has a name"),
            };
            let (text, since) = match item {
                WorldItem::Interface { stability, .. } => ("interface".to_owned(), since(stability)),
                WorldItem::Function(function) => (format!("{function:?}"), since(&function.stability)),
                WorldItem::Type { id, .. } => (defined(resolve, *id), since(&resolve.types[*id].stability)),
            };
            items.insert(format!("{direction} {name}"), Item { text, since, is_imported: direction == "import" });
        }
    }
}

fn signature(resolve: &Resolve, from: InterfaceId, function: &Function) -> String {
    let parameters = function.params.iter().map(|param| format!("{}: {}", param.name, used(resolve, from, param.ty)));
    let result = function.result.map_or(String::new(), |result| format!(" -> {}", used(resolve, from, result)));
    format!("func({}){result}", parameters.collect::<Vec<_>>().join(", "))
}

/// The kind of a type.
fn defined(resolve: &Resolve, id: TypeId) -> String {
    let definition = &resolve.types[id];
    let TypeOwner::Interface(from) = definition.owner else { return format!("{definition:?}") };
    let list = |entries: Vec<String>| entries.join(", ");
    let case = |name: &str, payload: Option<Type>| match payload {
        Some(payload) => format!("{name}({})", used(resolve, from, payload)),
        None => name.to_owned(),
    };
    match &definition.kind {
        TypeDefKind::Record(record) => {
            let field = |field: &wit_parser::Field| format!("{}: {}", field.name, used(resolve, from, field.ty));
            format!("record {{ {} }}", list(record.fields.iter().map(field).collect()))
        }
        TypeDefKind::Variant(variant) => {
            format!("variant {{ {} }}", list(variant.cases.iter().map(|entry| case(&entry.name, entry.ty)).collect()))
        }
        TypeDefKind::Enum(names) => {
            format!("enum {{ {} }}", list(names.cases.iter().map(|entry| entry.name.clone()).collect()))
        }
        TypeDefKind::Flags(flags) => {
            format!("flags {{ {} }}", list(flags.flags.iter().map(|flag| flag.name.clone()).collect()))
        }
        TypeDefKind::Resource => "resource".to_owned(),
        kind => format!("type = {}", composed(resolve, from, kind)),
    }
}

/// A type where it is used.
fn used(resolve: &Resolve, from: InterfaceId, kind: Type) -> String {
    let Type::Id(id) = kind else { return format!("{kind:?}").to_lowercase() };
    let definition = &resolve.types[id];
    match (&definition.name, definition.owner) {
        (Some(name), TypeOwner::Interface(owner)) if owner != from => {
            format!("{}.{name}", resolve.interfaces[owner].name.as_deref().expect("it has a name"))
        }
        (Some(name), _) => name.clone(),
        (None, _) => composed(resolve, from, &definition.kind),
    }
}

/// A type made of others.
fn composed(resolve: &Resolve, from: InterfaceId, kind: &TypeDefKind) -> String {
    let part = |part: Type| used(resolve, from, part);
    let or_none = |part: Option<Type>| part.map_or("_".to_owned(), |part| used(resolve, from, part));
    match kind {
        TypeDefKind::Type(same) => part(*same),
        TypeDefKind::List(of) => format!("list<{}>", part(*of)),
        TypeDefKind::Option(of) => format!("option<{}>", part(*of)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", or_none(result.ok), or_none(result.err)),
        TypeDefKind::Tuple(tuple) => {
            format!("tuple<{}>", tuple.types.iter().map(|&of| part(of)).collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Handle(Handle::Own(id)) => part(Type::Id(*id)),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", part(Type::Id(*id))),
        // Kinds that the WIT does not use yet.
        other => format!("{other:?}"),
    }
}
