//! The bindings for Zig: types and functions. `scaffold/zig/bindings/canonical.zig` carries values of these types over the border.

use std::fmt::Write as _;

use heck::{ToLowerCamelCase as _, ToSnakeCase as _, ToUpperCamelCase as _};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Handle, Type, TypeDef, TypeDefKind};

use crate::File;
use crate::wit::{Part, Wit, definition, documentation, function_name};

/// Words that are no names in Zig. Types and values of the language cannot be names of its items, either.
const KEYWORDS: &[&str] = &[
    "align",
    "and",
    "anyerror",
    "asm",
    "bool",
    "break",
    "catch",
    "comptime",
    "const",
    "continue",
    "defer",
    "else",
    "enum",
    "error",
    "export",
    "extern",
    "false",
    "fn",
    "for",
    "if",
    "inline",
    "null",
    "opaque",
    "or",
    "orelse",
    "packed",
    "pub",
    "resume",
    "return",
    "struct",
    "suspend",
    "switch",
    "test",
    "threadlocal",
    "true",
    "try",
    "type",
    "undefined",
    "union",
    "unreachable",
    "var",
    "void",
    "volatile",
    "while",
];

pub(crate) fn files(wit: &Wit) -> Vec<File> {
    let mut text = String::from(
        "//! Generated from wit/gauged.wit: the types and functions of the host, and the export of the plugin's own. Values that the \
         host\n//! returns are in `call_memory`: copy those that you keep longer than the call.\n\n\
         const canonical = @import(\"canonical.zig\");\n\n\
         /// Memory until the end of the call, also for what the plugin returns.\n\
         pub const call_memory = canonical.call_memory;\n\
         /// Memory that lasts until it is freed.\n\
         pub const kept_memory = canonical.kept_memory;\n\
         /// A value or an error.\n\
         pub const Result = canonical.Result;\n",
    );
    let parts = wit.parts();
    for part in &parts {
        interface(wit, part, &mut text);
    }
    for part in parts.iter().filter(|part| part.is_export) {
        exports(wit, part, &mut text);
    }
    vec![File { path: "zig/bindings/plugin.zig".to_owned(), text }]
}

fn interface(wit: &Wit, part: &Part<'_>, text: &mut String) {
    let _ = write!(
        text,
        "\n{}pub const {} = struct {{",
        documentation(&part.interface.docs, "///"),
        name(part.short_name())
    );
    for (name, ty) in part.types(wit) {
        text.push('\n');
        text.push_str(&documentation(&ty.docs, "    ///"));
        let functions = part.interface.functions.values().filter(|f| function_name(f).0 == Some(&*name));
        let _ = writeln!(text, "    pub const {} = {};", name.to_upper_camel_case(), declaration(wit, ty, functions));
    }
    for function in part.interface.functions.values() {
        if !part.is_export && function_name(function).0.is_none() {
            import(wit, function, "    ", text);
        }
    }
    if !part.is_export && !part.interface.functions.is_empty() {
        text.push_str("\n    const imports = struct {\n");
        for function in part.interface.functions.values() {
            let signature = wit.resolve.wasm_signature(AbiVariant::GuestImport, function);
            let _ = writeln!(
                text,
                "        extern \"{}\" fn @\"{}\"({}) {};",
                part.name,
                function.name,
                core_types(&signature.params),
                core_result(&signature.results)
            );
        }
        for (name, ty) in part.types(wit) {
            if matches!(ty.kind, TypeDefKind::Resource) {
                let _ = writeln!(text, "        extern \"{}\" fn @\"[resource-drop]{name}\"(u32) void;", part.name);
            }
        }
        text.push_str("    };\n");
    }
    text.push_str("};\n");
}

