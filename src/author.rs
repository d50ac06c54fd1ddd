//! What who writes plugins, or thinks of installing one, asks of this program: `gauged plugin …`. Plugins are loaded and
//! run by `plugin`, as the agent does; here it is decided what to show of that, in words or as JSON, and what counts as
//! good. Nothing here runs while the agent does.

mod inspect;
mod trial;
mod contract;
mod list;
mod sampled;
mod scaffold;
mod columns;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

pub use self::scaffold::{Language, parse_name};
use crate::config::{Addition, Config, Overrides, PluginConfig, Problem, is_plugin_name};
use crate::plugin::workbench::{Granted, Need, Piece, Unfit, Workbench};

/// The command line or the configuration is wrong.
const MISUSED: u8 = 2;

/// What is asked.
#[derive(Debug)]
pub enum Order {
    /// What a file is and needs.
    Inspect(Subject, Form),
    /// How a plugin does in so many runs, one each interval.
    Test(Subject, usize, Duration, Form),
    /// What a plugins directory has.
    List(Overrides, Form),
    /// What an agent had when it wrote the last sample of this file; `-` is standard input.
    Sampled(PathBuf, Form),
    /// A new project with this name, in this directory.
    New(String, Language, PathBuf),
}

/// A plugin's file, and how the plugin is to be configured.
#[derive(Debug)]
pub struct Subject {
    /// The file.
    pub file: PathBuf,
    /// What the plugin is called; otherwise as its file, or as the configuration says.
    pub name: Option<String>,
    /// Which configuration holds.
    pub overrides: Overrides,
    /// What is added to the plugin's.
    pub additions: Vec<Addition>,
}

/// For whom an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// People.
    Text,
    /// Machines.
    Json,
}

/// Why there is no answer.
#[derive(Debug)]
enum Trouble {
    /// What was asked makes no sense; what would.
    Misused(String),
    /// The configuration is wrong.
    Misconfigured(Vec<Problem>),
    /// There is no plugin in the file.
    Unfit(Unfit),
    /// Something else that the program needs.
    Failed(anyhow::Error),
}

impl Trouble {
    /// What there is to say of it, and how the program ends.
    fn told(&self) -> (Vec<String>, ExitCode) {
        match self {
            Self::Misused(why) => (vec![why.clone()], MISUSED.into()),
            Self::Misconfigured(problems) => (problems.iter().map(ToString::to_string).collect(), MISUSED.into()),
            Self::Unfit(unfit) => (vec![unfit.to_string()], ExitCode::FAILURE),
            Self::Failed(error) => (vec![format!("{error:#}")], ExitCode::FAILURE),
        }
    }
}

impl<T: Into<anyhow::Error>> From<T> for Trouble {
    fn from(error: T) -> Self {
        Self::Failed(error.into())
    }
}

/// Does what is asked. The exit code says how that went.
///
/// # Errors
///
/// When the machine does not give what it takes to begin.
pub fn run(order: Order) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        match order {
            Order::Inspect(subject, form) => inspect::run(subject, form).await,
            Order::Test(subject, runs, interval, form) => trial::run(subject, runs, interval, form).await,
            Order::List(overrides, form) => list::run(&overrides, form).await,
            Order::Sampled(file, form) => sampled::run(&file, form),
            Order::New(name, language, into) => scaffold::run(&name, language, &into),
        }
    });
    // A thread that is stuck in a dead file system must not keep the process.
    runtime.shutdown_background();
    let (lines, code) = match done {
        Ok(code) => return Ok(code),
        Err(trouble) => trouble.told(),
    };
    for line in lines {
        // With nobody to read it there is nothing else to do about it.
        let _ = writeln!(io::stderr(), "{line}");
    }
    Ok(code)
}

/// Writes an answer. A reader that has gone has seen enough.
fn show(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("failed to write to standard output"),
    }
}

fn show_json(value: &serde_json::Value) -> anyhow::Result<()> {
    show(&format!("{value:#}\n"))
}

/// A plugin on the bench.
struct Opened {
    name: String,
    config: PluginConfig,
    piece: Piece,
}

impl Subject {
    /// Loads the plugin.
    async fn open(self) -> Result<Opened, Trouble> {
        let config = Config::load(&self.overrides).map_err(Trouble::Misconfigured)?;
        let bench = Workbench::new(&config)?;
        let name = match self.name {
            Some(name) => name,
            None => self.its_name(&bench)?,
        };
        if !is_plugin_name(&name) {
            let why = format!("{name:?} cannot name a plugin; use letters, digits, - and _, at most 128 of them");
            return Err(Trouble::Misused(why));
        }
        let mut own = config.plugins.get(&name).cloned().unwrap_or_default();
        for addition in self.additions {
            own.add(addition);
        }
        let piece = bench.open(&name, own.clone(), &self.file).await.map_err(Trouble::Unfit)?;
        Ok(Opened { name, config: own, piece })
    }

    /// What the agent would call the plugin.
    fn its_name(&self, bench: &Workbench) -> Result<String, Trouble> {
        let misused = |why: String| Trouble::Misused(format!("{} {why}", self.file.display()));
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let names = bench
            .plugins_of(&format!("{stem}.wasm"))
            .map_err(|why| misused(format!("{why}, or give a name by --name")))?;
        match &names[..] {
            [name] => Ok(name.clone()),
            _ => Err(misused(format!("makes the plugins {}; choose one by --name", names.join(", ")))),
        }
    }
}

/// What a plugin needs, as a table.
fn needs(needs: &[Need]) -> String {
    let row = |Need { grant, reason, granted }: &Need| {
        let granted = match granted {
            Granted::ToAll => "granted to all".to_owned(),
            Granted::ByConfiguration => "granted".to_owned(),
            Granted::No => "not granted".to_owned(),
            Granted::Never(why) => format!("{why}; mend the plugin"),
        };
        vec![grant.to_string(), granted, format!("to {reason}")]
    };
    columns::columns(needs.iter().map(row))
}

/// A plugin's table of the configuration with these lines, if there are any.
fn table(name: &str, lines: &[String]) -> Vec<String> {
    if lines.is_empty() { Vec::new() } else { [&[format!("[plugins.{name}]")], lines].concat() }
}

/// The same for people.
fn indented(name: &str, lines: &[String]) -> String {
    columns::columns(table(name, lines).into_iter().map(|line| vec![line]))
}

/// A size for people.
fn size(bytes: u64) -> bytesize::ByteSize {
    bytesize::ByteSize(bytes)
}
