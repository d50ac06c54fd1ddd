//! A version of a plugin: the description and the code of one content of its file. It is made once, and its instances as often
//! as needed.

use std::fmt;
use std::sync::Arc;

use crate::plugin::build::sealed::Hash;
use crate::plugin::context::PluginContext;
use crate::plugin::guest::bindings::exports::gauged::plugin::collector::{About, Need};
use crate::plugin::guest::description::{self, Description};
use crate::plugin::guest::fault::Failure;
use crate::plugin::guest::instance::{Code, Instance};
use crate::plugin::rejection::Rejection;
use crate::sample::Text;

/// A version of a plugin that was loaded.
pub(crate) struct Version {
    /// The version that the plugin gives itself. Also in the description, which is not read at each tick.
    pub(crate) name: Text,
    pub(crate) description: Arc<Description>,
    pub(crate) hash: Hash,
    /// The first digits of the hash, for display.
    pub(crate) digits: Text,
    pub(crate) code: Arc<Code>,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.hash)
    }
}

impl Version {
    /// Describes the code of a file, by a temporary instance without grants.
    pub(crate) async fn describe(code: Code, hash: Hash, plugin: &PluginContext) -> Result<Self, Rejection> {
        let about = plugin.describe(&code).await?;
        let (name, description) = (Text::from(about.version.clone()), Description::told(&plugin.name, about));
        Ok(Self { name, description, hash, digits: hash.to_string().into(), code: Arc::new(code) })
    }
}

impl PluginContext {
    /// Describes the plugin, by a temporary instance without grants.
    async fn describe(&self, code: &Code) -> Result<About, Rejection> {
        let plugin = self.without_grants();
        let unknown = Description::unknown(&self.name);
        let mut instance = Instance::new(code, &plugin, &unknown).await.map_err(Failure::Fault)?;
        let about = instance.describe().await.map_err(Failure::Fault)?;
        description::check_about(&about).map_err(|why| format!("{why}; fix the plugin"))?;
        Ok(about)
    }

    /// Makes and configures an instance. Returns its needs, too.
    pub(crate) async fn start(
        &self,
        code: &Code,
        description: &Arc<Description>,
    ) -> Result<(Instance, Vec<Need>), Failure> {
        let mut instance = Instance::new(code, self, description).await.map_err(Failure::Fault)?;
        let needs = instance.configure(&self.config.settings()).await?;
        Ok((instance, needs))
    }
}
