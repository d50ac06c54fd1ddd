//! The program: reads the command line and the configuration, starts the log, and runs the agent until a signal ends it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use gauged::agent::ConfigLoader;
use gauged::cli::error::{USAGE_ERROR, print_errors};
use gauged::cli::{Cli, Command, check};
use gauged::config::{Config, Overrides, Refusal};
use gauged::log::Log;
use gauged::process::Signals;
use gauged::sink::Style;
use gauged::{agent, heap, plugin, process};

fn main() -> ExitCode {
    heap::prepare();
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Compile(options)) => plugin::compile(options.into()),
        Some(Command::Check(options)) => or_failure(check::run(&options.into())),
        Some(Command::Status(arguments)) => or_failure(arguments.run()),
        Some(Command::Plugin(command)) => or_failure(command.run()),
        None => {
            let (once, style) = (cli.run.once, cli.run.style());
            or_failure(start(&cli.run.into(), once, style))
        }
    }
}

/// Prints an error that ended the program.
fn or_failure(ended: anyhow::Result<ExitCode>) -> ExitCode {
    ended.unwrap_or_else(|error| {
        print_errors(&[format!("{error:#}")]);
        ExitCode::FAILURE
    })
}

/// Starts the agent with this configuration.
fn start(overrides: &Overrides, once: bool, style: Option<Style>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let guard = runtime.enter();
    // Before anything that takes time, so that no early signal ends the agent without a log line.
    let mut signals = Signals::handle()?;
    let config = match Config::load(overrides) {
        Ok(config) => config,
        Err(problems) => {
            print_errors(&problems);
            return Ok(ExitCode::from(USAGE_ERROR));
        }
    };
    let log = Log::start(config.log);
    for Refusal { path, reason, remedy, is_present } in &config.refusals {
        let path = path.display();
        if *is_present {
            tracing::warn!(%path, reason, remedy, "file of the working directory refused");
        } else {
            tracing::info!(%path, reason, remedy, "file of the working directory refused");
        }
    }
    process::raise_descriptor_limit();
    drop(guard);
    let requests = async || signals.request().await;
    let result = runtime.block_on(async {
        if once {
            agent::once(config, style, requests).await
        } else {
            let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            let overrides = overrides.clone();
            let load: ConfigLoader = Arc::new(move || Config::load(&overrides));
            let run = agent::run(config, load, Some(&log), output, requests);
            run.await.map(|()| ExitCode::SUCCESS)
        }
    });
    result.or_else(|error| {
        tracing::error!(reason = format!("{error:#}"), "agent failed");
        Ok(ExitCode::FAILURE)
    })
}
