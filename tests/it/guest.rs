//! Plugins written in WebAssembly's text format: tests need no wasm toolchain, and a guest can do what no compiler emits. A
//! guest is a core module that carries its world. Its memory has fixed addresses for what it returns, in the layouts of the
//! canonical ABI.

use std::fmt::Write as _;
use std::path::Path;

use wit_component::StringEncoding;
use wit_parser::Resolve;

/// The address of the result of `collect`.
pub const COLLECT_RESULT: u32 = 64;
/// The address of the guest's one module: its name, its metrics.
pub const MODULE: u32 = 128;
/// The address of the guest's first metric: its name, its labels, its value.
pub const METRIC: u32 = 192;
const METRIC_BYTES: u32 = 32;
/// The address of the first metric's value: a discriminant, and eight bytes later the payload.
pub const VALUE: u32 = METRIC + 16;
/// The address of the second metric's value, where there is a second metric.
pub const SECOND_VALUE: u32 = VALUE + METRIC_BYTES;
/// The address of the result of `configure`.
pub const CONFIGURE_RESULT: u32 = 256;
/// The address of the result of `describe`.
pub const DESCRIBE_RESULT: u32 = 320;
/// Memory for another result of `collect`, such as an error.
pub const OTHER_RESULT: u32 = 352;
/// Memory for the result of a call of the host.
pub const HOST_RESULT: u32 = 384;
/// The text of the plugin interface.
pub const WIT: &str = include_str!("../../wit/gauged.wit");
/// Its version.
pub const VERSION: &str = "0.2.0-rc.1";
const TEXTS: u32 = 1024;
const HEAP: u32 = 65536;

/// A builder of a plugin. By default the plugin has version 1.0.0, needs nothing, and returns one module with the metric
/// `value`, which is 1.
pub struct Guest {
    memory: String,
    data: String,
    texts_end: u32,
    imports: String,
    functions: String,
    describe: String,
    configure: String,
    collect: String,
    realloc: String,
}

impl Guest {
    /// A plugin whose module has this name.
    pub fn new(module: &str) -> Self {
        let mut guest = Self {
            memory: "(memory (export \"memory\") 4)".to_owned(),
            data: String::new(),
            texts_end: TEXTS,
            imports: String::new(),
            functions: String::new(),
            describe: format!("i32.const {DESCRIBE_RESULT}"),
            configure: format!("i32.const {CONFIGURE_RESULT}"),
            collect: format!("i32.const {COLLECT_RESULT}"),
            realloc: String::new(),
        };
        let name = guest.text(module);
        let metric = guest.text("value");
        guest.words(COLLECT_RESULT, &[0, MODULE, 1]);
        guest.words(MODULE, &[name.0, name.1, METRIC, 1]);
        guest.words(METRIC, &[metric.0, metric.1, 0, 0]);
        guest.version("1.0.0").value(1)
    }

    /// Sets the version in its description.
    pub fn version(mut self, version: &str) -> Self {
        let version = self.text(version);
        self.words(DESCRIBE_RESULT, &[version.0, version.1, 0, 0, 0, 0]);
        self
    }

    /// Adds metrics to its description: module, name, and the number of the kind in the interface.
    pub fn describes(mut self, metrics: &[(&str, &str, u32)]) -> Self {
        let (unit, description) = (self.text("By"), self.text("What it is."));
        let mut words = Vec::new();
        for (module, name, kind) in metrics {
            let (module, name) = (self.text(module), self.text(name));
            words.extend([module.0, module.1, name.0, name.1, *kind, unit.0, unit.1, description.0, description.1]);
        }
        let list = self.list(&words);
        self.words(DESCRIBE_RESULT + 16, &[list, metrics.len() as u32]);
        self
    }

    /// Sets the value of its metric.
    pub fn value(mut self, value: u32) -> Self {
        self.words(VALUE, &[0, 0, value, 0]);
        self
    }

    /// Sets its metric to a float.
    pub fn float(mut self, value: f64) -> Self {
        let bits = value.to_bits();
        self.words(VALUE, &[2, 0, bits as u32, (bits >> 32) as u32]);
        self
    }

    /// Returns so many metrics, `metric_0` and so on, instead of `value`; the value of each is its number.
    pub fn metrics(mut self, count: u32) -> Self {
        let names: Vec<(u32, u32)> = (0..count).map(|number| self.text(&format!("metric_{number}"))).collect();
        let first = self.texts_end.next_multiple_of(8);
        self.texts_end = first + count * METRIC_BYTES;
        for (number, name) in (0..).zip(names) {
            self.words(first + number * METRIC_BYTES, &[name.0, name.1, 0, 0, 0, 0, number, 0]);
        }
        self.words(MODULE + 8, &[first, count]);
        self
    }

