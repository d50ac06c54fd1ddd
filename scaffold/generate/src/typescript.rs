//! The declarations for TypeScript, as componentize-js has the types and functions of the WIT. They are checked in only: the
//! component is made of the WIT itself.

use std::fmt::Write as _;

use heck::{ToLowerCamelCase as _, ToUpperCamelCase as _};
use wit_parser::{Docs, Function, Handle, Type, TypeDefKind, TypeOwner};

use crate::File;
use crate::wit::{Part, Wit, definition, function_name, lines};

pub(crate) fn files(wit: &Wit) -> Vec<File> {
    let mut text = String::from(
        "// Generated from wit/gauged.wit: the types and functions of the host, and the type of the plugin. A function whose result\n\
         // may be an error throws an `Error` with the error as its `payload`; those of the plugin throw the error itself.\n",
    );
    for part in wit.parts() {
        module(wit, &part, &mut text);
    }
    vec![File { path: "typescript/bindings/plugin.d.ts".to_owned(), text }]
}

fn module(wit: &Wit, part: &Part<'_>, text: &mut String) {
    let _ = writeln!(text, "\n{}declare module \"{}\" {{", comment(&part.interface.docs, ""), part.name);
    for (name, ty) in part.types(wit) {
        if let TypeDefKind::Type(other) = &ty.kind {
            let owner = definition(wit, other).expect("a name for a type of another interface");
            let TypeOwner::Interface(id) = owner.owner else { panic!("a type of an interface") };
            let from = wit.resolve.id_of(id).expect("an interface with a name");
            let names =
                (owner.name.as_deref().expect("a named type").to_upper_camel_case(), name.to_upper_camel_case());
            let names = if names.0 == names.1 { names.0 } else { format!("{} as {}", names.0, names.1) };
            let _ = write!(text, "  import type {{ {names} }} from \"{from}\";\n  export type {{ {names} }};\n");
        }
    }
    for (name, ty) in part.types(wit) {
        let upper = name.to_upper_camel_case();
        let docs = comment(&ty.docs, "  ");
        match &ty.kind {
            TypeDefKind::Type(_) => {}
            TypeDefKind::Record(record) => {
                let _ = writeln!(text, "\n{docs}  export interface {upper} {{");
                for field in &record.fields {
                    let (mark, ty) = optional(wit, &field.ty);
                    let docs = comment(&field.docs, "    ");
                    let _ = writeln!(text, "{docs}    {}{mark}: {ty};", field.name.to_lower_camel_case());
                }
                text.push_str("  }\n");
            }
            TypeDefKind::Variant(variant) => {
                let _ = write!(text, "\n{docs}  export type {upper} =");
                for case in &variant.cases {
                    let payload = case.ty.map(|ty| format!("; val: {}", type_name(wit, &ty))).unwrap_or_default();
                    let _ =
                        write!(text, "\n{}    | {{ tag: \"{}\"{payload} }}", comment(&case.docs, "    "), case.name);
                }
                text.push_str(";\n");
            }
            TypeDefKind::Enum(cases) => {
                let _ = write!(text, "\n{docs}  export type {upper} =");
                for case in &cases.cases {
                    let _ = write!(text, "\n{}    | \"{}\"", comment(&case.docs, "    "), case.name);
                }
                text.push_str(";\n");
            }
            TypeDefKind::Resource => {
                let _ = writeln!(text, "\n{docs}  export class {upper} {{");
                for function in part.interface.functions.values().filter(|f| function_name(f).0 == Some(&*name)) {
                    signature(wit, function, "    ", "", text);
                }
                text.push_str("    /** Gives it back. */\n    [Symbol.dispose](): void;\n  }\n");
            }
            other => panic!("the declarations for TypeScript do not have {} yet", other.as_str()),
        }
    }
    let functions: Vec<&Function> =
        part.interface.functions.values().filter(|function| function_name(function).0.is_none()).collect();
    if part.is_export {
        let _ = writeln!(
            text,
            "\n  /** The plugin: `export const {0}: {1} = …`. */\n  export interface {1} {{",
            part.short_name(),
            part.short_name().to_upper_camel_case()
        );
        for function in functions {
            signature(wit, function, "    ", "", text);
        }
        text.push_str("  }\n");
    } else {
        for function in functions {
            text.push('\n');
            signature(wit, function, "  ", "export function ", text);
        }
    }
    text.push_str("}\n");
}

