//! The program: reads the command line and the configuration, sets up the log, and runs the agent until it is told to
//! end.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use clap::Parser as _;
use gauged::cli::{Cli, Command};
use gauged::config::{Config, Overrides};
use gauged::log::Log;
use gauged::{agent, author, plugin, supervise};

/// The command line or the configuration is wrong; clap uses the same for its own.
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Compile) = cli.command {
        return plugin::compile();
    }
    let log = Log::start();
    let ended = log.map_err(anyhow::Error::from).and_then(|log| {
        let ended = run(cli);
        if let Err(error) = &ended {
            tracing::error!("{error:#}");
        }
        drop(log);
        ended
    });
    ended.unwrap_or(ExitCode::FAILURE)
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let (once, style) = (cli.run.once, cli.run.style());
    let (overrides, is_check) = match cli.command {
        Some(Command::Plugin(command)) => return author::run(command.into()),
        Some(Command::Check(configuration)) => (Overrides::from(configuration), true),
        Some(Command::Compile) | None => (Overrides::from(cli.run.configuration), false),
    };
    let config = match Config::load(&overrides) {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems {
                // With nobody to read it there is nothing else to do about it.
                let _ = writeln!(io::stderr(), "{problem}");
            }
            return Ok(ExitCode::from(MISUSED));
        }
    };
    if is_check {
        let _ = writeln!(io::stdout(), "{}", config.summary());
        return Ok(ExitCode::SUCCESS);
    }

    supervise::take_descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Each task may be a guest that runs for a millisecond before others get their turn, signals and timers first.
        .event_interval(8)
        .build()?;
    let ended = runtime.block_on(async {
        let shutdown = supervise::shutdown()?;
        if once {
            agent::once(config, style, shutdown).await
        } else {
            let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            agent::run(config, output, shutdown).await
        }
    });
    // A thread that is stuck in a dead file system must not keep the process.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}