    /// Returns an error from `collect`: the number of its case in the interface, and its text.
    pub fn error(mut self, case: u32, message: &str) -> Self {
        let text = self.text(message);
        self.words(COLLECT_RESULT, &[1, case, text.0, text.1]);
        self
    }

    /// Returns the error `unavailable` from `collect` as long as it cannot read a file, for which it needs a grant.
    pub fn unavailable_without(mut self, file: &str) -> Self {
        let (message, path) = (self.text("not yet"), self.text(file));
        self.words(OTHER_RESULT, &[1, 3, message.0, message.1]);
        self.import("gauged:plugin/files", "read", "(func $read (param i32 i32 i32))").before_collect(&format!(
            "(call $read (i32.const {}) (i32.const {}) (i32.const {HOST_RESULT}))
             (if (i32.load8_u (i32.const {HOST_RESULT})) (then (return (i32.const {OTHER_RESULT}))))",
            path.0, path.1
        ))
    }

    /// Returns an error from `configure`: the number of its case in the interface, and its text.
    pub fn configure_error(mut self, case: u32, message: &str) -> Self {
        let text = self.text(message);
        self.words(CONFIGURE_RESULT, &[1, case, text.0, text.1]);
        self
    }

    /// Returns the error `invalid-config` from `configure`: the key in the configuration, and the error.
    pub fn invalid_setting(mut self, key: &str, message: &str) -> Self {
        let (key, message) = (self.text(key), self.text(message));
        let settings = self.list(&[key.0, key.1, message.0, message.1]);
        self.words(CONFIGURE_RESULT, &[1, 1, settings, 1]);
        self
    }

    /// Returns the error `denied` from `configure`: the number of the capability's case in the interface, what is to be
    /// granted, and the reason.
    pub fn denied(mut self, case: u32, grant: &str, reason: &str) -> Self {
        let (grant, reason) = (self.text(grant), self.text(reason));
        self.words(CONFIGURE_RESULT, &[1, 2, case, grant.0, grant.1, reason.0, reason.1]);
        self
    }

    /// Adds a second metric, whose value is 0.
    pub fn second(mut self, name: &str) -> Self {
        let name = self.text(name);
        self.words(MODULE + 12, &[2]);
        self.words(METRIC + 32, &[name.0, name.1, 0, 0]);
        self
    }

    /// Returns one need from `configure`: the number of its case in the interface, what is to be granted, and the reason.
    pub fn needs(mut self, case: u32, grant: &str, reason: &str) -> Self {
        let (grant, reason) = (self.text(grant), self.text(reason));
        let need = self.list(&[case, grant.0, grant.1, reason.0, reason.1]);
        self.words(CONFIGURE_RESULT, &[0, need, 1]);
        self
    }

    /// Logs a message, at the number of a level in the interface, at each call of `collect`.
    pub fn logs(mut self, level: u32, message: &str) -> Self {
        let (text, length) = self.text(message);
        self.import("gauged:plugin/log", "log", "(func $log (param i32 i32 i32))")
            .before_collect(&format!("(call $log (i32.const {level}) (i32.const {text}) (i32.const {length}))"))
    }

    /// Replaces the body of `describe`: instructions that leave the address of a result.
    pub fn describe(mut self, body: &str) -> Self {
        body.clone_into(&mut self.describe);
        self
    }

    /// Replaces the body of `configure`: instructions that leave the address of a result. The locals 0 and 1 are the address
    /// and length of the configuration.
    pub fn configure(mut self, body: &str) -> Self {
        body.clone_into(&mut self.configure);
        self
    }

    /// Replaces the body of `collect`: instructions that leave the address of a result.
    pub fn collect(mut self, body: &str) -> Self {
        body.clone_into(&mut self.collect);
        self
    }

    /// Makes `collect` busy for longer than a sample waits for it, and shorter than a timeout of a minute.
    pub fn busy(self) -> Self {
        self.collect(&format!(
            "(local $left i64) (local.set $left (i64.const 2000000000))
             (loop $on (local.set $left (i64.sub (local.get $left) (i64.const 1)))
                       (br_if $on (i64.gt_s (local.get $left) (i64.const 0))))
             i32.const {COLLECT_RESULT}"
        ))
    }

    /// Adds instructions before the body of `collect`.
    pub fn before_collect(mut self, body: &str) -> Self {
        self.collect = format!("{body}\n{}", self.collect);
        self
    }

    /// Adds instructions after the body of `collect`; the address of the result is on the stack.
    pub fn after_collect(mut self, body: &str) -> Self {
        self.collect = format!("{}\n{body}", self.collect);
        self
    }

    /// Adds instructions before an allocation that the host asks for.
    pub fn before_realloc(mut self, body: &str) -> Self {
        body.clone_into(&mut self.realloc);
        self
    }

    /// Overwrites words of its memory.
    pub fn patch(mut self, at: u32, words: &[u32]) -> Self {
        self.words(at, words);
        self
    }

