//! WASI, as inert stubs. Most languages' standard libraries import it whether or not a plugin uses it, so each import from it
//! is linked and does nothing: no arguments, environment, directories or sockets. Only clocks and random numbers are real, and
//! standard output and error are lines of the plugin's log. Stubs are made from the types of the component's imports, so that any
//! 0.2 release of WASI fits.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom as _, SystemRandom};
use wasmtime::StoreContextMut;
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, ComponentType, Linker, Lower, Resource, ResourceType, Val, WasmList};

use crate::plugin::guest::engine::Engine;
use crate::plugin::host::output::OutputStream;
use crate::plugin::host::state::HostState;

/// The most random bytes of one call.
const RANDOM_BYTES: u64 = 4096;

/// How many bytes a guest is told to write to a stream in one call, as in WASI: a line of the log has fewer.
const OUTPUT_BYTES: u64 = 4096;

/// The most bytes of one call, for guests that write more than they are told. Their lines take time of the guest thread.
const WRITE_BYTES: usize = 256 << 10;

/// The largest type that stubs make values of, counted in parts and bytes of their names: several times the largest of WASI, the
/// error codes of `wasi:http`. A guest chooses its types itself.
const TYPE_BUDGET: usize = 16 << 10;

/// The type of all resources of WASI; it has no content.
struct Inert;

/// The error of a stream.
#[derive(ComponentType, Lower)]
#[component(variant)]
#[expect(dead_code, reason = "the type of WASI; writing to these streams does not fail")]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<Inert>),
    #[component(name = "closed")]
    Closed,
}

