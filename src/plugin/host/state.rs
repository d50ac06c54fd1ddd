//! The host's side of one guest: its plugin, its limits, its connections, and the time of the call under way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::ResourceTable;

use crate::plugin::context::PluginContext;
use crate::plugin::guest::call_time::CallTime;
use crate::plugin::guest::limits::GuestLimits;
use crate::plugin::host::output::{GuestOutput, OutputStream};
use crate::plugin::host::ration::Ration;

/// The host's side of one guest.
pub(crate) struct HostState {
    pub(crate) limits: GuestLimits,
    pub(crate) plugin: PluginContext,
    /// The open connections.
    pub(crate) table: ResourceTable,
    /// The bytes that they may still pass in this poll.
    pub(crate) ration: Ration,
    pub(crate) time: CallTime,
    /// What it has written to WASI's streams, up to the ends of lines.
    output: GuestOutput,
}

impl HostState {
    /// The state of a guest of this plugin.
    pub(crate) fn new(plugin: &PluginContext) -> Self {
        Self {
            limits: GuestLimits::new(&plugin.config, Arc::clone(&plugin.accounts)),
            plugin: plugin.clone(),
            table: ResourceTable::new(),
            ration: Ration::default(),
            time: CallTime::new(),
            output: GuestOutput::default(),
        }
    }

    /// The plugin that the guest is an instance of.
    pub(crate) fn context(&self) -> &PluginContext {
        &self.plugin
    }

    /// Begins a call with this time limit.
    pub(crate) fn begin(&mut self, timeout: Duration) {
        self.time.begin(timeout);
        self.limits.begin();
    }

    /// Writes what the guest has written to a stream of WASI to its log, as far as its lines have ended.
    pub(crate) fn write_output(&mut self, stream: OutputStream, bytes: &[u8]) {
        let mut output = std::mem::take(&mut self.output);
        output.push(stream, bytes, |line| self.write_message(stream.level(), line));
        self.output = output;
    }

    /// Ends a call: the lines that it began are written.
    pub(crate) fn finish_output(&mut self) {
        let mut output = std::mem::take(&mut self.output);
        for stream in OutputStream::ALL {
            output.finish(stream, |line| self.write_message(stream.level(), line));
        }
        self.output = output;
    }

    /// When an operation with this time limit stops waiting.
    pub(crate) fn until(&self, timeout: Option<Duration>) -> Instant {
        let patience = self.time.patience();
        timeout.map_or(patience, |timeout| patience.min(Instant::now() + timeout))
    }
}
