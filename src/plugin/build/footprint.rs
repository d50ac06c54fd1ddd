//! The memory that a component takes besides linear memories and tables, and the bytes that its instantiation writes without a
//! check of its time limit. wasmtime asks no limiter for these. Computed from an artifact, in the child that compiled it, and
//! carried at the artifact's end.

mod heap_size;

use std::io;

use object::{Object as _, ObjectSection as _};
use wasmtime_environ::component::{
    Component, ComponentArtifacts, GlobalInitializer, InstantiateModule, VMComponentOffsets,
};
use wasmtime_environ::{CompiledModuleInfo, HostPtr, Module, VMOffsets, WasmCompositeInnerType, WasmSubType};

use self::heap_size::heap_size;
use crate::plugin::build::sealed::Sealed;
use crate::plugin::guest::fault::{Fault, FaultKind};

/// The most that an instantiation may write: some 50 ms, during which nothing can interrupt it. A Python guest writes 18 MB at
/// most, all its data.
const WRITTEN_BYTES: u64 = 32 << 20;

/// The memory of a module's instance besides the context that its code reads: wasmtime's own state, and the heap's overhead.
const INSTANCE_BYTES: u64 = 1024;

/// The memory of each of its linear memories, without their content: wasmtime's state, and two page tables of the kernel's.
const MEMORY_BYTES: u64 = 10 << 10;

/// The memory of each of its tables, without the elements.
const TABLE_BYTES: u64 = 256;

/// An element of a table, or of a segment. A table that grows has twice the space that it needs.
pub(crate) const ELEMENT_BYTES: u64 = 16;

/// The memory of an instance of a component within the component: its own table of handles.
const COMPONENT_INSTANCE_BYTES: u64 = 256;

/// The memory of a resource type of a component.
const RESOURCE_BYTES: u64 = 64;

/// The memory of a type in wasmtime's register of types, …
const TYPE_BYTES: u64 = 1024;

/// … and of each parameter and result of a function's type.
const PARAMETER_BYTES: u64 = 64;

/// The end of an artifact that has a footprint, with the version of its form and of the constants above: cached artifacts of another
/// version are not used.
pub(crate) const MARK: [u8; 8] = *b"gauged.1";

/// The length of a footprint at the end of an artifact.
const ENCODED_BYTES: usize = 24;

/// The memory that a component takes once it is loaded and instantiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_field_names, reason = "units come last")]
pub(crate) struct Footprint {
    /// The native code with the images of memories: a file in memory.
    pub(crate) code_bytes: u64,
    /// The description of the code: types, names, imports and exports.
    pub(crate) description_bytes: u64,
    /// The state of all its core instances: globals, functions, segments.
    pub(crate) instance_bytes: u64,
}

impl Footprint {
    /// Computes the footprint of an artifact that wasmtime has just made.
    ///
    /// # Errors
    ///
    /// When its instantiation would write too much: the end of a sentence that begins with the file.
    fn measure(artifact: &[u8]) -> Result<Self, String> {
        let unreadable = |error: &dyn std::fmt::Display| format!("has an unreadable artifact: {error}; report this");
        let file = object::File::parse(artifact).map_err(|error| unreadable(&error))?;
        let section = file.section_by_name(wasmtime_environ::obj::ELF_WASMTIME_INFO);
        let info = section.ok_or_else(|| unreadable(&"it has no description"))?;
        let info = info.data().map_err(|error| unreadable(&error))?;
        let artifacts: ComponentArtifacts = postcard::from_bytes(info).map_err(|error| unreadable(&error))?;

        let modules = &artifacts.static_modules;
        let costs: Vec<ModuleCost> = modules.values().map(ModuleCost::new).collect();
        let component = &artifacts.info.component;
        let (mut instance_bytes, mut written_bytes) = (component_bytes(component), component_bytes(component));
        for initializer in &component.initializers {
            let GlobalInitializer::InstantiateModule(InstantiateModule::Static(module, _), _) = initializer else {
                continue;
            };
            let cost = &costs[module.as_u32() as usize];
            instance_bytes = instance_bytes.saturating_add(cost.held_bytes);
            written_bytes = written_bytes.saturating_add(cost.written_bytes);
        }
        if written_bytes > WRITTEN_BYTES {
            let (needed, most) = (bytesize::ByteSize(written_bytes), bytesize::ByteSize(WRITTEN_BYTES));
            return Err(format!(
                "writes {needed} when it is instantiated, of {most} at most; give it fewer instances, globals or segments"
            ));
        }
        let types: u64 = artifacts.types.module_types().wasm_types().map(|(_, ty)| type_bytes(ty)).sum();
        let description_bytes = heap_size(&artifacts).saturating_add(types);
        Ok(Self { code_bytes: (artifact.len() + ENCODED_BYTES) as u64, description_bytes, instance_bytes })
    }