    /// Adds fields to the core module: functions, globals, memories, a start.
    pub fn with(mut self, fields: &str) -> Self {
        self.functions.push_str(fields);
        self
    }

    /// Adds an import. An interface without a version is one of the plugin interface, and a name without a package a module.
    pub fn import(mut self, interface: &str, name: &str, signature: &str) -> Self {
        let is_plain = interface.contains('@') || !interface.contains(':');
        let version = if is_plain { String::new() } else { format!("@{VERSION}") };
        let _ = writeln!(self.imports, "(import \"{interface}{version}\" \"{name}\" {signature})");
        self
    }

    /// Sets its initial memory, in pages.
    pub fn pages(mut self, pages: u32) -> Self {
        self.memory = format!("(memory (export \"memory\") {pages})");
        self
    }

    /// Puts the next text at this address, or after it.
    pub fn skip_texts_to(&mut self, at: u32) {
        self.texts_end = self.texts_end.max(at);
    }

    /// Puts a text into its memory; returns the address and the length.
    pub fn text(&mut self, text: &str) -> (u32, u32) {
        let (at, length) = (self.texts_end, u32::try_from(text.len()).expect("a short text"));
        self.texts_end += length;
        assert!(self.texts_end < HEAP, "too many texts");
        let escaped: String = text.bytes().fold(String::new(), |mut escaped, byte| {
            let _ = write!(escaped, "\\{byte:02x}");
            escaped
        });
        let _ = writeln!(self.data, "(data (i32.const {at}) \"{escaped}\")");
        (at, length)
    }

    /// Puts words into its memory; returns the address.
    pub fn list(&mut self, words: &[u32]) -> u32 {
        let at = self.texts_end.next_multiple_of(8);
        self.texts_end = at + 4 * u32::try_from(words.len()).expect("a short list");
        self.words(at, words);
        at
    }

    fn words(&mut self, at: u32, words: &[u32]) {
        let bytes: String = words.iter().flat_map(|word| word.to_le_bytes()).fold(String::new(), |mut bytes, byte| {
            let _ = write!(bytes, "\\{byte:02x}");
            bytes
        });
        let _ = writeln!(self.data, "(data (i32.const {at}) \"{bytes}\")");
    }

    /// The core module with its world, as `cargo build` writes it.
    pub fn module(&self) -> Vec<u8> {
        self.build(&[WIT], VERSION)
    }

    /// The core module, built for another version of the interface.
    pub fn module_of_version(&self, version: &str) -> Vec<u8> {
        self.build(&[&WIT.replace(VERSION, version)], version)
    }

    /// The plugin as a component.
    pub fn component(&self) -> Vec<u8> {
        to_component(&self.module())
    }

    /// The plugin as a component that may import WASI.
    pub fn component_with_wasi(&self) -> Vec<u8> {
        self.component_of(include_str!("wasi.wit"))
    }

    /// The plugin as a component of the world `plugin` of a package.
    pub fn component_of(&self, package: &str) -> Vec<u8> {
        to_component(&self.build(&[WIT, package], VERSION))
    }

    /// The module of the world `plugin` in the last of these packages.
    fn build(&self, packages: &[&str], version: &str) -> Vec<u8> {
        let collector = format!("gauged:plugin/collector@{version}");
        let Self { memory, data, imports, functions, describe, configure, collect, realloc, .. } = self;
        let text = format!(
            r#"(module
                {imports}
                {memory}
                (global $heap (mut i32) (i32.const {HEAP}))
                {data}
                {functions}
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    {realloc}
                    (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
                    global.get $heap
                    (global.set $heap (i32.add (global.get $heap) (local.get 3))))
                (func (export "{collector}#describe") (result i32) {describe})
                (func (export "{collector}#configure") (param i32 i32) (result i32) {configure})
                (func (export "{collector}#collect") (param i64 i64 i32) (result i32)
                    {collect})
            )"#
        );
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut resolve = Resolve::default();
        let mut push = |text: &&str| resolve.push_str("test.wit", text).expect("the package parses");
        let package = packages.iter().map(&mut push).last().expect("a package");
        let world = resolve.select_world(&[package], Some("plugin")).expect("it has a world");
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("embedded");
        module
    }

    /// Writes the core module to a file, at once, as `mv` does.
    pub fn install(&self, file: &Path) {
        install(&self.module(), file);
    }
}

fn to_component(module: &[u8]) -> Vec<u8> {
    let encoder = wit_component::ComponentEncoder::default().module(module).expect("a module with a world");
    encoder.validate(true).encode().expect("it fits its world")
}

/// Replaces a file at once, as `mv` does.
pub fn install(bytes: &[u8], file: &Path) {
    let temporary = file.with_extension("new");
    std::fs::write(&temporary, bytes).expect("written");
    std::fs::rename(&temporary, file).expect("moved");
}
