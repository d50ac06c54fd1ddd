//! Generated components, compiled, instantiated and started by a real agent: core modules by wasm-smith, and modules with very many
//! of one thing, each in components that instantiate them again and again. Whatever is in them, the agent lives, keeps to its ticks and to
//! the plugin's limits, and logs one line. The seeds from 0 on are tested; `.ci/long` goes on with others for minutes.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};
use std::{env, fs};

use arbitrary::Unstructured;
use wasm_encoder::{
    Component, ComponentInstanceSection, ComponentSectionId, Encode as _, InstanceSection, ModuleArg, RawSection,
};

use crate::guest::{Guest, install};
use crate::harness::{Agent, Sample, Setup, fault_count, plugin_metric};

/// How many seeds each thread of the test tries.
const SEEDS: u64 = 25;

/// How many threads, each with an agent of its own.
const THREADS: u64 = 2;

/// For how many seconds the test goes on with further seeds.
const SECONDS_VARIABLE: &str = "GAUGED_GENERATED_SECONDS";

/// The configuration of the plugin, and its memory in kB.
const CONFIGURATION: &str = "[plugins.bad]\nmemory = \"1MiB\"\ntimeout = \"100ms\"\n\
    limits = { instances = 200, memories = 64, tables = 64, table_elements = 1000000 }";
const MEMORY_KB: u64 = 1 << 10;

/// How much more than its memory the plugin may take: what the loading and calling of any plugin takes.
const SLACK_KB: u64 = 4 << 10;

/// Numbers that depend on the seed only.
struct Generator(u64);

impl Generator {
    /// The next number, by `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A number that is as likely between 1 and 10 as between 1,000 and 10,000.
    fn count(&mut self, range: RangeInclusive<u64>) -> usize {
        let (least, most) = ((*range.start() as f64).ln(), (*range.end() as f64).ln());
        let share = self.below(1 << 20) as f64 / f64::from(1 << 20);
        (least + share * (most - least)).exp() as usize
    }

    /// A core module without imports.
    fn module(&mut self) -> Vec<u8> {
        let kinds = 13;
        let text = match self.below(kinds) {
            0 => self.repeat(1..=60_000, "(global (mut i64) (i64.const 7))"),
            1 => format!("(func) (elem func {})", self.repeat(1..=100_000, "0 ")),
            2 => format!("(table 200 funcref) (func) {}", self.repeat(1..=3000, "(elem (i32.const 0) func 0 0 0 0)")),
            3 => self.repeat(1..=5000, "(data \"abcdefgh\")"),
            4 => format!("(memory 2) {}", self.repeat(1..=5000, "(data (i32.const 100) \"abcdefgh\")")),
            5 => format!("(table {} funcref)", self.count(1..=200_000)),
            6 => format!("(memory {})", self.count(1..=1000)),
            7 => {
                let functions = self.count(1..=5000);
                format!(
                    "{} (elem declare func {})",
                    "(func)".repeat(functions),
                    numbered(functions, |at| format!("{at} "))
                )
            }
            8 => format!("(func) {}", numbered(self.count(1..=5000), |at| format!("(export \"{at}\" (func 0))"))),
            9 => {
                let types = self.count(1..=2000);
                let parameters = self.count(1..=1000).min(20_000 / types + 1);
                let kind = |number: usize, bit: usize| if number >> (bit % 12) & 1 == 1 { "i32 " } else { "f64 " };
                numbered(types, |number| {
                    let all = numbered(parameters, |bit| kind(number, bit).to_owned());
                    format!("(type (func (param {all})))")
                })
            }
            10 => self.start(),
            11 => {
                let far = self.count(1..=16_000_000);
                format!("(memory 256) (data (i32.const 0) \"a\") (data (i32.const {far}) \"b\")")
            }
            _ => return self.smith(),
        };
        wat::parse_str(format!("(module {text})")).expect("valid")
    }

    fn repeat(&mut self, counts: RangeInclusive<u64>, text: &str) -> String {
        text.repeat(self.count(counts))
    }

    /// A module that does something when it is instantiated.
    fn start(&mut self) -> String {
        let body = [
            "(loop $on (br $on))",
            "(loop $on (drop (memory.grow (i32.const 1))) (br $on))",
            "(loop $on (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $on))",
            "(loop $on (memory.fill (i32.const 0) (i32.const 7) (i32.const 65536)) (br $on))",
            "(call $start)",
            "unreachable",
            "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 8)) (data.drop $d)",
        ];
        let body = body[self.below(body.len() as u64) as usize];
        format!("(memory 1) (table $t 1 funcref) (data $d \"abcdefgh\") (func $start {body}) (start $start)")
    }

