//! One instance of a plugin: its store, and its three calls, each with a time limit. After a fault the owner drops the
//! instance.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Sleep, sleep_until};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, TypedFunc};
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::clock::schedule::Tick;
use crate::config::PluginConfig;
use crate::config::limits::Limit;
use crate::escape::printable;
use crate::heap;
use crate::plugin::accounts::HeldMemory;
use crate::plugin::build::footprint::Footprint;
use crate::plugin::build::probe::SERVED;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::kind::UnknownCapability;
use crate::plugin::guest::allowance::Verdict;
use crate::plugin::guest::backtrace;
use crate::plugin::guest::bindings::exports::gauged::plugin::collector::{self as wit, Configured, Need};
use crate::plugin::guest::bindings::{self, PluginIndices};
use crate::plugin::guest::call_time::CallTime;
use crate::plugin::guest::description::{Description, check_metrics};
use crate::plugin::guest::engine::{Artifact, Engine};
use crate::plugin::guest::fault::{
    CallError, CallErrorKind, Disabled, DisabledCause, Failure, Fault, FaultKind, InvalidSetting, Starved,
};
use crate::plugin::guest::result::{Collected, Converter};
use crate::plugin::guest::returned;
use crate::plugin::host;
use crate::plugin::host::ration::Ration;
use crate::plugin::host::state::HostState;
use crate::plugin::rejection::Rejection;
use crate::plugin::shortage::ExplainedShortage;

/// How long after its time limit a call is abandoned that waits in a host function: the limit cannot interrupt it.
const BACKSTOP: Duration = Duration::from_millis(50);

/// From how many bytes on the heap is asked for free memory, which takes a look at all of its blocks.
const LARGE_HEAP_BYTES: u64 = 1 << 20;

/// How many wrong settings of a plugin are kept: more than a person corrects at once.
const MAX_INVALID_SETTINGS: usize = 100;

/// So many bytes of the heap, in blocks of any size. Its drop comes after theirs, and gives them back to the system.
struct LargeHeapUse(u64);

impl Drop for LargeHeapUse {
    fn drop(&mut self) {
        if self.0 >= LARGE_HEAP_BYTES {
            heap::release_free();
        }
    }
}

/// The code of a plugin, ready to be instantiated.
pub(crate) struct Code {
    engine: Engine,
    instance: InstancePre<HostState>,
    functions: PluginIndices,
    collect: ComponentExportIndex,
    footprint: Footprint,
    /// These two after the component.
    _heap: LargeHeapUse,
    _held: HeldMemory,
}

impl Code {
    /// Links a component.
    ///
    /// # Errors
    ///
    /// When it imports something unknown, or does not export a plugin: the end of a sentence that begins with the file.
    pub(crate) fn link(engine: &Engine, artifact: Artifact) -> Result<Self, Rejection> {
        let Artifact { component, footprint, held } = artifact;
        let linker = host::linker(engine, &component).map_err(|error| unfit(&error))?;
        let instance = linker.instantiate_pre(&component).map_err(|error| unfit(&error))?;
        let functions = PluginIndices::new(&instance).map_err(|error| unfit(&error))?;
        let collect = index_of_collect(&component).map_err(|error| unfit(&error))?;
        Ok(Self {
            engine: engine.clone(),
            instance,
            functions,
            collect,
            footprint,
            _heap: LargeHeapUse(footprint.description_bytes),
            _held: held,
        })
    }

    /// The component that it was linked from.
    pub(crate) fn component(&self) -> &Component {
        self.instance.component()
    }
}

/// The place of `collect`, whose generated function is not used: see [`returned`].
fn index_of_collect(component: &Component) -> wasmtime::Result<ComponentExportIndex> {
    let collector = format!("gauged:plugin/collector@{SERVED}");
    let index = component.get_export_index(None, &collector);
    let index = index.and_then(|collector| component.get_export_index(Some(&collector), "collect"));
    index.ok_or_else(|| wasmtime::format_err!("{collector} has no function collect"))
}

/// The rejection of a component that imports what this agent does not have, or exports something else than a plugin. wasmtime's
/// error has the name.
pub(crate) fn unfit(error: &wasmtime::Error) -> Rejection {
    Rejection::unloadable(error, |why| {
        format!(
            "does not fit the world gauged:plugin/plugin: {why}; update the agent, or rebuild it with the WIT of this agent, gauged:plugin {SERVED}"
        )
    })
}

/// The function `collect` of a guest.
type Collect = TypedFunc<(wit::Tick,), (Result<Vec<returned::Module>, wit::Error>,)>;

/// An instance: a guest with its memory.
pub(crate) struct Instance {
    engine: Engine,
    store: Store<HostState>,
    guest: bindings::Plugin,
    collect: Collect,
    config: Arc<PluginConfig>,
    converter: Converter,
    /// After the store.
    _heap: LargeHeapUse,
}

