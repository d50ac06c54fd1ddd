//! The capability `files`: contents, directories, states and links of files of the measured host, and the usage of its file
//! systems, as far as they are granted. Operations that may wait for a device or another machine run on another thread, and so
//! do those on files of the kernel that have been slow. `/proc/net` and `/proc/mounts` are those of process 1.

mod access;
mod content;
mod directory;
mod many;
#[cfg(target_os = "linux")]
mod process_state;
mod status;
mod usage;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use self::access::{FilesError, begin, wit_error};
use self::content::{read, read_at};
use self::directory::list;
use self::status::{read_link, stat};
use self::usage::usage;
pub(crate) use self::usage::usage_basis;
use crate::config::script::ScriptedUsage;
use crate::plugin::context::PluginContext;
use crate::plugin::grants::Grants;
use crate::plugin::guest::bindings::gauged::plugin::files::{Entry, Error, FileStatus, FilesystemUsage, Host};
use crate::plugin::guest::call_time::CallTime;
use crate::plugin::host::kernel_files::KernelFile;
use crate::plugin::host::state::HostState;
use crate::plugin::host::stopwatch::Stopwatch;
use crate::plugin::offload::permits::OffloadTarget;

impl Host for HostState {
    async fn read(&mut self, path: String) -> Result<Vec<u8>, Error> {
        run(&self.plugin, &self.time, KernelFile::classify, path, read).await
    }

    async fn read_at(&mut self, path: String, offset: u64, max_bytes: u32) -> Result<Vec<u8>, Error> {
        let piece = move |grants: &Grants, path: &str| read_at(grants, path, offset, max_bytes);
        run(&self.plugin, &self.time, KernelFile::classify, path, piece).await
    }

    async fn read_many(&mut self, paths: Vec<String>, max_bytes: u32) -> Vec<Result<Vec<u8>, Error>> {
        many::read_many(&self.plugin, &self.time, paths, max_bytes).await
    }

    async fn list(&mut self, path: String) -> Result<Vec<Entry>, Error> {
        run(&self.plugin, &self.time, KernelFile::classify, path, list).await
    }

    async fn stat(&mut self, path: String) -> Result<FileStatus, Error> {
        run(&self.plugin, &self.time, KernelFile::classify_status, path, stat).await
    }

    async fn read_link(&mut self, path: String) -> Result<String, Error> {
        let path = begin(&self.plugin, path)?;
        offload_path(&self.plugin, self.time.patience(), path, read_link).await
    }

    async fn usage(&mut self, path: String) -> Result<FilesystemUsage, Error> {
        if let Some(scripted) = self.plugin.script.as_ref().and_then(|script| script.usage(&path)) {
            let ScriptedUsage { total_bytes, free_bytes, available_bytes, inodes, free_inodes, read_only } = scripted;
            return Ok(FilesystemUsage { total_bytes, free_bytes, available_bytes, inodes, free_inodes, read_only });
        }
        offload_path(&self.plugin, self.time.patience(), path, usage).await
    }
}

/// Runs an operation on this thread where it does not wait, and on another one otherwise.
async fn run<T: Send + 'static>(
    plugin: &PluginContext,
    time: &CallTime,
    classify: fn(&str) -> Option<KernelFile>,
    path: String,
    work: impl FnOnce(&Grants, &str) -> Result<T, FilesError> + Send + 'static,
) -> Result<T, Error> {
    let path = begin(plugin, path)?;
    let Some(kind) = classify(&path) else {
        return offload_path(plugin, time.patience(), path, work).await;
    };
    let mut stopwatch = Stopwatch::start();
    if kind.is_slow(stopwatch.now()) {
        let timed = move |grants: &Grants, path: &str| kind.timed(&mut Stopwatch::start(), || work(grants, path));
        return offload_path(plugin, time.patience(), path, timed).await;
    }
    kind.run(&mut stopwatch, || work(&plugin.grants, &path)).map_err(|error| wit_error(plugin, &path, error))
}

async fn offload_path<T: Send + 'static>(
    plugin: &PluginContext,
    until: Instant,
    path: String,
    work: impl FnOnce(&Grants, &str) -> Result<T, FilesError> + Send + 'static,
) -> Result<T, Error> {
    let (grants, target) = (Arc::clone(&plugin.grants), OffloadTarget::Path(path.clone()));
    let work = {
        let path = path.clone();
        move || work(&grants, &path)
    };
    let done = plugin.accounts.permits.run(target, until, work).await;
    done.unwrap_or_else(|error| Err(FilesError::Permit(error))).map_err(|error| wit_error(plugin, &path, error))
}
