//! Which plugin may have which module. The agent's own collectors come first, then the plugin whose name sorts first. A plugin
//! keeps its modules at ticks without a result: otherwise another one would fill the gaps, and a series have two sources.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::plugin::supervisor::Supervisor;
use crate::sample::{AGENT, Text, is_pushed_name};

/// The owner of each module.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    /// None for the agent itself.
    owners: HashMap<Text, Option<Arc<str>>>,
    is_outdated: bool,
}

impl Owners {
    /// Records that a plugin has come or gone.
    pub(crate) fn plugins_changed(&mut self) {
        self.is_outdated = true;
    }

    /// Takes over which modules the plugins have now, and the agent itself. Most ticks change nothing.
    pub(crate) fn update(&mut self, supervisors: &mut BTreeMap<Arc<str>, Box<Supervisor>>, own: &[Text]) {
        for supervisor in supervisors.values_mut() {
            self.is_outdated |= supervisor.results.take_reserved_changed();
        }
        if !std::mem::take(&mut self.is_outdated) {
            return;
        }
        self.owners.clear();
        self.owners.extend(own.iter().cloned().chain([AGENT.into()]).map(|module| (module, None)));
        for supervisor in supervisors.values_mut() {
            let plugin = Arc::clone(supervisor.name());
            for module in supervisor.results.reserved() {
                self.owners.entry(module.clone()).or_insert_with(|| Some(Arc::clone(&plugin)));
            }
            let owns_all = supervisor.results.reserved().iter().all(|module| self.is_owner(&plugin, module));
            supervisor.results.set_owns_all(owns_all);
        }
    }

    /// Whether a plugin may have a module. Those of pushed points are the agent's, whether any are taken or not.
    pub(crate) fn is_owner(&self, plugin: &str, module: &Text) -> bool {
        !is_pushed_name(module) && self.owners.get(module).is_none_or(|owner| owner.as_deref() == Some(plugin))
    }
}
