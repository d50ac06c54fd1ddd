//! `gauged status`: asks a running agent for its view of itself, and shows it.

pub(super) mod text;

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use self::text::status_text;
use crate::cli::error::{CommandError, print_errors};
use crate::cli::output::{print, print_json, print_json_line, print_unless_closed, write_control};
use crate::config::status_socket;
use crate::status::{ClientError, Document, fetch, fetch_first, findings};

/// The shortest and the longest time between two views of `--watch`: nobody reads faster, and an agent with a long interval
/// may end meanwhile.
const WATCH_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Clears a terminal, and moves to its top.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Arguments of `gauged status`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The agent's socket [default: as for the agent of this user, then the one in /run/gauged]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show the state again at each of the agent's ticks, at most once a second, until interrupted
    #[arg(long)]
    watch: bool,
}

/// Whether something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Well,
    Wrong,
}

impl Arguments {
    /// Runs the command. Returns the exit code.
    ///
    /// # Errors
    ///
    /// If the runtime cannot be started.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shown = runtime.block_on(async { if self.watch { self.watch().await } else { self.show().await } });
        Ok(match shown {
            Ok(Verdict::Well) => ExitCode::SUCCESS,
            Ok(Verdict::Wrong) => ExitCode::FAILURE,
            Err(error) => error.report(),
        })
    }

    /// Shows the state once.
    async fn show(&self) -> Result<Verdict, CommandError> {
        let (_, answer) = running_agent(self.socket.clone()).await?;
        let document = document(&answer)?;
        if self.json {
            print_json(&answer)?;
        } else {
            print(&status_text(&document))?;
        }
        Ok(verdict(&document))
    }

    /// Shows the state again and again, until a signal ends it or the output is closed. An agent that goes away is waited for.
    async fn watch(&self) -> Result<Verdict, CommandError> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (socket, mut answer) = running_agent(self.socket.clone()).await?;
        let clear = if io::stdout().is_terminal() && !self.json { CLEAR } else { "" };
        loop {
            let document = document(&answer)?;
            if !self.print_view(clear, &document, &answer)? {
                return Ok(verdict(&document));
            }
            let interval = Duration::try_from_secs_f64(document.agent.interval_seconds).unwrap_or_default();
            let pause = interval.clamp(WATCH_PAUSE.0, WATCH_PAUSE.1);
            tokio::select! {
                biased;
                _ = interrupt.recv() => return Ok(verdict(&document)),
                _ = terminate.recv() => return Ok(verdict(&document)),
                next = next_answer(&socket, pause) => answer = next?,
            }
        }
    }

    /// Prints one view. Returns whether the output takes more.
    fn print_view(&self, clear: &str, document: &Document, answer: &Value) -> anyhow::Result<bool> {
        if self.json {
            return print_json_line(answer);
        }
        write_control(clear)?;
        print_unless_closed(&format!("{}\n", status_text(document)))
    }
}

/// Waits, and asks again; an agent that has gone away is reported once, and waited for.
async fn next_answer(socket: &Path, pause: Duration) -> Result<Value, CommandError> {
    let mut is_reported = false;
    loop {
        sleep(pause).await;
        match fetch(socket).await {
            Ok(answer) => return Ok(answer),
            Err(error @ ClientError::NoAgent(_)) => {
                if !std::mem::replace(&mut is_reported, true) {
                    print_errors(&[error]);
                }
            }
            Err(error) => return Err(CommandError::Usage(error.to_string())),
        }
    }
}

/// Asks the running agent, whose socket may be named. Returns its socket, too.
pub(super) async fn running_agent(socket: Option<PathBuf>) -> Result<(PathBuf, Value), CommandError> {
    fetch_first(status_socket(socket).candidates()).await.map_err(|error| CommandError::Usage(error.to_string()))
}

/// The document in an answer, of whatever version the agent is.
pub(super) fn document(answer: &Value) -> Result<Document, CommandError> {
    let document: Document = serde_json::from_value(answer.clone())
        .map_err(|error| CommandError::Usage(format!("the agent answers with no status: {error}")))?;
    if document.format == 0 {
        let why = "the agent answers with no status; check that the socket is an agent's";
        return Err(CommandError::Usage(why.to_owned()));
    }
    Ok(document)
}

fn verdict(document: &Document) -> Verdict {
    if findings(document).iter().any(|finding| finding.is_wrong) { Verdict::Wrong } else { Verdict::Well }
}
