//! `gauged plugin test --script`: the runs of a script, and the golden file that their samples are compared with.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::result::lines;
use crate::cli::error::CommandError;
use crate::clock::schedule::Tick;
use crate::config::script::Script;
use crate::plugin::Failure;
use crate::plugin::harness::{Collected, ScriptedHost, reason};

/// The time of the first run, in seconds since the Unix epoch: a day in September 2026, as in the SDK's tests.
const FIRST_UNIX: Duration = Duration::from_secs(1_790_000_000);

/// The monotonic clock at the first run.
const FIRST_MONOTONIC: Duration = Duration::from_secs(1_000);

/// How many lines of a difference are shown: more than anybody reads.
const SHOWN_LINES: usize = 40;

/// The arguments for a script.
#[derive(Debug, Clone, Args)]
pub(super) struct ScriptArguments {
    /// Script of a host: files, servers and time. The samples are compared with the file of the same name that ends in .golden
    #[arg(long, value_name = "FILE", conflicts_with_all = ["root", "runs", "interval"])]
    pub(super) script: Option<PathBuf>,
    /// Write the golden file
    #[arg(long, requires = "script")]
    pub(super) update: bool,
}

/// A test by a script.
pub(super) struct ScriptedTest {
    pub(super) script: Script,
    pub(super) host: Arc<ScriptedHost>,
    golden: PathBuf,
    is_update: bool,
    /// The run that the host is in, from 1.
    begun: usize,
    /// The time since the first run.
    elapsed: Duration,
    /// The results of all runs, as in the golden file.
    transcript: String,
}

/// The comparison with the golden file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Golden {
    /// It has the same samples.
    Equal,
    /// It was written.
    Written(PathBuf),
    /// There is none, and it was not to be written.
    Missing(PathBuf),
    /// It differs in these lines.
    Different(Vec<String>),
}

/// The end of a test by a script.
pub(super) struct ScriptOutcome {
    pub(super) golden: Golden,
    /// The conversations that did not follow the script.
    pub(super) deviations: Vec<String>,
}

impl ScriptOutcome {
    pub(super) fn has_passed(&self) -> bool {
        self.deviations.is_empty() && matches!(self.golden, Golden::Equal | Golden::Written(_))
    }
}

impl ScriptedTest {
    /// Reads the script of these arguments, if there is one, and starts its host.
    pub(super) async fn start(arguments: ScriptArguments) -> Result<Option<Self>, CommandError> {
        let Some(file) = arguments.script else { return Ok(None) };
        let text =
            fs::read_to_string(&file).with_context(|| format!("failed to read the script {}", file.display()))?;
        let directory = file.parent().unwrap_or(Path::new("."));
        let script = Script::parse(&text, directory)
            .map_err(|why| CommandError::Usage(format!("the script {} {why}", file.display())))?;
        let host = ScriptedHost::start(&script).await.context("failed to start the host of the script")?;
        let golden = file.with_extension("golden");
        let (elapsed, transcript) = (Duration::ZERO, String::new());
        Ok(Some(Self { script, host, golden, is_update: arguments.update, begun: 0, elapsed, transcript }))
    }

    /// Changes the host to a run, from 1, unless it is in it. Returns its tick and monotonic clock.
    pub(super) fn begin(&mut self, run: usize) -> anyhow::Result<(Tick, Duration)> {
        while let Some(next) = self.script.runs.get(self.begun).filter(|_| self.begun < run) {
            if self.begun > 0 {
                self.elapsed += next.after;
            }
            self.host.advance(next).context("failed to write the files of the script")?;
            self.begun += 1;
        }
        Ok((Tick { since_epoch: FIRST_UNIX + self.elapsed, ..Tick::now() }, FIRST_MONOTONIC + self.elapsed))
    }

    /// Adds the result of a run to the transcript; 0 is the start.
    pub(super) fn record(&mut self, run: usize, result: Result<&Collected, &Failure>) {
        let elapsed = humantime::format_duration(self.elapsed);
        let title = if run == 0 { "start".to_owned() } else { format!("run {run}, {elapsed} after the first") };
        let _ = writeln!(self.transcript, "# {title}");
        match result {
            Ok(collected) => {
                for line in lines(collected) {
                    let _ = writeln!(self.transcript, "{line}");
                }
            }
            Err(failure) => {
                let _ = writeln!(self.transcript, "! {}", reason(failure));
            }
        }
    }

    /// Ends the host, and compares the transcript with the golden file, or writes it. The plugin has no instance any more.
    pub(super) async fn finish(self) -> anyhow::Result<ScriptOutcome> {
        let Self { host, golden, is_update, transcript, .. } = self;
        let shown = golden.display().to_string();
        let compared = match fs::read_to_string(&golden) {
            Ok(expected) if expected == transcript => Golden::Equal,
            Ok(_) | Err(_) if is_update => {
                fs::write(&golden, &transcript).with_context(|| format!("failed to write {shown}"))?;
                Golden::Written(golden)
            }
            Ok(expected) => Golden::Different(difference(&expected, &transcript)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Golden::Missing(golden),
            Err(error) => return Err(error).with_context(|| format!("failed to read {shown}")),
        };
        Ok(ScriptOutcome { golden: compared, deviations: host.finish().await })
    }
}

/// The lines between the first and the last that differ: those of the golden file with -, and the others with +.
fn difference(expected: &str, actual: &str) -> Vec<String> {
    let (expected, actual): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let begin = expected.iter().zip(&actual).take_while(|(one, other)| one == other).count();
    let (expected, actual) = (&expected[begin..], &actual[begin..]);
    let end = expected.iter().rev().zip(actual.iter().rev()).take_while(|(one, other)| one == other).count();
    let removed = expected[..expected.len() - end].iter().map(|line| format!("- {line}"));
    let added = actual[..actual.len() - end].iter().map(|line| format!("+ {line}"));
    let mut lines: Vec<String> = removed.chain(added).collect();
    let more = lines.len().saturating_sub(SHOWN_LINES);
    if more > 0 {
        lines.truncate(SHOWN_LINES);
        lines.push(format!("and {more} more lines"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_is_between_equal_lines() {
        assert_eq!(difference("a\nb\nc\n", "a\nx\nc\n"), ["- b", "+ x"]);
        assert_eq!(difference("a\n", "a\nb\n"), ["+ b"]);
        assert_eq!(difference("a\na\n", "a\n"), ["- a"]);
        assert_eq!(difference("", ""), [""; 0]);
        let long = difference(&"x\n".repeat(100), "");
        assert_eq!((long.len(), &*long[SHOWN_LINES]), (SHOWN_LINES + 1, "and 60 more lines"));
    }
}
