//! Files that operations are working on: one that hangs is not begun again while its thread still hangs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many files of one set may hang at a time: each keeps a thread.
const MAX_HUNG: usize = 32;

/// The files that threads are working on, by name. A file that hangs stays in the set until its file system responds.
#[derive(Debug, Clone, Default)]
pub(crate) struct BusyFiles {
    /// Behind a lock because each thread removes its own file; it is held for one insertion or removal.
    names: Arc<Mutex<BTreeSet<String>>>,
}

/// The entry of a file in [`BusyFiles`], removed on drop.
#[derive(Debug)]
pub(crate) struct BusyFile {
    files: BusyFiles,
    name: String,
}

impl BusyFiles {
    /// Enters a file. None when a thread is working on it already, or when [`MAX_HUNG`] files are in the set.
    pub(crate) fn enter(&self, name: &str) -> Option<BusyFile> {
        let mut names = self.lock();
        (names.len() < MAX_HUNG && names.insert(name.to_owned()))
            .then(|| BusyFile { files: self.clone(), name: name.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for BusyFile {
    fn drop(&mut self) {
        self.files.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_file_is_entered_once() {
        let files = BusyFiles::default();
        let first = files.enter("a").expect("no thread works on it");
        assert!(files.enter("a").is_none());
        drop(first);
        let all: Vec<_> = (0..MAX_HUNG).map(|number| files.enter(&number.to_string())).collect();
        assert!(all.iter().all(Option::is_some) && files.enter("more").is_none());
    }
}
