//! `gauged plugin …`: subcommands for authors of plugins, and for operators before they install one. They load and run
//! plugins by the agent's own code (`plugin::harness`) and show the results. The agent itself does not use them.

mod inspect;
mod grants;
mod test;
mod dev;
mod interruption;
mod report;
mod runs;
mod rules;
mod result;
mod script;
mod list;
mod new;
mod upgrade;
mod origin;
mod checkout;
mod source_tree;
mod target;
mod settings;

use std::process::ExitCode;

use clap::Subcommand;

use crate::process::ignore_file_size_signal;

/// A subcommand of `gauged plugin`.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Show a plugin's file, metrics and needs, and the configuration that grants the needs
    ///
    /// The file is loaded, compiled and configured as in the agent. Exit codes: 0 if it can be loaded, even if it cannot be
    /// configured; 1 if it cannot be loaded; 2 if the command line or the configuration is invalid.
    Inspect(inspect::Arguments),
    /// Run a plugin as the agent does, under the same limits, and check the plugin rules
    ///
    /// Shows the last sample; times and memory; the plugin's log, debug messages included; denied accesses, and the
    /// configuration that grants them; and violations of the plugin rules: metrics that are not described, that are not of
    /// the described kind or that were dropped, counters that fell, and label sets that keep growing, which takes at least
    /// four runs to detect. Exit codes: 0 if the test passed; 1 if the plugin cannot be loaded, failed, never measured, is
    /// missing a grant, was denied an access, or violated a rule; 2 if the command line or the configuration is invalid.
    Test(test::Arguments),
    /// Watch the project of a plugin: build it and run the plugin at each change, and show the difference to the sample before
    ///
    /// Runs `build.sh --debug` of the project, and then the plugin as `gauged plugin test` does. The plugin is compiled without
    /// optimising. Files that .gitignore names, hidden files and .wasm files are not
    /// watched. Exit codes: 0 after a signal to end, or when the reader of its output is gone; 1 if the directory cannot be
    /// watched; 2 if the command line is invalid, or the directory is no project.
    Dev(dev::Arguments),
    /// Show the files that every plugin may read without a grant; or, for a plugin, which of them it reads, and what else it needs
    ///
    /// With a file the plugin is loaded, configured and run once, as by the agent. Exit codes: 0 if it can be loaded, even if
    /// it is missing a grant; 1 if it cannot be loaded; 2 if the command line or the configuration is invalid.
    Grants(grants::Arguments),
    /// Create a new plugin: a directory with a complete, working project
    ///
    /// The project has sources of a plugin that already measures, build.sh, test.sh, the WIT, and a README that lists the
    /// tools to install. All files are in this program; nothing is downloaded. Exit codes: 0 if the project was created; 1 if
    /// not, and then nothing is left behind; 2 if the command line is invalid.
    New(new::Arguments),
    /// Renew the files of gauged in a project of `gauged plugin new`: the WIT, the SDK, bindings
    ///
    /// They become those of this program; no other file is touched. A file that was changed in the project is named, and then
    /// nothing is renewed unless --force is given. Exit codes: 0 if the files are those of this program now; 1 if not; 2 if the
    /// command line is invalid, or the directory is no project.
    Upgrade(upgrade::Arguments),
    /// Show the plugins of a directory, or of a running agent, as a table
    ///
    /// Each file is loaded, configured and run once. The state is the one that the plugin would have in the agent. Exit
    /// codes: 0 whatever the states; 1 if the directory or the samples cannot be read; 2 if the command line or the
    /// configuration is invalid, or if no agent answers.
    List(list::Arguments),
}

impl PluginCommand {
    /// Runs the subcommand. Returns the exit code.
    ///
    /// # Errors
    ///
    /// If the runtime cannot be started.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(async {
            // Where that fails, such a write ends the command.
            let _file_size = ignore_file_size_signal();
            match self {
                Self::Inspect(arguments) => inspect::run(arguments).await,
                Self::Test(arguments) => test::run(arguments).await,
                Self::Dev(arguments) => dev::run(arguments).await,
                Self::Grants(arguments) => grants::run(arguments).await,
                Self::List(list::Arguments { sample: Some(file), json, .. }) => list::sample::run(&file, json),
                Self::List(list::Arguments { running: true, socket, json, .. }) => {
                    list::running::run(socket, json).await
                }
                Self::List(arguments) => list::run(arguments).await,
                Self::New(arguments) => new::run(&arguments),
                Self::Upgrade(arguments) => upgrade::run(&arguments),
            }
        });
        // A thread that hangs on a dead file system must not keep the process alive.
        runtime.shutdown_background();
        Ok(result.unwrap_or_else(|error| error.report()))
    }
}