/// The declaration of a function.
fn signature(wit: &Wit, function: &Function, indent: &str, start: &str, text: &mut String) {
    let (resource, name) = function_name(function);
    let is_method = function.name.starts_with("[method]");
    let is_static = resource.is_some() && !is_method;
    let (returned, error) = match function.result.as_ref().and_then(|ty| definition(wit, ty)).map(|ty| &ty.kind) {
        Some(TypeDefKind::Result(result)) => (result.ok, result.err),
        _ => (function.result, None),
    };
    let parameters: Vec<String> = function
        .params
        .iter()
        .skip(usize::from(is_method))
        .map(|parameter| {
            let (mark, ty) = optional(wit, &parameter.ty);
            format!("{}{mark}: {ty}", parameter.name.to_lower_camel_case())
        })
        .collect();
    let docs = function.docs.contents.clone().unwrap_or_default();
    let throws = error.map(|ty| format!("\n@throws {}", type_name(wit, &ty))).unwrap_or_default();
    let docs = Docs { contents: Some(format!("{}{throws}", docs.trim_end())) };
    let _ = writeln!(
        text,
        "{}{indent}{start}{}{}({}): {};",
        comment(&docs, indent),
        if is_static { "static " } else { "" },
        name.to_lower_camel_case(),
        parameters.join(", "),
        returned.map_or_else(|| "void".to_owned(), |ty| type_name(wit, &ty))
    );
}

/// The mark and the type of a field or parameter, which may be left out if it is an option.
fn optional(wit: &Wit, ty: &Type) -> (&'static str, String) {
    match definition(wit, ty).map(|ty| &ty.kind) {
        Some(TypeDefKind::Option(some)) => ("?", type_name(wit, some)),
        _ => ("", type_name(wit, ty)),
    }
}

/// The name of a type where it is used.
fn type_name(wit: &Wit, ty: &Type) -> String {
    let Some(defined) = definition(wit, ty) else {
        let name = match ty {
            Type::Bool => "boolean",
            Type::U64 | Type::S64 => "bigint",
            Type::U8 | Type::U16 | Type::U32 | Type::S8 | Type::S16 | Type::S32 | Type::F32 | Type::F64 => "number",
            Type::String => "string",
            other => panic!("the declarations for TypeScript do not have {other:?} yet"),
        };
        return name.to_owned();
    };
    if let Some(name) = &defined.name {
        return name.to_upper_camel_case();
    }
    let payload = |ty: Option<Type>| ty.map(|ty| format!("; val: {}", type_name(wit, &ty))).unwrap_or_default();
    match &defined.kind {
        TypeDefKind::List(Type::U8) => "Uint8Array".to_owned(),
        TypeDefKind::List(Type::U64) => "BigUint64Array".to_owned(),
        TypeDefKind::List(Type::F64) => "Float64Array".to_owned(),
        TypeDefKind::List(element) => format!("Array<{}>", type_name(wit, element)),
        TypeDefKind::Option(some) => format!("{} | undefined", type_name(wit, some)),
        TypeDefKind::Result(result) => {
            format!("{{ tag: \"ok\"{} }} | {{ tag: \"err\"{} }}", payload(result.ok), payload(result.err))
        }
        TypeDefKind::Tuple(tuple) => {
            let types: Vec<String> = tuple.types.iter().map(|ty| type_name(wit, ty)).collect();
            format!("[{}]", types.join(", "))
        }
        TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => type_name(wit, &Type::Id(*id)),
        other => panic!("the declarations for TypeScript do not have {} yet", other.as_str()),
    }
}

/// A documentation as a comment.
fn comment(docs: &Docs, indent: &str) -> String {
    // Nothing in it may end the comment.
    let text = docs.contents.as_deref().unwrap_or_default().trim().replace("*/", "* /");
    match text.lines().count() {
        0 => String::new(),
        1 => format!("{indent}/** {text} */\n"),
        _ => {
            format!("{indent}/**\n{}{indent} */\n", lines(&text, &format!("{indent} *")))
        }
    }
}
