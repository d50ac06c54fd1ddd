//! Many small files at the price of one call. Files of the kernel are read on this thread, and others on one other thread
//! together, so that neither costs a crossing or a thread for each file. A batch gives way to other plugins from time to time,
//! and ends when its contents fill up or its time is over.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access::{FilesError, begin, wit_error};
use super::content::{FILE_BYTES, Reader};
use crate::plugin::context::PluginContext;
use crate::plugin::guest::bindings::gauged::plugin::files::Error;
use crate::plugin::guest::call_time::CallTime;
use crate::plugin::host::kernel_files::KernelFile;
use crate::plugin::host::stopwatch::Stopwatch;

/// The most bytes of a batch, which the agent holds for the guest: as many as of one file.
const BATCH_BYTES: usize = FILE_BYTES;

/// How long files are read before other work of the thread has its turn: as long as a guest runs between two yields.
const SLICE: Duration = Duration::from_millis(1);

/// The limits of a batch that is under way.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// The most bytes of one file.
    file_bytes: usize,
    /// The bytes that are left for further files. None before the first one, which always fits.
    left_bytes: Option<usize>,
}

impl Room {
    /// Takes the room of one more result. Breaks with it when there is none.
    fn take<T>(&mut self, result: Result<Vec<u8>, T>) -> ControlFlow<(), Result<Vec<u8>, T>> {
        let bytes = result.as_ref().map_or(0, Vec::len);
        match self.left_bytes.unwrap_or(BATCH_BYTES.max(bytes)).checked_sub(bytes) {
            Some(left) => {
                self.left_bytes = Some(left);
                ControlFlow::Continue(result)
            }
            None => ControlFlow::Break(()),
        }
    }
}

/// Reads files; see the WIT.
pub(super) async fn read_many(
    plugin: &PluginContext,
    time: &CallTime,
    paths: Vec<String>,
    max_bytes: u32,
) -> Vec<Result<Vec<u8>, Error>> {
    let until = time.patience();
    let mut room = Room { file_bytes: FILE_BYTES.min(max_bytes as usize), left_bytes: None };
    let (mut results, mut reader) = (Vec::with_capacity(paths.len()), Reader::default());
    let mut stopwatch = Stopwatch::start();
    let mut turn = stopwatch.now();
    let mut paths = paths.into_iter().map(|path| begin(plugin, path)).peekable();
    while let Some(path) = paths.next() {
        let now = stopwatch.now();
        if now >= until {
            results.push(Err(Error::Timeout));
            continue;
        }
        let path = match path {
            Ok(path) => path,
            Err(error) => {
                results.push(Err(error));
                continue;
            }
        };
        if let Some(kind) = quick_kind(&path, now) {
            if now.saturating_duration_since(turn) >= SLICE {
                tokio::task::yield_now().await;
                turn = stopwatch.restart();
            }
            let read = kind.run(&mut stopwatch, || reader.read(&plugin.grants, &path, room.file_bytes));
            match room.take(read.map_err(|error| wit_error(plugin, &path, error))) {
                ControlFlow::Continue(result) => results.push(result),
                ControlFlow::Break(()) => break,
            }
        } else {
            let mut waiting = vec![path];
            let is_waiting =
                |path: &Result<String, Error>| path.as_ref().is_ok_and(|path| quick_kind(path, now).is_none());
            while let Some(Ok(path)) = paths.next_if(is_waiting) {
                waiting.push(path);
            }
            if offload(plugin, until, waiting, &mut room, &mut results).await.is_break() {
                break;
            }
            turn = stopwatch.restart();
        }
    }
    results
}

/// The kind of a file that is read on this thread.
fn quick_kind(path: &str, now: Instant) -> Option<KernelFile> {
    KernelFile::classify(path).filter(|kind| !kind.is_slow(now))
}

/// Reads files on another thread. Breaks when the batch is full.
async fn offload(
    plugin: &PluginContext,
    until: Instant,
    paths: Vec<String>,
    room: &mut Room,
    results: &mut Vec<Result<Vec<u8>, Error>>,
) -> ControlFlow<()> {
    let (grants, paths, mut left) = (Arc::clone(&plugin.grants), Arc::<[String]>::from(paths), *room);
    let mut reader = Reader::default();
    let mut work = move |path: &str| left.take(reader.read(&grants, path, left.file_bytes));
    let work = move |path: &str| match KernelFile::classify(path) {
        Some(kind) => kind.timed(&mut Stopwatch::start(), || work(path)),
        None => work(path),
    };
    let read = plugin.accounts.permits.run_paths(Arc::clone(&paths), until, work).await;
    let is_full = read.len() < paths.len();
    for (path, read) in paths.iter().zip(read) {
        let read = read.unwrap_or_else(|error| Err(FilesError::Permit(error)));
        match room.take(read.map_err(|error| wit_error(plugin, path, error))) {
            ControlFlow::Continue(result) => results.push(result),
            ControlFlow::Break(()) => return ControlFlow::Break(()),
        }
    }
    if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The first file always fits. The others do until together they are more than a batch; errors take no room.
        #[test]
        fn batches_are_bounded(sizes in prop::collection::vec(prop::option::of(0..=FILE_BYTES), 0..12)) {
            let mut room = Room { file_bytes: FILE_BYTES, left_bytes: None };
            let (mut taken, mut all) = (0, 0_usize);
            for size in &sizes {
                let result = size.map_or(Err(()), |size| Ok(vec![0; size]));
                if room.take(result).is_break() {
                    prop_assert!(taken > 0 && all + size.unwrap_or(0) > BATCH_BYTES);
                    return Ok(());
                }
                taken += 1;
                all += size.unwrap_or(0);
                prop_assert!(all <= BATCH_BYTES);
            }
        }
    }
}
