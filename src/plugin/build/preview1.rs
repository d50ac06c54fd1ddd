//! The adapter for WASI preview 1, which is wrapped around core modules that import it, as those of wasi-sdk, Go and
//! `wasm32-wasip1` do. It is inert as WASI 0.2 is here, and made of `preview1/adapter.wat`; a test holds it to that.

pub(crate) mod closed_calls;

/// The name of preview 1 in imports.
pub(crate) const PREVIEW_1: &str = "wasi_snapshot_preview1";

/// The adapter, with the world that it imports.
pub(crate) const ADAPTER: &[u8] = include_bytes!("preview1/adapter.wasm");

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use wasmtime::{
        Caller, Engine, Extern, Global, GlobalType, Instance, Linker, Memory, MemoryType, Module, Mutability,
    };
    use wasmtime::{Store, Val, ValType, component};
    use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
    use wit_parser::Resolve;

    use super::*;

    #[test]
    fn adapter_is_made_of_its_text() {
        let mut adapter = wat::parse_str(include_str!("preview1/adapter.wat")).expect("valid");
        let mut resolve = Resolve::default();
        let package = resolve.push_str("adapter.wit", include_str!("preview1/adapter.wit")).expect("it parses");
        let world = resolve.select_world(&[package], Some("adapter")).expect("it has a world");
        embed_component_metadata(&mut adapter, &resolve, world, StringEncoding::UTF8).expect("embedded");
        #[expect(clippy::disallowed_methods, reason = "it is how expected texts are renewed")]
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plugin/build/preview1/adapter.wasm");
            std::fs::write(file, &adapter).expect("written");
        } else {
            assert!(adapter == ADAPTER, "UPDATE_EXPECT=1 makes adapter.wasm of adapter.wat and adapter.wit");
        }
    }

    /// A host of the adapter that records its calls.
    #[derive(Default)]
    struct Host {
        writes: Vec<Vec<u8>>,
        random_numbers: u64,
    }

    /// The random numbers of that host, in order. Their bytes differ.
    fn random_number(number: u64) -> u64 {
        number.wrapping_mul(0x0807_0605_0403_0201)
    }

    /// The adapter beside the memory and the mark of a guest.
    struct Adapter {
        store: Store<Host>,
        memory: Memory,
        closed: Global,
        instance: Instance,
    }

    impl Adapter {
        fn new() -> Self {
            let engine = Engine::default();
            let (mut store, mut linker) = (Store::new(&engine, Host::default()), Linker::<Host>::new(&engine));
            let memory = Memory::new(&mut store, MemoryType::new(4, None)).expect("a memory");
            let closed = Global::new(&mut store, GlobalType::new(ValType::I32, Mutability::Var), Val::I32(0));
            let closed = closed.expect("a global");
            linker.define(&store, "env", "memory", memory).expect("new");
            linker.define(&store, "__main_module__", "gauged-closed", closed).expect("new");
            let write = move |mut host: Caller<'_, Host>, stream: i32, at: u32, length: u32, result: u32| {
                assert_eq!((stream, result), (7, 0));
                let bytes = memory.data(&host)[at as usize..][..length as usize].to_vec();
                host.data_mut().writes.push(bytes);
                memory.data_mut(&mut host)[..16].fill(0xEE);
            };
            linker
                .func_wrap("wasi:io/streams@0.2.0", "[method]output-stream.blocking-write-and-flush", write)
                .expect("new");
            linker
                .func_wrap("wasi:io/streams@0.2.0", "[resource-drop]output-stream", |stream: i32| assert_eq!(stream, 7))
                .expect("new");
            linker.func_wrap("wasi:cli/stdout@0.2.0", "get-stdout", || 7_i32).expect("new");
            let random = |mut host: Caller<'_, Host>| {
                host.data_mut().random_numbers += 1;
                random_number(host.data().random_numbers)
            };
            linker.func_wrap("wasi:random/random@0.2.0", "get-random-u64", random).expect("new");
            let module = Module::new(&engine, ADAPTER).expect("compiled");
            linker.define_unknown_imports_as_traps(&module).expect("defined");
            let instance = linker.instantiate(&mut store, &module).expect("instantiated");
            Self { store, memory, closed, instance }
        }

        fn call(&mut self, function: &str, arguments: &[u32]) -> i32 {
            let function = self.instance.get_export(&mut self.store, function).and_then(Extern::into_func);
            let arguments: Vec<Val> = arguments.iter().map(|argument| Val::I32(argument.cast_signed())).collect();
            let mut results = [Val::I32(-1)];
            function.expect("exported").call(&mut self.store, &arguments, &mut results).expect("no trap");
            results[0].unwrap_i32()
        }

        fn put(&mut self, at: u32, bytes: &[u8]) {
            self.memory.data_mut(&mut self.store)[at as usize..][..bytes.len()].copy_from_slice(bytes);
        }

        fn bytes(&self, at: u32, length: u32) -> Vec<u8> {
            self.memory.data(&self.store)[at as usize..][..length as usize].to_vec()
        }
    }

    /// Where the tests have their texts, and the adapter its results.
    const PLACE: u32 = 8192;
    const RESULT: u32 = 2048;

    #[test]
    fn long_prints_are_written_in_parts() {
        const PIECES: u32 = 1024;
        for length in [0, 1, 4095, 4096, 4097, 100_000] {
            let mut adapter = Adapter::new();
            let text: Vec<u8> = (0..=250).cycle().take(length as usize).collect();
            let end = &text[..text.len().min(3)];
            adapter.put(0, b"kept by adapters");
            adapter.put(PLACE, &text);
            let pieces = [PLACE, length, PLACE, length.min(3)].map(u32::to_le_bytes);
            adapter.put(PIECES, pieces.as_flattened());
            assert_eq!(adapter.call("fd_write", &[1, PIECES, 2, RESULT]), 0);
            let writes = &adapter.store.data().writes;
            assert!(writes.iter().all(|write| (1..=4096).contains(&write.len())), "{length}");
            assert_eq!(writes.concat(), [&text, end].concat());
            assert_eq!(adapter.bytes(0, 16), b"kept by adapters");
            assert_eq!(adapter.bytes(RESULT, 4), (length + length.min(3)).to_le_bytes());
        }
    }

    #[test]
    fn random_numbers_give_eight_bytes_each() {
        let mut adapter = Adapter::new();
        for length in [0, 1, 7, 8, 9, 64, 67] {
            adapter.put(PLACE, &[0xFF; 80]);
            let before = adapter.store.data().random_numbers;
            assert_eq!(adapter.call("random_get", &[PLACE, length]), 0);
            let numbers = before + 1..=before + u64::from(length.div_ceil(8));
            assert_eq!(adapter.store.data().random_numbers, *numbers.end(), "{length}");
            let expected: Vec<u8> = numbers.flat_map(|number| random_number(number).to_le_bytes()).collect();
            assert_eq!(adapter.bytes(PLACE, length), expected[..length as usize]);
            assert_eq!(adapter.bytes(PLACE + length, 8), [0xFF; 8], "beyond {length}");
        }
    }

    #[test]
    fn random_bytes_differ_without_host_in_closed_calls() {
        let mut adapter = Adapter::new();
        adapter.closed.set(&mut adapter.store, Val::I32(1)).expect("mutable");
        assert_eq!(adapter.call("random_get", &[PLACE, 800]), 0);
        let bytes = adapter.bytes(PLACE, 800);
        let numbers: HashSet<&[u8]> = bytes.chunks(4).collect();
        assert_eq!((numbers.len(), adapter.store.data().random_numbers), (200, 0));
    }

    /// The names of a module's memory, of its functions that give the host memory, of `echo`, of the function after `echo`, and of the
    /// imported `name`.
    struct Names {
        memory: &'static str,
        realloc: &'static [&'static str],
        echo: &'static str,
        post: &'static str,
        import: &'static str,
    }

    const COMMON: Names =
        Names { memory: "memory", realloc: &["cabi_realloc"], echo: "echo", post: "cabi_post_echo", import: "$root" };

    /// Wraps a module whose functions for memory ask for the time, and calls its `echo`. The host has no time.
    fn echo_of(Names { memory, realloc, echo, post, import }: &Names) -> Result<String, String> {
        const WORLD: &str = "package test:test;
            world test { import name: func() -> string; export echo: func(text: string) -> string; }";
        let realloc = realloc.iter().zip([1024, 2048]).map(|(name, place)| {
            format!("(func (export \"{name}\") (param i32 i32 i32 i32) (result i32) (call $ask) (i32.const {place}))")
        });
        let text = format!(
            "(module
               (import \"wasi_snapshot_preview1\" \"clock_time_get\" (func $clock (param i32 i64 i32) (result i32)))
               (import \"{import}\" \"name\" (func $name (param i32)))
               (memory (export \"{memory}\") 1)
               (func $ask (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 32))))
               {}
               (func (export \"{echo}\") (param i32 i32) (result i32) (call $name (i32.const 64)) (i32.const 64))
               (func (export \"{post}\") (param i32) (call $ask)))",
            realloc.collect::<Vec<_>>().concat()
        );
        let mut module = wat::parse_str(text).expect("valid");
        let mut resolve = Resolve::default();
        let package = resolve.push_str("test.wit", WORLD).expect("it parses");
        let world = resolve.select_world(&[package], None).expect("it has a world");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("embedded");
        let marked = closed_calls::mark(&module).expect("marked");
        let encoder = ComponentEncoder::default().validate(true).module(&marked);
        let wrapped = encoder.and_then(|encoder| encoder.adapter(PREVIEW_1, ADAPTER)?.encode()).expect("wrapped");
        let engine = Engine::default();
        let component = component::Component::new(&engine, wrapped).expect("compiled");
        let mut linker = component::Linker::<()>::new(&engine);
        linker.root().func_wrap("name", |_, (): ()| Ok(("gauged".to_owned(),))).expect("new");
        linker.define_unknown_imports_as_traps(&component).expect("defined");
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &component).expect("instantiated");
        let echo = instance.get_typed_func::<(&str,), (String,)>(&mut store, "echo").expect("exported");
        echo.call(&mut store, ("text",)).map(|(text,)| text).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn closed_calls_of_any_name_need_no_host() {
        for realloc in
            [&["cabi_realloc"][..], &["canonical_abi_realloc"], &["cabi_export_realloc", "cabi_import_realloc"]]
        {
            assert_eq!(echo_of(&Names { realloc, ..COMMON }).as_deref(), Ok("gauged"), "{realloc:?}");
        }
        let standard = Names {
            memory: "cm32p2_memory",
            realloc: &["cm32p2_realloc"],
            echo: "cm32p2||echo",
            post: "cm32p2||echo_post",
            import: "cm32p2",
        };
        assert_eq!(echo_of(&standard).as_deref(), Ok("gauged"));
    }
}