impl Instance {
    /// Instantiates the code. The guest's start function has the same time limit as a call.
    pub(crate) async fn new(
        code: &Code,
        plugin: &PluginContext,
        description: &Arc<Description>,
    ) -> Result<Self, Fault> {
        let timeout = plugin.config.timeout;
        let started_at = Tick::now().since_epoch;
        let mut state = HostState::new(plugin);
        state.limits.hold(code.footprint)?;
        let mut store = Store::new(code.engine.wasmtime(), state);
        store.limiter(|state| &mut state.limits);
        let limit = |limit| usize::try_from(plugin.config.limits[limit]).unwrap_or(usize::MAX);
        store.set_hostcall_fuel(limit(Limit::Result));
        store.set_max_component_handles(limit(Limit::Handles));
        store.epoch_deadline_callback(|context| match context.data().time.record_yield() {
            Verdict::Continues => Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))),
            Verdict::TimedOut => Ok(UpdateDeadline::Interrupt),
            Verdict::Starved { lasted, lost } => Err(Starved { lasted, lost }.into()),
        });
        let shared = begin(&mut store, timeout);
        let started = timed(&code.engine, &shared, pin!(code.instance.instantiate_async(&mut store))).await;
        store.data_mut().finish_output();
        let started = started.and_then(|instance| {
            let guest = code.functions.load(&mut store, &instance).map_err(Stop::Stopped)?;
            let collect = instance.get_typed_func(&mut store, code.collect).map_err(Stop::Stopped)?;
            Ok((guest, collect))
        });
        match started {
            Ok((guest, collect)) => Ok(Self {
                engine: code.engine.clone(),
                store,
                guest,
                collect,
                config: Arc::clone(&plugin.config),
                converter: Converter::new(
                    description,
                    Arc::clone(&plugin.accounts.series),
                    Arc::clone(&plugin.accounts.times),
                    started_at,
                    plugin.step,
                ),
                _heap: LargeHeapUse(code.footprint.description_bytes.saturating_add(code.footprint.instance_bytes)),
            }),
            Err(stop) => Err(fault("its start", &stop, store.data(), timeout)),
        }
    }

    /// Follows another interval of the plugin.
    pub(crate) fn set_step(&mut self, step: Duration) {
        self.converter.set_step(step);
    }

    /// The description of the plugin as it is configured.
    pub(crate) fn description(&self) -> &Arc<Description> {
        self.converter.description()
    }

    /// The bytes that it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        self.store.data().limits.held_bytes()
    }

    /// Calls `describe`.
    pub(crate) async fn describe(&mut self) -> Result<wit::About, Fault> {
        let shared = begin(&mut self.store, self.config.timeout);
        let called = {
            let call = pin!(self.guest.gauged_plugin_collector().call_describe(&mut self.store));
            timed(&self.engine, &shared, call).await
        };
        self.store.data_mut().finish_output();
        called.map_err(|stop| self.fault("describe", &stop))
    }

    /// Calls `configure`. Returns the plugin's needs.
    pub(crate) async fn configure(&mut self, config: &str) -> Result<Vec<Need>, Failure> {
        let shared = begin(&mut self.store, self.config.timeout);
        let called = {
            let call = pin!(self.guest.gauged_plugin_collector().call_configure(&mut self.store, config));
            timed(&self.engine, &shared, call).await
        };
        self.store.data_mut().finish_output();
        let returned = called.map_err(|stop| Failure::Fault(self.fault("configure", &stop)))?;
        let Configured { needs, metrics } = returned.map_err(|error| failure(error, self.store.data().context()))?;
        check_metrics(&metrics).map_err(|why| misdescribed(&why))?;
        self.converter.describe(metrics);
        Ok(needs)
    }

    /// Calls `collect`. `monotonic` is the reading of a clock that never goes backwards.
    pub(crate) async fn collect(&mut self, tick: Tick, monotonic: Duration) -> Result<Collected, Failure> {
        let shared = begin(&mut self.store, self.config.timeout);
        let since_epoch = tick.since_epoch;
        let tick = wit::Tick {
            unix_ms: u64::try_from(tick.since_epoch.as_millis()).unwrap_or(u64::MAX),
            monotonic_ns: u64::try_from(monotonic.as_nanos()).unwrap_or(u64::MAX),
            budget_ms: u32::try_from(self.config.timeout.as_millis()).unwrap_or(u32::MAX),
            interval_ms: u64::try_from(self.converter.step().as_millis()).unwrap_or(u64::MAX),
        };
        let called = {
            let call = pin!(self.collect.call_async(&mut self.store, (tick,)));
            timed(&self.engine, &shared, call).await
        };
        self.store.data_mut().finish_output();
        let (returned,) = called.map_err(|stop| Failure::Fault(self.fault("collect", &stop)))?;
        match returned {
            Ok(modules) => {
                let mut collected = self.converter.convert(modules, &self.config.limits, since_epoch);
                for loss in &mut collected.losses {
                    *loss = self.config.redact(loss).into_owned();
                }
                Ok(collected)
            }
            Err(error) => Err(failure(error, self.store.data().context())),
        }
    }

    fn fault(&self, call: &str, stop: &Stop) -> Fault {
        fault(call, stop, self.store.data(), self.config.timeout)
    }
}