/// The value of a type's constant.
fn declaration<'a>(wit: &Wit, ty: &TypeDef, functions: impl Iterator<Item = &'a Function>) -> String {
    let mut text = String::new();
    match &ty.kind {
        TypeDefKind::Type(other) => {
            let owner = definition(wit, other).expect("a name for a type of another interface");
            let wit_parser::TypeOwner::Interface(from) = owner.owner else { panic!("a type of an interface") };
            let from = wit.resolve.interfaces[from].name.as_deref().expect("an interface with a name");
            return format!("{}.{}", name(from), owner.name.as_deref().expect("a named type").to_upper_camel_case());
        }
        TypeDefKind::Record(record) => {
            text.push_str("struct {\n");
            for field in &record.fields {
                text.push_str(&documentation(&field.docs, "        ///"));
                let _ = writeln!(text, "        {}: {},", name(&field.name), type_name(wit, &field.ty));
            }
        }
        TypeDefKind::Variant(variant) => {
            text.push_str("union(enum) {\n");
            for case in &variant.cases {
                text.push_str(&documentation(&case.docs, "        ///"));
                let payload = case.ty.map(|ty| format!(": {}", type_name(wit, &ty))).unwrap_or_default();
                let _ = writeln!(text, "        {}{payload},", name(&case.name));
            }
        }
        TypeDefKind::Enum(cases) => {
            text.push_str("enum {\n");
            for case in &cases.cases {
                text.push_str(&documentation(&case.docs, "        ///"));
                let _ = writeln!(text, "        {},", name(&case.name));
            }
        }
        TypeDefKind::Resource => {
            text.push_str("struct {\n        handle: u32,\n");
            for function in functions {
                import(wit, function, "        ", &mut text);
            }
            let resource = ty.name.as_deref().expect("a named resource");
            let _ = write!(
                text,
                "\n        /// Gives it back.\n        pub fn close(self: @This()) void {{\n            \
                 imports.@\"[resource-drop]{resource}\"(self.handle);\n        }}\n"
            );
        }
        other => panic!("the bindings for Zig do not have {} yet", other.as_str()),
    }
    text.push_str("    }");
    text
}

/// The name of a type where it is used.
fn type_name(wit: &Wit, ty: &Type) -> String {
    let simple = |name: &str| name.to_owned();
    let Some(defined) = definition(wit, ty) else {
        return simple(match ty {
            Type::Bool => "bool",
            Type::U8 => "u8",
            Type::U16 => "u16",
            Type::U32 => "u32",
            Type::U64 => "u64",
            Type::S8 => "i8",
            Type::S16 => "i16",
            Type::S32 => "i32",
            Type::S64 => "i64",
            Type::F32 => "f32",
            Type::F64 => "f64",
            Type::String => "[]const u8",
            other => panic!("the bindings for Zig do not have {other:?} yet"),
        });
    };
    if let Some(name) = &defined.name {
        return name.to_upper_camel_case();
    }
    let payload = |ty: Option<Type>| ty.map_or_else(|| simple("void"), |ty| type_name(wit, &ty));
    match &defined.kind {
        TypeDefKind::List(element) => format!("[]const {}", type_name(wit, element)),
        TypeDefKind::Option(some) => format!("?{}", type_name(wit, some)),
        TypeDefKind::Result(result) => format!("Result({}, {})", payload(result.ok), payload(result.err)),
        TypeDefKind::Tuple(tuple) => {
            let types: Vec<String> = tuple.types.iter().map(|ty| type_name(wit, ty)).collect();
            format!("struct {{ {} }}", types.join(", "))
        }
        TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => type_name(wit, &Type::Id(*id)),
        other => panic!("the bindings for Zig do not have {} yet", other.as_str()),
    }
}

/// A function of the host.
fn import(wit: &Wit, function: &Function, indent: &str, text: &mut String) {
    let signature = wit.resolve.wasm_signature(AbiVariant::GuestImport, function);
    let parameters: Vec<(String, String)> =
        function.params.iter().map(|parameter| (name(&parameter.name), type_name(wit, &parameter.ty))).collect();
    let result = function.result.as_ref().map_or_else(|| "void".to_owned(), |ty| type_name(wit, ty));
    let declared: Vec<String> = parameters.iter().map(|(name, ty)| format!("{name}: {ty}")).collect();
    let _ = writeln!(
        text,
        "\n{}{indent}pub fn {}({}) {result} {{",
        documentation(&function.docs, &format!("{indent}///")),
        escaped(&function_name(function).1.to_lower_camel_case()),
        declared.join(", ")
    );
    let mut arguments: Vec<String> = Vec::new();
    if signature.indirect_params {
        let (names, types): (Vec<String>, Vec<String>) = parameters.iter().cloned().unzip();
        let _ = writeln!(
            text,
            "{indent}    const parameters = canonical.stored(struct {{ {} }}, .{{ {} }});",
            types.join(", "),
            names.join(", ")
        );
        arguments.push("parameters".to_owned());
    } else {
        let flat = signature.params.len() - usize::from(signature.retptr);
        // A variable has to be changed.
        if flat > 0 {
            let _ = writeln!(text, "{indent}    var flat: canonical.Flat({flat}) = .{{}};");
        }
        for (name, _) in &parameters {
            let _ = writeln!(text, "{indent}    flat.put({name});");
        }
        arguments.extend((0..flat).map(|at| format!("flat.at({}, {at})", core_type(signature.params[at]))));
    }
    let call = |arguments: &[String]| format!("imports.@\"{}\"({})", function.name, arguments.join(", "));
    if signature.retptr {
        arguments.push("area.address()".to_owned());
        let _ = write!(
            text,
            "{indent}    var area: canonical.Area({result}) = .{{}};\n{indent}    {};\n{indent}    return area.load();\n",
            call(&arguments)
        );
    } else if function.result.is_none() {
        let _ = writeln!(text, "{indent}    {};", call(&arguments));
    } else {
        let _ = writeln!(text, "{indent}    return canonical.returned({result}, {});", call(&arguments));
    }
    let _ = writeln!(text, "{indent}}}");
}