    /// Appends the footprint to an artifact that wasmtime has just made.
    ///
    /// # Errors
    ///
    /// As [`Self::measure`].
    pub(crate) fn append(artifact: &mut Vec<u8>) -> Result<(), String> {
        let footprint = Self::measure(artifact)?;
        artifact.extend(footprint.encode());
        Ok(())
    }

    /// The fault of a start that would exceed a limit.
    pub(crate) fn fault(self, kind: FaultKind, limit: &str) -> Fault {
        let size = bytesize::ByteSize;
        let (code, types, instances) = (size(self.code_bytes), size(self.description_bytes), size(self.instance_bytes));
        let message =
            format!("needs {code} for code, {types} for types and {instances} for instances, more than {limit}");
        Fault { kind, message }
    }

    /// The memory of the code and its description, in bytes, whatever instances there are.
    pub(crate) fn loaded_bytes(self) -> u64 {
        self.code_bytes.saturating_add(self.description_bytes)
    }

    /// All of it, in bytes.
    pub(crate) fn total_bytes(self) -> u64 {
        self.loaded_bytes().saturating_add(self.instance_bytes)
    }

    /// The form at the end of an artifact.
    fn encode(self) -> [u8; ENCODED_BYTES] {
        let mut encoded = [0; ENCODED_BYTES];
        encoded[..8].copy_from_slice(&self.description_bytes.to_le_bytes());
        encoded[8..16].copy_from_slice(&self.instance_bytes.to_le_bytes());
        encoded[16..].copy_from_slice(&MARK);
        encoded
    }

    /// The footprint at the end of an artifact.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub(crate) fn read(artifact: &Sealed) -> io::Result<Self> {
        let encoded: [u8; ENCODED_BYTES] = artifact.suffix()?;
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&encoded[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        if encoded[16..] != MARK {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the artifact has no footprint"));
        }
        Ok(Self { code_bytes: artifact.length(), description_bytes: number(0), instance_bytes: number(8) })
    }
}

/// The memory of a type that is registered.
fn type_bytes(ty: &WasmSubType) -> u64 {
    let parameters = match &ty.composite_type.inner {
        WasmCompositeInnerType::Func(function) => function.params().len() + function.results().len(),
        _ => 0,
    };
    TYPE_BYTES + parameters as u64 * PARAMETER_BYTES
}

/// The memory of the component itself once it is instantiated.
fn component_bytes(component: &Component) -> u64 {
    let context = VMComponentOffsets::new(HostPtr, component).size_of_vmctx();
    u64::from(context)
        + u64::from(component.num_runtime_component_instances) * COMPONENT_INSTANCE_BYTES
        + u64::from(component.num_resources) * RESOURCE_BYTES
}

/// The cost of one instance of a module.
struct ModuleCost {
    held_bytes: u64,
    written_bytes: u64,
}

