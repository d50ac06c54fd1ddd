//! `gauged plugin …`: subcommands for authors of plugins and for those who consider installing one. Plugins are loaded and
//! run by the agent's own code (`plugin::harness`); the subcommands decide only what to show. None of this runs in the
//! agent.

mod inspect;
mod test;
mod rules;
mod list;
mod running;
mod new;
mod target;

use std::process::ExitCode;

use clap::Subcommand;

/// A subcommand of `gauged plugin`.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Show what a plugin's file is, what it measures, what it needs, and the lines that grant it that
    ///
    /// The file is loaded and compiled as the agent does, described, and configured. Exit codes: 0 when it can be loaded,
    /// configured or not; 1 when it cannot; 2 when the command line or the configuration is wrong.
    Inspect(inspect::Arguments),
    /// Run a plugin as the agent does, under the same limits, and show how that went
    ///
    /// Shows the last sample; the duration of the runs and the memory; the plugin's log, debug messages included; denied
    /// accesses, and the lines that grant them; and breaches of the plugin rules: metrics that are not described, that are
    /// of another kind than described, that were dropped and why, counters that fell, and label sets that keep growing,
    /// which takes four runs to see. Exit codes: 0 when all was well; 1 when the plugin cannot be loaded, failed, never
    /// measured, is missing a grant, was denied an access, or broke a rule; 2 when the command line or the configuration
    /// is wrong.
    Test(test::Arguments),
    /// Begin a new plugin: make a directory with a complete, working project
    ///
    /// The project has sources, a build and tests by build.sh and test.sh, the WIT, and a README that lists what has to be
    /// installed; it measures something already. All of it is in this program: nothing is fetched. Exit codes: 0 when it
    /// is made; 1 when it cannot be, and nothing is left of it then; 2 when the command line is wrong.
    New(new::Arguments),
    /// Show the plugins of a directory, or those of a running agent, as a table
    ///
    /// Each file is loaded, configured and run once, as the agent would; the state is the one that it would have then. Exit
    /// codes: 0 whatever state they are in; 1 when the directory or the samples cannot be read; 2 when the command line or
    /// the configuration is wrong.
    List(list::Arguments),
}

impl PluginCommand {
    /// Runs the subcommand. Returns the exit code.
    ///
    /// # Errors
    ///
    /// When the runtime cannot be started.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(async {
            match self {
                Self::Inspect(arguments) => inspect::run(arguments).await,
                Self::Test(arguments) => test::run(arguments).await,
                Self::List(list::Arguments { sample: Some(file), json, .. }) => running::run(&file, json),
                Self::List(arguments) => list::run(arguments).await,
                Self::New(arguments) => new::run(&arguments),
            }
        });
        // A thread that hangs in a dead file system must not keep the process alive.
        runtime.shutdown_background();
        Ok(result.unwrap_or_else(|error| error.report()))
    }
}
