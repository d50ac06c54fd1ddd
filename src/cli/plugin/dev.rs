//! `gauged plugin dev`: watches the project of a plugin. At each change it builds the project, runs the plugin as
//! `gauged plugin test` does, and shows how the sample differs from the one before. The plugin is compiled without optimising.

mod project;
mod sources;
mod build;
mod difference;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use clap::Args;

use self::build::Build;
use self::difference::{Metrics, rows};
use self::project::{Outputs, Project, Written};
use self::sources::Sources;
use super::interruption::unless_ended;
use super::report::{Additions, TestReport, milliseconds};
use super::result::metrics;
use super::runs::RunArguments;
use super::target::{Target, TargetOptions};
use crate::cli::error::CommandError;
use crate::cli::output::print_unless_closed;
use crate::plugin::harness::{LoadedPlugin, Purpose};
use crate::process::Signals;

/// How many changed files are named: a burst of more is a checkout or a generator.
const NAMED_FILES: usize = 5;

/// How many times of runs are shown one by one: the first ones differ most.
const SHOWN_TIMES: usize = 10;

/// Arguments of `gauged plugin dev`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Directory of the project, with its build.sh
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// The plugin's configuration
    #[command(flatten)]
    options: TargetOptions,
    /// The runs after each build
    #[command(flatten)]
    runs: RunArguments,
}

/// Builds and runs the plugin at each change, until a signal ends it or its output is closed.
pub(super) async fn run(Arguments { directory, options, runs }: Arguments) -> Result<ExitCode, CommandError> {
    // Before anything is started that a signal has to end.
    let mut signals = Signals::handle()?;
    let project = Project::open(&directory)?;
    let sources = Sources::watch(&project.directory)?;
    let session = Session {
        project,
        options,
        runs,
        sources,
        builds: 0,
        made: BTreeMap::new(),
        last_good: None,
        last_sample: None,
    };
    session.run(&mut signals).await?;
    Ok(ExitCode::SUCCESS)
}

/// The development of a plugin.
struct Session {
    project: Project,
    options: TargetOptions,
    runs: RunArguments,
    sources: Sources,
    /// How many builds were started.
    builds: usize,
    /// The build that has written a file last.
    made: BTreeMap<PathBuf, (Written, usize)>,
    /// The last build that did not fail.
    last_good: Option<usize>,
    /// The last sample, and the build that it is of.
    last_sample: Option<(usize, Metrics)>,
}

/// The end of a build.
enum BuildEnd {
    /// There is a file to run.
    Built(BuiltFile),
    /// The end of a sentence that begins with the build.
    Failed(String),
    /// A signal has ended it.
    Ended,
}

/// The file of a build that did not fail.
struct BuiltFile {
    path: PathBuf,
    /// How long the build took.
    took: Duration,
    /// Since when the file is there, if the build did not write it.
    unchanged: Option<String>,
}

impl Session {
    async fn run(mut self, signals: &mut Signals) -> Result<(), CommandError> {
        let mut news = format!("watching {} files in {}\n", self.sources.len(), self.project.directory.display());
        loop {
            self.builds += 1;
            let _ = write!(news, "\nbuild {}: {}\n", self.builds, self.project.command_line());
            if !print_unless_closed(&news)? {
                return Ok(());
            }
            let text = match self.build(signals).await? {
                BuildEnd::Built(file) => {
                    self.last_good = Some(self.builds);
                    let Some(text) = unless_ended(signals, self.test(file)).await else { return Ok(()) };
                    text
                }
                BuildEnd::Failed(why) => self.failure_text(&why),
                BuildEnd::Ended => return Ok(()),
            };
            if !print_unless_closed(&text)? {
                return Ok(());
            }
            let Some(changed) = unless_ended(signals, self.sources.changed()).await else { return Ok(()) };
            news = format!("\nchanged: {}\n", listed(&changed?));
        }
    }