impl ModuleCost {
    fn new(info: &CompiledModuleInfo) -> Self {
        let module = &info.module;
        let context = u64::from(VMOffsets::new(HostPtr, module).size_of_vmctx());
        let elements: u64 = module.passive_elements.values().map(|(_, length)| *length).sum();
        let state = context.saturating_add(elements.saturating_mul(ELEMENT_BYTES));
        let own = INSTANCE_BYTES
            + module.num_defined_memories() as u64 * MEMORY_BYTES
            + module.num_defined_tables() as u64 * TABLE_BYTES;
        Self { held_bytes: state.saturating_add(own), written_bytes: state.saturating_add(copied_bytes(module)) }
    }
}

/// The data that is copied into linear memories. Images are mapped instead.
fn copied_bytes(module: &Module) -> u64 {
    if module.memory_initialization.is_segmented() {
        module.runtime_data.values().map(|range| u64::from(range.end - range.start)).sum()
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::guest::engine_options::{EngineOptions, Purpose, compiler};
    use crate::plugin::guest::fixture;

    fn artifact(component: &str) -> Vec<u8> {
        let component = wat::parse_str(component).expect("valid");
        compiler(EngineOptions::detect(Purpose::Serve))
            .and_then(|compiler| compiler.precompile_component(&component))
            .expect("compiled")
    }

    fn measure(component: &str) -> Footprint {
        Footprint::measure(&artifact(component)).expect("small")
    }

    #[test]
    fn instances_are_counted() {
        let with = |globals: usize, instances: usize| {
            measure(&format!(
                "(component (core module $m {}) {})",
                "(global i32 (i32.const 1))".repeat(globals),
                "(core instance (instantiate $m))".repeat(instances)
            ))
        };
        let (one, ten) = (with(1000, 1), with(1000, 10));
        // A global has 16 bytes.
        assert!(one.instance_bytes >= 16_000, "{one:?}");
        assert!(ten.instance_bytes >= 10 * 16_000 && ten.instance_bytes < 10 * one.instance_bytes + 1024, "{ten:?}");
        assert!(ten.description_bytes < one.description_bytes * 2, "the module is described once");
        assert_eq!(with(1000, 0).instance_bytes, measure("(component)").instance_bytes);
    }

    #[test]
    fn instances_of_nested_components_count() {
        let globals = "(global i32 (i32.const 1))".repeat(1000);
        let nested = format!(
            "(component
                (component $a (core module $m {globals}) (core instance (instantiate $m)))
                (component $b (alias outer 1 0 (component $a)) (instance (instantiate $a)) (instance (instantiate $a)))
                (instance (instantiate $b)) (instance (instantiate $b)))"
        );
        let footprint = measure(&nested);
        assert!((4 * 16_000..5 * 16_000).contains(&footprint.instance_bytes), "{footprint:?}");
    }

    #[test]
    fn excess_writes_are_rejected() {
        // An image of its own memory is mapped; data for another's is copied.
        let data = |memory: &str, count: usize| {
            let data = "x".repeat(1 << 20);
            let instances = "(core instance (instantiate $m (with \"a\" (instance $l))))".repeat(count);
            format!(
                "(component (core module $l (memory (export \"b\") 16)) (core instance $l (instantiate $l))
                 (core module $m (import \"a\" \"b\" (memory $shared 16)) {memory} (data (i32.const 0) \"{data}\")) {instances})"
            )
        };
        assert!(Footprint::measure(&artifact(&data("", 31))).is_ok());
        let why = Footprint::measure(&artifact(&data("", 33))).expect_err("33 MiB");
        assert!(why.starts_with("writes 33.0 MiB when it is instantiated, of 32.0 MiB at most; "), "{why}");
    }

    #[test]
    fn footprint_is_read_from_the_artifact() {
        let (_, sealed) = fixture::compiled("ticks");
        let footprint = Footprint::read(&sealed).expect("appended");
        assert!((1 << 10..1 << 20).contains(&footprint.total_bytes()), "{footprint:?}");
        for none in [&b""[..], b"too short", &[0; 100]] {
            assert!(Footprint::read(&Sealed::copy(none).expect("copied")).is_err());
        }
    }
}
