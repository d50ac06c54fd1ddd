//! The agent as its users run it: the real binary, real signals, real plugins, and guests written for the occasion.

#![allow(unreachable_pub, reason = "everything here is for the other modules of this binary")]
#![allow(clippy::disallowed_methods, reason = "tests run programs, wait for them, and read the environment")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the numbers are small")]

mod harness; // the agent as a child process
mod skip; // tests that cannot run on this machine, and their number
mod requirement; // servers and Python, which .ci/servers fetches
mod guest; // plugins written in WebAssembly's text format
mod server; // what guests connect to
#[cfg(target_os = "linux")]
mod apart; // namespaces for a test that needs mounts or a network of its own
#[cfg(target_os = "linux")]
mod fuse; // file systems that respond, fail or hang

mod once; // one sample, and what becomes of it
mod natives; // what the agent measures by itself, on many machines
mod allocations; // what a tick asks of memory
mod psutil; // the same, held against psutil
mod incomplete; // one sample that is not complete, and its exit code
mod run; // ticks, the end, output that is not read
mod signals; // signals that do not end the agent
mod log; // the form of log lines, and texts that look like some
mod configuration; // files, words, and everything that is wrong with them
mod working_directory; // files that others can write to
mod hostname; // the name of the host, and its changes
mod hot_load; // files that come, change and go
mod races; // files that change while they are read, called, or changed already
mod bad_files; // files that are not plugins
mod crowd; // thousands of them
mod hostile; // plugins that do their worst, and what the others notice: nothing
mod faults; // plugins that fail or have nothing to say, and what becomes of them
mod compile; // plugins that are hard to compile, and how compilers end
mod cache; // what was compiled before
mod capabilities; // what a guest gets of the host
mod http; // what a guest gets of HTTP servers
mod net; // what a guest gets of other servers
#[cfg(target_os = "linux")]
mod stuck; // file systems that do not answer, read by plugins
#[cfg(target_os = "linux")]
mod stuck_plugins; // plugins and a cache on file systems that fail or do not answer
#[cfg(target_os = "linux")]
mod names; // what names lead to, and resolvers that do not answer
mod plugin_command; // gauged plugin inspect, test, list, new
mod shipped; // plugins that were built for shipped versions of the WIT
mod wit; // rules for changes of the WIT
mod first_party; // the plugins in this repository
mod mapping; // what plugins/README.md says of them
#[cfg(target_os = "linux")]
mod truth; // their figures, beside node_exporter's
mod services; // those of them that ask services, and the services themselves
mod deploy; // what is in deploy/, used
mod tidy; // the rules of the house