    /// A module by wasm-smith, with the features that the agent's engine has.
    fn smith(&mut self) -> Vec<u8> {
        let bytes: Vec<u8> = (0..self.count(100..=20_000) / 8).flat_map(|_| self.next().to_le_bytes()).collect();
        let config = wasm_smith::Config {
            max_imports: 0,
            exceptions_enabled: false,
            gc_enabled: false,
            memory64_enabled: false,
            // What refers to the host's values needs garbage collection.
            reference_types_enabled: self.below(4) == 0,
            relaxed_simd_enabled: false,
            tail_call_enabled: false,
            threads_enabled: false,
            max_memories: self.count(1..=10),
            max_tables: self.count(1..=10),
            max_globals: self.count(1..=10_000),
            max_elements: self.count(1..=10_000),
            max_data_segments: self.count(1..=1000),
            max_element_segments: self.count(1..=1000),
            max_funcs: self.count(1..=1000),
            max_types: self.count(1..=1000),
            ..wasm_smith::Config::default()
        };
        let module = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes));
        module.map_or_else(|_short| wat::parse_str("(module)").expect("valid"), |module| module.to_bytes())
    }

    /// A plugin with components that instantiate modules, and each other.
    fn plugin(&mut self) -> Vec<u8> {
        let modules: Vec<Vec<u8>> = (0..=self.below(3)).map(|_| self.module()).collect();
        let mut inner = Component::new();
        let mut instances = InstanceSection::new();
        for (number, module) in (0..).zip(&modules) {
            inner.section(&RawSection { id: ComponentSectionId::CoreModule.into(), data: module });
            for _ in 0..self.count(1..=70) {
                instances.instantiate(number, Vec::<(&str, ModuleArg)>::new());
            }
        }
        inner.section(&instances);
        let mut component = inner.finish();
        for _ in 0..self.below(3) {
            let mut outer = Component::new();
            outer.section(&RawSection { id: ComponentSectionId::Component.into(), data: &component });
            outer.section(&repeated(0, self.count(1..=5)));
            component = outer.finish();
        }
        let mut plugin = Guest::new("bad").component();
        RawSection { id: ComponentSectionId::Component.into(), data: &component }.encode(append(&mut plugin, 4));
        // The plugin has a component of its own.
        repeated(1, 1).encode(append(&mut plugin, 5));
        plugin
    }
}

/// Begins another section.
fn append(plugin: &mut Vec<u8>, section: u8) -> &mut Vec<u8> {
    plugin.push(section);
    plugin
}

/// So many instances of a component.
fn repeated(component: u32, count: usize) -> ComponentInstanceSection {
    let mut instances = ComponentInstanceSection::new();
    for _ in 0..count {
        instances.instantiate(component, Vec::<(&str, wasm_encoder::ComponentExportKind, u32)>::new());
    }
    instances
}

fn numbered(count: usize, text: impl Fn(usize) -> String) -> String {
    (0..count).map(text).collect()
}

/// An agent in which one generated plugin after the other is installed.
struct Trial {
    setup: Setup,
    agent: Agent,
    /// How many lines about the plugin were there before.
    lines: usize,
}

impl Trial {
    fn new() -> Self {
        let setup = Setup::with_config(&format!("interval = \"100ms\"\n{CONFIGURATION}\n"));
        let mut agent = setup.start(&[]);
        agent.wait_log("plugin file missing");
        agent.next();
        let lines = agent.plugin_log("bad").len();
        Self { setup, agent, lines }
    }

    /// Lets the plugin of a seed be loaded, or rejected, and removes it.
    fn seed(&mut self, seed: u64) {
        let file = self.setup.plugin("bad.wasm");
        let agent = &mut self.agent;
        let faults = |sample: &Sample| fault_count(sample, "bad", "load");
        let (before_kb, loaded) = (agent.status("VmRSS"), Generator(seed).plugin());
        // From now on the kernel counts the peak anew.
        fs::write(format!("/proc/{}/clear_refs", agent.pid()), "5").expect("own process");
        install(&loaded, &file);
        let sample =
            agent.wait(|sample| plugin_metric(sample, "plugin_up", "bad") == Some(1.0) || faults(sample) > 0.0);
        let peak_kb = agent.status("VmHWM");
        let files_kb = agent.mapped_memory_files_kb();
        assert!(files_kb <= MEMORY_KB, "seed {seed}: {files_kb} kB of files in memory");
        assert!(
            peak_kb <= before_kb + MEMORY_KB + SLACK_KB,
            "seed {seed}: {peak_kb} kB were resident, {before_kb} kB before\n{}",
            agent.log()
        );
        let held = plugin_metric(&sample, "plugin_memory_bytes", "bad").unwrap_or(0.0) as u64;
        assert!(held <= MEMORY_KB << 10, "seed {seed}: {held} bytes are held");
        fs::remove_file(&file).expect("removed");
        agent.wait(|sample| plugin_metric(sample, "plugin_up", "bad").is_none());
        let lines = agent.plugin_log("bad");
        let warnings: Vec<&String> = lines[self.lines.min(lines.len())..]
            .iter()
            .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "))
            .collect();
        assert!(warnings.len() <= 1, "seed {seed}: {warnings:#?}");
        self.lines = lines.len();
    }

    fn end(mut self) {
        let (status, _) = self.agent.terminate();
        assert!(status.success(), "{status}");
        self.agent.assert_undisturbed(&[]);
    }
}

#[test]
fn generated_components_stay_within_limits() {
    let seconds = env::var(SECONDS_VARIABLE).ok().map(|text| text.parse().expect("a number of seconds"));
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let mut trial = Trial::new();
                for number in 0.. {
                    let is_over = until.map_or(number >= SEEDS, |until| Instant::now() >= until);
                    if is_over {
                        break;
                    }
                    if number % SEEDS == SEEDS - 1 {
                        std::mem::replace(&mut trial, Trial::new()).end();
                    }
                    trial.seed(number * THREADS + thread);
                }
                trial.end();
            });
        }
    });
}
