//! Plugins written in WebAssembly's text format: tests need no wasm toolchain, and a guest can do what no compiler emits. A
//! guest is a core module that carries its world. Its memory has fixed addresses for what it returns, in the layouts of the
//! canonical ABI.

use std::fmt::Write as _;
use std::path::Path;

use wit_component::StringEncoding;
use wit_parser::Resolve;

/// The address of the result of `collect`.
pub const COLLECT_RESULT: u32 = 64;
/// The address of the guest's one module: its name, its time, whether it is verbatim, its metrics, their descriptors.
pub const MODULE: u32 = 128;
/// The length of a module: there is room for another one.
pub const MODULE_BYTES: u32 = 48;
/// The address of the module's time: whether there is one, and eight bytes later the milliseconds.
pub const TIME: u32 = MODULE + 8;
/// The address of the list of the module's metrics: the address of the first one, their number.
pub const METRICS: u32 = MODULE + 28;
/// The address of the guest's first metric: its name, its labels, its value.
pub const METRIC: u32 = 256;
/// The length of a metric.
pub const METRIC_BYTES: u32 = 64;
/// The address of the first metric's value: a discriminant, and eight bytes later the payload.
pub const VALUE: u32 = METRIC + 16;
/// The address of the second metric's value, where there is a second metric.
pub const SECOND_VALUE: u32 = VALUE + METRIC_BYTES;
/// The address of the result of `configure`.
pub const CONFIGURE_RESULT: u32 = 384;
/// The address of the result of `describe`.
pub const DESCRIBE_RESULT: u32 = 416;
/// Memory for another result of `collect`, such as an error.
pub const OTHER_RESULT: u32 = 448;
/// Memory for the result of a call of the host.
pub const HOST_RESULT: u32 = 512;
/// The text of the plugin interface.
pub const WIT: &str = include_str!("../../wit/gauged.wit");
/// Its version.
pub const VERSION: &str = "0.2.0-rc.4";
const TEXTS: u32 = 1024;
/// The heap begins here, or after the texts.
const HEAP: u32 = 65536;