/// What the task that awaits a call shares with its host functions.
struct Shared {
    time: CallTime,
    ration: Ration,
}

/// Begins a call.
fn begin(store: &mut Store<HostState>, timeout: Duration) -> Shared {
    store.data_mut().begin(timeout);
    store.set_epoch_deadline(1);
    let state = store.data();
    Shared { time: state.time.clone(), ration: state.ration.clone() }
}

/// Why a call did not return.
enum Stop {
    /// It was in a host function beyond its time limit.
    WaitedTooLong,
    /// The guest trapped or was interrupted.
    Stopped(wasmtime::Error),
}

/// Awaits a call. A guest that runs is ended by its epochs; this ends the wait for a host function that is beyond the call's
/// limit. The caller pins the call: a future that is moved into another makes the allocation of every call larger.
async fn timed<T>(
    engine: &Engine,
    Shared { time, ration }: &Shared,
    call: Pin<&mut impl Future<Output = wasmtime::Result<T>>>,
) -> Result<T, Stop> {
    let mut call = pin!(engine.run_guest(call));
    // Made when the guest waits: most calls do not.
    let mut timer = pin!(None::<Sleep>);
    let mut wait = None;
    poll_fn(move |context| {
        if let Some(wait) = wait.take() {
            time.end_wait(&wait);
        }
        ration.renew();
        if let Poll::Ready(called) = call.as_mut().poll(context) {
            return Poll::Ready(called.map_err(Stop::Stopped));
        }
        let Some(begun) = time.begin_wait() else { return Poll::Pending };
        let until = (begun.deadline + BACKSTOP).into();
        wait = Some(begun);
        if timer.as_ref().as_pin_ref().is_none_or(|timer| timer.deadline() != until) {
            timer.set(Some(sleep_until(until)));
        }
        let timer = timer.as_mut().as_pin_mut();
        timer.map_or(Poll::Pending, |timer| timer.poll(context).map(|()| Err(Stop::WaitedTooLong)))
    })
    .await
}

/// The fault of a call that did not return.
fn fault(call: &str, stop: &Stop, state: &HostState, timeout: Duration) -> Fault {
    let too_long = || Fault {
        kind: FaultKind::Timeout,
        message: format!("{call} took longer than its timeout of {}", humantime::format_duration(timeout)),
    };
    let error = match stop {
        Stop::WaitedTooLong => return too_long(),
        Stop::Stopped(error) => error,
    };
    if let Some(recorder) = &state.plugin.recorder {
        recorder.record_backtrace(backtrace::frames(error));
    }
    if let Some(fault) = state.limits.fault(call) {
        return fault;
    }
    if let Some(starved) = error.downcast_ref::<Starved>() {
        return Fault { kind: FaultKind::Shortage, message: format!("{call} had {starved}") };
    }
    if let Some(ExplainedShortage { reason, remedy }) =
        ExplainedShortage::behind(error).or_else(|| state.limits.failed_growth())
    {
        let message = format!("{call} found too few resources on this host: {reason}; {remedy}");
        return Fault { kind: FaultKind::Shortage, message };
    }
    let text = backtrace::causes(error);
    let kind = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => return too_long(),
        Some(Trap::StackOverflow) => FaultKind::Stack,
        // wasmtime has no types for these errors.
        None if text.contains("fuel allocated for hostcalls") => FaultKind::Oversize,
        None if text.contains("resource limit exceeded") || text.contains("handle limit exceeded") => FaultKind::Limit,
        _ => FaultKind::Trap,
    };
    Fault { kind, message: format!("{call} failed: {}", printable(&text)) }
}

/// The failure for descriptors that break the rules: a mistake in the plugin, with these settings at least.
fn misdescribed(why: &str) -> Failure {
    Failure::Disabled(Disabled {
        cause: DisabledCause::InvalidConfig,
        reason: printable(why),
        remedy: "fix the plugin, or change its settings".to_owned(),
        denied: None,
        settings: Vec::new(),
    })
}