    /// Builds the project. A change meanwhile does not end it: the build itself may write to a source, such as Cargo.lock.
    async fn build(&mut self, signals: &mut Signals) -> Result<BuildEnd, CommandError> {
        let (before, start) = (self.project.outputs(), Instant::now());
        let mut build = match Build::start(&self.project) {
            Ok(build) => build,
            Err(error) => {
                let why = format!(
                    "cannot be started: {error}; check that it begins with #! and a program, and run chmod +x on it"
                );
                return Ok(BuildEnd::Failed(why));
            }
        };
        let Some(status) = unless_ended(signals, build.end()).await else {
            build.stop().await;
            return Ok(BuildEnd::Ended);
        };
        let (status, took) = (status?, start.elapsed());
        let outputs = self.project.outputs();
        let made = outputs.written_since(&before);
        self.made.extend(made.iter().map(|(path, written)| (path.clone(), (*written, self.builds))));
        if !status.success() {
            return Ok(BuildEnd::Failed(exit_text(status)));
        }
        if !made.is_empty() {
            return Ok(self.built(&made, took, None));
        }
        let is_there = |(path, (written, _)): &(&PathBuf, &(Written, usize))| outputs.get(path) == Some(*written);
        let last = self.made.iter().filter(is_there).max_by_key(|(_, (written, build))| (*build, written.modified()));
        Ok(match last {
            Some((path, (_, build))) => {
                let unchanged = Some(format!("{}, unchanged since build {build}", file_name(path)));
                BuildEnd::Built(BuiltFile { path: path.clone(), took, unchanged })
            }
            None => self.built(&outputs, took, Some("not written by this build")),
        })
    }

    /// The end of a build with these files.
    fn built(&self, outputs: &Outputs, took: Duration, unchanged: Option<&str>) -> BuildEnd {
        match self.project.output(outputs) {
            Ok(path) => {
                let unchanged = unchanged.map(|text| format!("{}, {text}", file_name(&path)));
                BuildEnd::Built(BuiltFile { path, took, unchanged })
            }
            Err(error) => BuildEnd::Failed(format!("made nothing: {error:#}")),
        }
    }

    fn failure_text(&self, why: &str) -> String {
        let kept = match self.last_good {
            Some(good) => format!("; the plugin is still that of build {good}"),
            None => String::new(),
        };
        format!("build {} {why}{kept}\n", self.builds)
    }

    /// Runs the plugin. Returns the report; none when the plugin cannot be run, which is reported on standard error.
    async fn test(&mut self, BuiltFile { path, took, unchanged }: BuiltFile) -> String {
        let target = Target { file: path, options: self.options.clone() };
        let report = match TestReport::measure(target, self.runs.clone(), Purpose::Develop).await {
            Ok(report) => report,
            Err(error) => {
                let _code = error.report();
                return format!("build {} was not run\n", self.builds);
            }
        };
        let mut facts = vec![("build", seconds(took)), ("compiler", compiler_text(&report.plugin))];
        facts.extend(unchanged.map(|text| ("file", text)));
        if let Some(times) = times_text(&report.results.took) {
            facts.push(("runs", times));
        }
        let sample = report.results.sample.as_ref().map(metrics);
        let section = sample.and_then(|sample| {
            let (before, old) = self.last_sample.replace((self.builds, sample.clone()))?;
            let rows = rows(&old, &sample);
            let title = if rows.is_empty() { "no difference" } else { "difference" };
            Some((format!("{title} to the sample of build {before}"), rows))
        });
        report.text_with(Additions { facts, section })
    }
}

/// The end of a sentence that begins with the build.
fn exit_text(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("failed with exit code {code}"),
        None => format!("failed: {status}"),
    }
}

/// The name of a file, for a report.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().display().to_string()
}

fn listed(files: &[PathBuf]) -> String {
    let mut names: Vec<String> = files.iter().take(NAMED_FILES).map(|file| file.display().to_string()).collect();
    let more = files.len().saturating_sub(NAMED_FILES);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

fn compiler_text(plugin: &LoadedPlugin) -> String {
    match plugin.compile_time {
        Some(took) => format!("{}, without optimising", seconds(took)),
        None => "not needed: the file is in the cache".to_owned(),
    }
}

fn times_text(took: &[Duration]) -> Option<String> {
    let mut times: Vec<String> = took.iter().take(SHOWN_TIMES).copied().map(milliseconds).collect();
    if took.len() > SHOWN_TIMES {
        times.push("…".to_owned());
    }
    (!times.is_empty()).then(|| times.join(", "))
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
