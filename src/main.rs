//! The program: reads the command line and the configuration, sets up the log, and runs the agent until it is told to
//! end.

use std::io;
use std::process::ExitCode;

use clap::Parser as _;
use gauged::cli::{Cli, Command};
use gauged::config::{Config, Overrides};
use gauged::{agent, supervise};

/// The command line or the configuration is wrong; clap uses the same for its own.
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).with_target(false).with_ansi(false).init();
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let (once, style) = (cli.run.once, cli.run.style());
    let (overrides, is_check) = match cli.command {
        Some(Command::Check(configuration)) => (Overrides::from(configuration), true),
        None => (Overrides::from(cli.run.configuration), false),
    };
    let config = match Config::load(&overrides) {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            return Ok(ExitCode::from(MISUSED));
        }
    };
    if is_check {
        println!("{}", config.summary());
        return Ok(ExitCode::SUCCESS);
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let shutdown = supervise::shutdown()?;
        if once { agent::once(config, style, shutdown).await } else { agent::run(config, shutdown).await }
    });
    // A thread that is stuck in a dead file system must not keep the process.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}
