//! The agent as its users run it: the real binary, real signals, real plugins, and guests written for the tests.

#![allow(unreachable_pub, reason = "everything here is for the other modules of this binary")]
#![allow(clippy::disallowed_methods, reason = "tests run programs, wait for them, and read the environment")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the numbers are small")]

mod harness; // the agent as a child process
mod process_state; // what processes wait for that do not end
mod skip; // tests that cannot run on this machine, and their number
mod requirement; // servers and Python, which .ci/servers fetches
mod guest; // plugins written in WebAssembly's text format
mod server; // peers for guests: HTTP, streams, unix sockets
#[cfg(target_os = "linux")]
mod namespaces; // namespaces for a test that needs mounts or a network of its own
#[cfg(target_os = "linux")]
mod fuse; // file systems that respond, fail or hang
#[cfg(target_os = "linux")]
mod missing_calls; // kernels and sandboxes without a system call

mod once; // one sample: its form and its outputs
mod natives; // native metrics on fixture machines
#[cfg(target_os = "linux")]
mod odd_kernel_files; // kernel files that are damaged, missing, refused or cannot be true
mod agent_limits; // memory and series of all plugins together
mod allocations; // memory allocations of a tick
mod own_metrics; // the module agent
mod status; // gauged status, and the socket that it asks
mod results; // times of results, and the latest ones
mod contract; // what plugins say of their metrics: descriptors, kinds, origins, times and names
mod psutil; // native metrics compared with psutil
mod otlp; // requests of OTLP, read by OpenTelemetry's own messages
mod incomplete; // the exit code of an incomplete sample
mod run; // ticks, shutdown, output without a reader
mod time; // time that passes while the agent does not run
mod sinks; // sinks and their series, and those that fail or hang
mod sink_changes; // sinks that a reload renames, replaces or removes while they write
mod file_sink; // samples in files: kills, rotations, readers
#[cfg(target_os = "linux")]
mod full_disk; // files on disks that are full or read-only
mod logrotate; // files of samples beside the real logrotate
mod signals; // signals that do not end the agent, and the file size limit
#[cfg(target_os = "linux")]
mod no_threads; // hosts that have run out of threads
#[cfg(target_os = "linux")]
mod no_descriptors; // hosts that have run out of descriptors
mod log; // format of log lines, and texts that imitate them
mod configuration; // configuration files, the command line, and their errors
mod configuration_pieces; // the files of gauged.d
mod secrets; // secrets that are read from files
mod check; // gauged check: the plugins' settings, and the effective configuration
mod enabled; // native collectors and plugins that are turned off
mod working_directory; // files in the working directory that others can write to
#[cfg(target_os = "linux")]
mod notify; // messages to the service manager
mod hostname; // sources of the host name, and its changes
#[cfg(target_os = "linux")]
mod slow; // readings that hang: frequency, number of cores, host name
mod threads; // ticks beside guests that cannot be interrupted
mod reload; // SIGHUP, the real binary
mod reconfigure; // new configurations of running plugins, through the library
mod hot_load; // plugin files that are added, replaced and removed
mod races; // plugin files that change while they are read or called
mod bad_files; // files that are not plugins
mod many_invalid_files; // thousands of files that are not plugins
mod hostile; // malicious plugins, and their limits
mod faults; // plugins that fail or have nothing to measure
mod reported_parts; // parts that plugins leave out, and errors that they return
mod starved; // time limits of plugins on a host that gives the agent no processor
mod generated; // generated components, compiled and started
mod compile; // files that are hard to compile, and ends of the compiler
#[cfg(target_os = "linux")]
mod inherited_limits; // resource limits that the agent was started with
#[cfg(target_os = "linux")]
mod compile_budget; // the budget of processor time for compiling
mod cache; // the cache of compiled plugins
mod capabilities; // capabilities of a guest: files, log, WASI stubs
mod many_files; // files in one call, states of files, and links
mod http; // the capability http
mod http_client; // the table [client]: proxies, authorities and certificates of plugins' requests and of sinks
mod floods; // peers that send for ever
mod net; // the capability net
mod plugin_states; // the capability state
#[cfg(target_os = "linux")]
mod system; // the capability system
#[cfg(target_os = "linux")]
mod dead_mounts; // plugins that read dead mounts
#[cfg(target_os = "linux")]
mod slow_kernel_files; // plugins that read kernel files which take their time
#[cfg(target_os = "linux")]
mod abandonment; // guest threads that hang
#[cfg(target_os = "linux")]
mod plugins_on_dead_mounts; // plugins, their directory and the cache on file systems that fail or hang
#[cfg(target_os = "linux")]
mod name_resolution; // host names, and name servers that do not respond
mod plugin_command; // gauged plugin inspect, test, dev, grants, list, new, upgrade
mod shipped; // plugins that were built for shipped versions of the WIT
mod wit; // rules for changes of the WIT
mod first_party; // the plugins in this repository
#[cfg(target_os = "linux")]
mod hidden_processes; // /proc mounted with hidepid, and closed directories
mod mapping; // plugins/README.md compared with the plugins
#[cfg(target_os = "linux")]
mod exposition; // names and expositions of everything that is measured
#[cfg(target_os = "linux")]
mod node_exporter; // first-party plugins compared with node_exporter
mod prometheus_rules; // alert rules, scrape configurations and the dashboard of deploy/prometheus
#[cfg(target_os = "linux")]
mod prometheus; // the agent scraped by Prometheus and VictoriaMetrics
#[cfg(target_os = "linux")]
mod stored; // samples that network sinks sent, as receivers have stored them
mod services; // plugins for services, with real nginx, Redis and web servers
#[cfg(target_os = "linux")]
mod scrape; // plugins that read Prometheus' formats, beside Python's parsers and node_exporter
mod http_server; // the HTTP server: endpoints, security, attacks, reload
mod push; // points that local programs push
mod open_falcon; // Open-Falcon's transfers and heartbeat servers
#[cfg(target_os = "linux")]
mod delivery; // network sinks: outages, kills, bounds, hostile receivers, clocks, ends
mod deploy; // the files of deploy/
mod tidy; // rules for names, imports and documents