/// Links a stub for every import from a WASI package.
pub(crate) fn add_to_linker(
    linker: &mut Linker<HostState>,
    engine: &Engine,
    component: &Component,
) -> wasmtime::Result<()> {
    let start = Instant::now();
    for (interface, import) in component.component_type().imports(engine.wasmtime()) {
        if !interface.starts_with("wasi:") {
            continue;
        }
        let ComponentItem::ComponentInstance(instance) = import.ty else { continue };
        let mut stubs = linker.instance(interface)?;
        for (name, export) in instance.exports(engine.wasmtime()) {
            match export.ty {
                ComponentItem::Resource(_) => {
                    stubs.resource(name, ResourceType::host::<Inert>(), |_, _| Ok(()))?;
                }
                ComponentItem::ComponentFunc(function) => {
                    let mut budget = TYPE_BUDGET;
                    if !function.results().all(|ty| is_modest(&ty, &mut budget)) {
                        wasmtime::bail!("the import {interface} {name} returns a larger type than any of WASI");
                    }
                    let behaviour = Behaviour::classify(interface, name);
                    if behaviour == Behaviour::Write && takes_bytes(&function) {
                        stubs.func_wrap(name, |store, (stream, bytes)| write(store, &stream, &bytes))?;
                        continue;
                    }
                    stubs.func_new(name, move |store, ty, arguments, results| {
                        call_stub(store, behaviour, start, &ty, arguments, results)
                    })?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether a value of this type fits the budget. Takes its size from the budget.
fn is_modest(ty: &Type, budget: &mut usize) -> bool {
    let mut take = |cost: usize| {
        let is_enough = *budget >= cost;
        *budget = budget.saturating_sub(cost);
        is_enough
    };
    match ty {
        _ if !take(1) => false,
        Type::Record(record) => record.fields().all(|field| {
            *budget = budget.saturating_sub(field.name.len());
            is_modest(&field.ty, budget)
        }),
        Type::Tuple(tuple) => tuple.types().all(|item| is_modest(&item, budget)),
        Type::Enum(names) => names.names().all(|name| take(name.len())),
        Type::Variant(variant) => variant.cases().all(|case| {
            *budget = budget.saturating_sub(case.name.len());
            case.ty.is_none_or(|ty| is_modest(&ty, budget))
        }),
        Type::Result(result) => [result.err(), result.ok()].into_iter().flatten().all(|ty| is_modest(&ty, budget)),
        // The values of these are empty, whatever they could contain.
        _ => true,
    }
}

/// Whether a method of a stream has the type of those that write bytes: `func(contents: list<u8>) -> result<_, stream-error>`.
fn takes_bytes(method: &ComponentFunc) -> bool {
    let parameters: Vec<Type> = method.params().map(|(_, ty)| ty).collect();
    let results: Vec<Type> = method.results().collect();
    let ([Type::Borrow(_), Type::List(bytes)], [Type::Result(result)]) = (&*parameters, &*results) else {
        return false;
    };
    let (None, Some(Type::Variant(error))) = (result.ok(), result.err()) else { return false };
    let cases: Vec<_> = error.cases().map(|case| (case.name, case.ty)).collect();
    bytes.ty() == Type::U8 && matches!(&*cases, [("last-operation-failed", Some(Type::Own(_))), ("closed", None)])
}

/// The behaviour of a stub. All return the emptiest value of their type, but for the results named here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    /// An error, where the type has one.
    Refuse,
    /// The stream of standard output or error.
    Open(OutputStream),
    /// Success. Bytes for standard output and error go to the log, those for other streams nowhere.
    Write,
    /// The time since the guest was loaded.
    Monotonic,
    /// The time of day.
    Wall,
    /// Random numbers.
    Random,
    /// The first pollable is ready.
    Ready,
    /// The guest ends.
    Exit,
}

impl Behaviour {
    fn classify(interface: &str, function: &str) -> Self {
        let interface = interface.split('@').next().unwrap_or(interface);
        match (interface, function) {
            ("wasi:cli/stdout", "get-stdout") => Self::Open(OutputStream::Stdout),
            ("wasi:cli/stderr", "get-stderr") => Self::Open(OutputStream::Stderr),
            ("wasi:io/streams", name) if name.starts_with("[method]output-stream.") => Self::Write,
            ("wasi:io/poll", "poll" | "[method]pollable.ready") => Self::Ready,
            ("wasi:clocks/monotonic-clock", "now") => Self::Monotonic,
            ("wasi:clocks/wall-clock", "now") => Self::Wall,
            ("wasi:random/random" | "wasi:random/insecure" | "wasi:random/insecure-seed", _) => Self::Random,
            ("wasi:cli/exit", _) => Self::Exit,
            _ => Self::Refuse,
        }
    }
}

fn call_stub(
    mut store: StoreContextMut<'_, HostState>,
    behaviour: Behaviour,
    start: Instant,
    ty: &ComponentFunc,
    arguments: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    if behaviour == Behaviour::Exit {
        wasmtime::bail!("the guest exited");
    }
    for (result, ty) in results.iter_mut().zip(ty.results()) {
        *result = match (behaviour, &ty) {
            (Behaviour::Monotonic, Type::U64) => {
                Val::U64(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
            }
            (Behaviour::Wall, Type::Record(_)) => wall_clock(),
            (Behaviour::Random, Type::U64) => Val::U64(random()?),
            (Behaviour::Random, Type::Tuple(_)) => Val::Tuple(vec![Val::U64(random()?), Val::U64(random()?)]),
            (Behaviour::Random, Type::List(_)) => random_bytes(arguments)?,
            (Behaviour::Ready, Type::List(_)) => Val::List(vec![Val::U32(0)]),
            (Behaviour::Ready, Type::Bool) => Val::Bool(true),
            (Behaviour::Open(stream), Type::Own(_)) => {
                let opened = Resource::<Inert>::new_own(representation(stream));
                Val::Resource(opened.try_into_resource_any(&mut store)?)
            }
            (Behaviour::Write, Type::Result(result)) => {
                // The number of bytes that may be written must not be zero.
                let ok = match result.ok() {
                    Some(Type::U64) => Some(Val::U64(OUTPUT_BYTES)),
                    other => other.map(|ok| empty(&mut store, &ok)).transpose()?,
                };
                Val::Result(Ok(ok.map(Box::new)))
            }
            _ => empty(&mut store, &ty)?,
        };
    }
    arguments.iter().try_for_each(|argument| release(&mut store, argument))
}

/// The number of a stream's resource. All other resources have 0.
fn representation(stream: OutputStream) -> u32 {
    stream as u32 + 1
}

/// Writes bytes to a stream. They are typed, because wasmtime counts dozens of bytes against the plugin's limit for each byte in a
/// list of values.
fn write(
    mut store: StoreContextMut<'_, HostState>,
    stream: &Resource<Inert>,
    bytes: &WasmList<u8>,
) -> wasmtime::Result<(Result<(), StreamError>,)> {
    if bytes.len() > WRITE_BYTES {
        wasmtime::bail!("more than {WRITE_BYTES} bytes in one write to a stream");
    }
    if let Some(stream) = OutputStream::ALL.into_iter().find(|&output| representation(output) == stream.rep()) {
        let bytes = bytes.as_le_slice(&store).to_vec();
        store.data_mut().write_output(stream, &bytes);
    }
    Ok((Ok(()),))
}

/// Releases the handles that the guest has lent or passed.
fn release(store: &mut StoreContextMut<'_, HostState>, argument: &Val) -> wasmtime::Result<()> {
    match argument {
        Val::Resource(handle) => Resource::<Inert>::try_from_resource_any(*handle, store).map(drop),
        Val::List(items) | Val::Tuple(items) => items.iter().try_for_each(|item| release(store, item)),
        Val::Option(Some(item)) => release(store, item),
        _ => Ok(()),
    }
}

/// The emptiest value of a type: zero, nothing, an error.
fn empty(store: &mut StoreContextMut<'_, HostState>, ty: &Type) -> wasmtime::Result<Val> {
    Ok(match ty {
        Type::Bool => Val::Bool(false),
        Type::S8 => Val::S8(0),
        Type::U8 => Val::U8(0),
        Type::S16 => Val::S16(0),
        Type::U16 => Val::U16(0),
        Type::S32 => Val::S32(0),
        Type::U32 => Val::U32(0),
        Type::S64 => Val::S64(0),
        Type::U64 => Val::U64(0),
        Type::Float32 => Val::Float32(0.0),
        Type::Float64 => Val::Float64(0.0),
        Type::Char => Val::Char(' '),
        Type::String => Val::String(String::new()),
        Type::List(_) => Val::List(Vec::new()),
        Type::Option(_) => Val::Option(None),
        Type::Flags(_) => Val::Flags(Vec::new()),
        Type::Record(record) => {
            let mut fields = Vec::new();
            for field in record.fields() {
                fields.push((field.name.to_owned(), empty(store, &field.ty)?));
            }
            Val::Record(fields)
        }
        Type::Tuple(tuple) => {
            let mut items = Vec::new();
            for item in tuple.types() {
                items.push(empty(store, &item)?);
            }
            Val::Tuple(items)
        }
        // WASI's error enumerations begin with "access"; the end of a stream is "closed".
        Type::Enum(names) => Val::Enum(names.names().next().unwrap_or_default().to_owned()),
        Type::Variant(variant) => {
            let closed = variant.cases().find(|case| case.name == "closed");
            let Some(case) = closed.or_else(|| variant.cases().next()) else {
                wasmtime::bail!("a variant without cases has no value");
            };
            let payload = case.ty.map(|ty| empty(store, &ty)).transpose()?;
            Val::Variant(case.name.to_owned(), payload.map(Box::new))
        }
        Type::Result(result) => match (result.err(), result.ok()) {
            (Some(error), _) => Val::Result(Err(Some(Box::new(empty(store, &error)?)))),
            (None, _) => Val::Result(Err(None)),
        },
        Type::Own(_) => {
            let inert = Resource::<Inert>::new_own(0);
            Val::Resource(inert.try_into_resource_any(store)?)
        }
        other => wasmtime::bail!("WASI has no values of the type {other:?}"),
    })
}

fn wall_clock() -> Val {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Val::Record(vec![
        ("seconds".to_owned(), Val::U64(now.as_secs())),
        ("nanoseconds".to_owned(), Val::U32(now.subsec_nanos())),
    ])
}

fn random() -> wasmtime::Result<u64> {
    let mut bytes = [0; 8];
    fill_random(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn random_bytes(arguments: &[Val]) -> wasmtime::Result<Val> {
    let length = match arguments {
        [Val::U64(length)] => (*length).min(RANDOM_BYTES + 1),
        _ => 0,
    };
    if length > RANDOM_BYTES {
        wasmtime::bail!("more than {RANDOM_BYTES} random bytes in one call");
    }
    let mut bytes = vec![0; usize::try_from(length)?];
    fill_random(&mut bytes)?;
    Ok(Val::List(bytes.into_iter().map(Val::U8).collect()))
}

fn fill_random(bytes: &mut [u8]) -> wasmtime::Result<()> {
    SystemRandom::new().fill(bytes).map_err(|_| wasmtime::format_err!("this host has no random numbers"))
}