/// The function that exports those of a plugin.
fn exports(wit: &Wit, part: &Part<'_>, text: &mut String) {
    let namespace = name(part.short_name());
    let _ = write!(
        text,
        "\n/// Exports the functions of the plugin that a type has: `comptime {{ plugin.exportFunctions(@This()); }}`.\n\
         pub fn exportFunctions(comptime Plugin: type) void {{\n    const functions = struct {{\n"
    );
    let mut names = String::new();
    for function in part.interface.functions.values() {
        let signature = wit.resolve.wasm_signature(AbiVariant::GuestExport, function);
        let flat = signature.params.len();
        let declared: Vec<String> =
            signature.params.iter().enumerate().map(|(at, ty)| format!("flat{at}: {}", core_type(*ty))).collect();
        let own_name = function_name(function).1.to_lower_camel_case();
        let result = function.result.as_ref().expect("a function with a result");
        let result = qualified(&type_name(wit, result), part, wit, &namespace);
        let _ = writeln!(text, "        fn {own_name}({}) callconv(.c) u32 {{", declared.join(", "));
        let mut arguments = Vec::new();
        if flat > 0 {
            let _ = writeln!(text, "            var flat: canonical.Flat({flat}) = .{{}};");
            for at in 0..flat {
                let _ = writeln!(text, "            flat.put(flat{at});");
            }
        }
        for parameter in &function.params {
            let own = name(&parameter.name);
            let ty = qualified(&type_name(wit, &parameter.ty), part, wit, &namespace);
            let _ = writeln!(text, "            const {own} = flat.take({ty});");
            arguments.push(own);
        }
        let _ = write!(
            text,
            "            return canonical.stored({result}, Plugin.{own_name}({}));\n        }}\n",
            arguments.join(", ")
        );
        let exported = format!("{}#{}", part.name, function.name);
        let _ = write!(
            names,
            "    @export(&functions.{own_name}, .{{ .name = \"{exported}\" }});\n    \
             @export(&canonical.returnMemory, .{{ .name = \"cabi_post_{exported}\" }});\n"
        );
    }
    let _ = write!(text, "    }};\n{names}}}\n");
}

/// A type with the namespace of its interface before its name.
fn qualified(ty: &str, part: &Part<'_>, wit: &Wit, namespace: &str) -> String {
    let names: Vec<String> = part.types(wit).map(|(name, _)| name.to_upper_camel_case()).collect();
    let mut text = String::new();
    let mut word = String::new();
    for character in ty.chars().chain([' ']) {
        if character.is_alphanumeric() {
            word.push(character);
            continue;
        }
        if names.contains(&word) {
            let _ = write!(text, "{namespace}.");
        }
        text.push_str(&std::mem::take(&mut word));
        text.push(character);
    }
    text.trim_end().to_owned()
}

/// A core type. Addresses and numbers of 32 bits are both `u32`.
fn core_type(ty: WasmType) -> &'static str {
    match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "u32",
        WasmType::I64 | WasmType::PointerOrI64 => "u64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
    }
}

fn core_types(types: &[WasmType]) -> String {
    types.iter().map(|ty| core_type(*ty)).collect::<Vec<_>>().join(", ")
}

fn core_result(types: &[WasmType]) -> &'static str {
    types.first().map_or("void", |ty| core_type(*ty))
}

/// A name of a field, case, parameter or namespace.
fn name(wit: &str) -> String {
    escaped(&wit.to_snake_case())
}

fn escaped(name: &str) -> String {
    if KEYWORDS.contains(&name) { format!("@\"{name}\"") } else { name.to_owned() }
}