/// The failure for an error that the plugin returned. Its texts may have the plugin's secrets, which are taken out.
fn failure(error: wit::Error, plugin: &PluginContext) -> Failure {
    let disabled =
        |cause, reason, remedy, settings| Failure::Disabled(Disabled { cause, reason, remedy, denied: None, settings });
    let printable = |text: &str| printable(&plugin.config.redact(text));
    let call_error = |kind, why: &str| Failure::Error(CallError { kind, reason: printable(why) });
    match error {
        wit::Error::Unsupported(why) => {
            let reason = format!("cannot work on this host: {}", printable(&why));
            let remedy = "none, unless the host changes: then replace the file or restart the agent".to_owned();
            disabled(DisabledCause::Unsupported, reason, remedy, Vec::new())
        }
        wit::Error::InvalidConfig(keys) => {
            // An error of the configuration as a whole has no key.
            let describe = |invalid: &wit::Invalid| match &*invalid.key {
                "" => invalid.message.clone(),
                key => format!("{key}: {}", invalid.message),
            };
            let described: Vec<String> = keys.iter().map(describe).collect();
            let reason = format!("does not accept its configuration: {}", printable(&described.join("; ")));
            let setting = |wit::Invalid { key, message }: &wit::Invalid| InvalidSetting {
                key: printable(key),
                message: printable(message),
            };
            let settings = keys.iter().take(MAX_INVALID_SETTINGS).map(setting).collect();
            let remedy = format!("correct config under [plugins.{}], and reload the agent", plugin.name);
            disabled(DisabledCause::InvalidConfig, reason, remedy, settings)
        }
        wit::Error::Denied(Need { capability, reason }) => {
            let reason = printable(&reason);
            match plugin.shown_grant(capability) {
                Ok(denied) => {
                    plugin.denials.record_need(&denied);
                    Failure::Disabled(Disabled {
                        cause: DisabledCause::Denied,
                        reason: format!("is missing the grant {denied} to {reason}"),
                        remedy: plugin.restart_remedy(std::slice::from_ref(&denied)),
                        denied: Some(denied),
                        settings: Vec::new(),
                    })
                }
                Err(unknown) => disabled(
                    DisabledCause::Denied,
                    format!("needs {unknown} to {reason}, which {}", UnknownCapability::reason()),
                    UnknownCapability::REMEDY.to_owned(),
                    Vec::new(),
                ),
            }
        }
        wit::Error::Unavailable(why) => call_error(CallErrorKind::Unavailable, &why),
        wit::Error::Failed(why) => call_error(CallErrorKind::Failed, &why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::grants::Grants;
    use crate::plugin::guest::bindings::gauged::plugin::types::Capability;
    use crate::plugin::offload::pool::OffloadPool;

    #[test]
    fn invalid_configuration_names_the_keys() {
        let pool = OffloadPool::start().expect("threads");
        let plugin = PluginContext::new("redis", Arc::default(), Grants::none(), &pool);
        let invalid = |key: &str, message: &str| wit::Invalid { key: key.to_owned(), message: message.to_owned() };
        let disabled = |error| match failure(error, &plugin) {
            Failure::Disabled(disabled) => disabled,
            other => panic!("{other:?}"),
        };
        let reason = |keys| disabled(wit::Error::InvalidConfig(keys)).reason;
        assert_eq!(
            reason(vec![invalid("", "this plugin has no settings")]),
            "does not accept its configuration: this plugin has no settings"
        );
        assert_eq!(
            reason(vec![invalid("mounts.only", "unknown key"), invalid("", "too long\n")]),
            "does not accept its configuration: mounts.only: unknown key; too long\\n"
        );
    }

    #[test]
    fn a_missing_grant_has_its_remedy() {
        let pool = OffloadPool::start().expect("threads");
        let plugin = PluginContext::new("redis", Arc::default(), Grants::none(), &pool);
        let disabled = |kind: &str, target: &str| {
            let capability = Capability { kind: kind.to_owned(), target: target.to_owned() };
            let need = Need { capability, reason: "ask".to_owned() };
            let Failure::Disabled(disabled) = failure(wit::Error::Denied(need), &plugin) else { panic!("disabled") };
            assert_eq!(disabled.cause, DisabledCause::Denied);
            disabled
        };
        let denied = disabled("connect", "db:1");
        assert_eq!(denied.remedy, r#"write under [plugins.redis]: connect = ["db:1"], and reload the agent"#);
        let unknown = disabled("exec", "/bin/true");
        assert_eq!(unknown.denied, None);
        assert_eq!(
            unknown.reason,
            r#"needs exec = ["/bin/true"] to ask, which is nothing that this agent has: it knows read, usage, connect, fetch"#
        );
        assert_eq!(unknown.remedy, "update the agent, or fix the plugin");
    }
}