/// A builder of a plugin. By default the plugin has version 1.0.0, needs nothing, and returns one module with the metric
/// `value`, which is 1.
#[derive(Clone)]
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
        guest.words(MODULE, &module_words(name, METRIC, 1));
        guest.words(METRIC, &metric_of(metric, (0, 0), [0; 4]));
        guest.version("1.0.0").value(1)
    }

    /// A guest whose metric is a text: a copy of its configuration.
    pub fn echo() -> Self {
        let copy = format!(
            "(i32.store (i32.const {VALUE}) (i32.const 4))
             (i32.store (i32.const {}) (i32.const 8192))
             (i32.store (i32.const {}) (local.get 1))
             (memory.copy (i32.const 8192) (local.get 0) (local.get 1))
             i32.const {CONFIGURE_RESULT}",
            VALUE + 8,
            VALUE + 12
        );
        Self::new("echo").configure(&copy)
    }

    /// Sets the version in its description.
    pub fn version(mut self, version: &str) -> Self {
        let version = self.text(version);
        self.words(DESCRIBE_RESULT, &[version.0, version.1]);
        self
    }

    /// Adds metrics to its description: module, name, and the number of the kind in the interface.
    pub fn describes(mut self, metrics: &[(&str, &str, u32)]) -> Self {
        let descriptors = self.descriptors(metrics);
        self.words(DESCRIBE_RESULT + 24, &descriptors);
        self
    }

    /// Adds metrics to the result of `configure`, as to its description.
    pub fn configures(mut self, metrics: &[(&str, &str, u32)]) -> Self {
        let descriptors = self.descriptors(metrics);
        self.words(CONFIGURE_RESULT + 12, &descriptors);
        self
    }

    /// Adds descriptors to its module, as to its description.
    pub fn finds(mut self, metrics: &[(&str, &str, u32)]) -> Self {
        let descriptors = self.descriptors(metrics);
        self.words(METRICS + 8, &descriptors);
        self
    }

    /// A list of descriptors: its address and length. Each metric may have the label `id`.
    fn descriptors(&mut self, metrics: &[(&str, &str, u32)]) -> [u32; 2] {
        let [unit, description, label] = ["By", "What it is.", "id"].map(|text| self.text(text));
        let labels = self.list(&[label.0, label.1, description.0, description.1]);
        let mut words = Vec::new();
        for (module, name, kind) in metrics {
            let (module, name) = (self.text(module), self.text(name));
            words.extend([module.0, module.1, name.0, name.1, *kind]);
            words.extend([unit.0, unit.1, description.0, description.1, labels, 1]);
        }
        [self.list(&words), metrics.len() as u32]
    }

    /// Adds settings to its description: the key, the type, the default in JSON where it has one, and whether it is required and
    /// secret.
    pub fn settings(mut self, settings: &[(&str, &str, Option<&str>, [bool; 2])]) -> Self {
        let meaning = self.text("What it sets.");
        let mut words = Vec::new();
        for (key, value_type, default, [required, secret]) in settings {
            let (key, value_type) = (self.text(key), self.text(value_type));
            let default = default.map(|default| self.text(default));
            let (is_there, default) = (default.is_some().into(), default.unwrap_or_default());
            let flags = u32::from(*required) | u32::from(*secret) << 8;
            words.extend([key.0, key.1, value_type.0, value_type.1, is_there, default.0, default.1]);
            words.extend([meaning.0, meaning.1, flags]);
        }
        let list = self.list(&words);
        self.words(DESCRIBE_RESULT + 16, &[list, settings.len() as u32]);
        self
    }

    /// Gives its module a time of its own, in milliseconds.
    pub fn time(mut self, unix_ms: u64) -> Self {
        self.words(TIME, &[1, 0, unix_ms as u32, (unix_ms >> 32) as u32]);
        self
    }

    /// Makes its module verbatim.
    pub fn verbatim(mut self) -> Self {
        self.words(METRICS - 4, &[1]);
        self
    }

    /// Replaces its metrics.
    pub fn returns(mut self, metrics: &[[u32; 16]]) -> Self {
        let list = self.list(metrics.as_flattened());
        self.words(METRICS, &[list, metrics.len() as u32]);
        self
    }

    /// The value of a histogram: its bounds, its counts and its sum.
    pub fn histogram(&mut self, bounds: &[f64], counts: &[u64], sum: f64) -> [u32; 12] {
        let halves = |bits: u64| [bits as u32, (bits >> 32) as u32];
        let bound_words: Vec<u32> = bounds.iter().flat_map(|bound| halves(bound.to_bits())).collect();
        let count_words: Vec<u32> = counts.iter().flat_map(|count| halves(*count)).collect();
        let (bound_list, count_list) = (self.list(&bound_words), self.list(&count_words));
        let [low, high] = halves(sum.to_bits());
        [5, 0, bound_list, bounds.len() as u32, count_list, counts.len() as u32, 1, 0, low, high, 0, 0]
    }

    /// The value of a summary: its quantiles with their values, its sum and its count.
    pub fn summary(&mut self, quantiles: &[(f64, f64)], sum: f64, count: u32) -> [u32; 12] {
        let halves = |number: f64| [number.to_bits() as u32, (number.to_bits() >> 32) as u32];
        let quantile = |&(share, value): &(f64, f64)| [halves(share), [1, 0], halves(value)].concat();
        let words: Vec<u32> = quantiles.iter().flat_map(quantile).collect();
        let list = self.list(&words);
        let [low, high] = halves(sum);
        [6, 0, list, quantiles.len() as u32, 1, 0, low, high, 1, 0, count, 0]
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
            self.words(first + number * METRIC_BYTES, &metric_of(name, (0, 0), [0, 0, number, 0]));
        }
        self.words(METRICS, &[first, count]);
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

    /// Returns the error `denied` from `configure`: the kind of the capability, its target, and the reason.
    pub fn denied(mut self, kind: &str, target: &str, reason: &str) -> Self {
        let [kind, target, reason] = [kind, target, reason].map(|text| self.text(text));
        self.words(CONFIGURE_RESULT, &[1, 2, kind.0, kind.1, target.0, target.1, reason.0, reason.1]);
        self
    }

    /// Adds a second metric, whose value is 0.
    pub fn second(mut self, name: &str) -> Self {
        let name = self.text(name);
        self.words(METRICS + 4, &[2]);
        self.words(METRIC + METRIC_BYTES, &[name.0, name.1, 0, 0]);
        self
    }

    /// Returns one need from `configure`: the kind of the capability, its target, and the reason.
    pub fn needs(mut self, kind: &str, target: &str, reason: &str) -> Self {
        let [kind, target, reason] = [kind, target, reason].map(|text| self.text(text));
        let need = self.list(&[kind.0, kind.1, target.0, target.1, reason.0, reason.1]);
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
        self.bytes(text.as_bytes())
    }

    /// Puts bytes into its memory; returns the address and the length.
    pub fn bytes(&mut self, bytes: &[u8]) -> (u32, u32) {
        let (at, length) = (self.texts_end, u32::try_from(bytes.len()).expect("a short text"));
        self.texts_end += length;
        let escaped: String = bytes.iter().fold(String::new(), |mut escaped, byte| {
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
        let heap = HEAP.max(self.texts_end);
        let text = format!(
            r#"(module
                {imports}
                {memory}
                (global $heap (mut i32) (i32.const {heap}))
                {data}
                {functions}
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    {realloc}
                    (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
                    global.get $heap
                    (global.set $heap (i32.add (global.get $heap) (local.get 3))))
                (func (export "{collector}#describe") (result i32) {describe})
                (func (export "{collector}#configure") (param i32 i32) (result i32) {configure})
                (func (export "{collector}#collect") (param i64 i64 i32 i64) (result i32)
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

/// A module: the address and length of its name, the address of its metrics, and their number.
pub fn module_words(name: (u32, u32), metrics: u32, count: u32) -> [u32; 12] {
    [name.0, name.1, 0, 0, 0, 0, 0, metrics, count, 0, 0, 0]
}

/// A metric: the address and length of its name, the address and number of its labels, and its value.
pub fn metric_of<const N: usize>(name: (u32, u32), labels: (u32, u32), value: [u32; N]) -> [u32; 16] {
    let mut words = [0; 16];
    words[..4].copy_from_slice(&[name.0, name.1, labels.0, labels.1]);
    words[4..4 + N].copy_from_slice(&value);
    words
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
