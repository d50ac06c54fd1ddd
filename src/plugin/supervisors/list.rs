//! The plugins in the status of the agent, and the files that make none. The list is made again only when something in it has
//! changed; a round without changes costs a comparison per plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, absolute};
use std::sync::Arc;

use crate::clock::schedule::wall_clock;
use crate::plugin::supervisor::Supervisor;
use crate::plugin::supervisors::files::Files;
use crate::status::{FileStatus, PluginList, PluginStatus, Problem, ProblemKind};

/// How many plugins that never served and have no table are shown, and how many files that make none: there may be thousands,
/// whatever is dropped into the directory.
const SHOWN_STRAYS: usize = 100;

/// Makes the list.
#[derive(Default)]
pub(super) struct ListWriter {
    list: Arc<PluginList>,
    /// Whether plugins have come or gone.
    is_outdated: bool,
}

/// A directory for somebody who is in another one.
fn shown_directory(directory: &Path) -> String {
    absolute(directory).unwrap_or_else(|_| directory.to_owned()).display().to_string()
}

impl ListWriter {
    /// Records that plugins have come or gone.
    pub(super) fn plugins_changed(&mut self) {
        self.is_outdated = true;
    }

    /// The list of this moment.
    pub(super) fn update(
        &mut self,
        files: &mut Files,
        plugins: &mut BTreeMap<Arc<str>, Box<Supervisor>>,
    ) -> Arc<PluginList> {
        let mut is_outdated = std::mem::take(&mut self.is_outdated) | files.take_news();
        for supervisor in plugins.values_mut() {
            is_outdated |= supervisor.view().1;
        }
        if is_outdated {
            self.list = Arc::new(self.make(files, plugins));
        }
        Arc::clone(&self.list)
    }

    fn make(&self, files: &Files, plugins: &mut BTreeMap<Arc<str>, Box<Supervisor>>) -> PluginList {
        let (mut shown, mut allowance, mut omitted_plugins) = (Vec::new(), SHOWN_STRAYS, 0);
        let mut used = BTreeSet::new();
        for supervisor in plugins.values_mut() {
            if !files.unusable().is_empty() {
                used.insert(supervisor.file.clone());
            }
            let is_established = supervisor.is_established();
            if is_established || allowance > 0 {
                allowance -= usize::from(!is_established);
                shown.push(Arc::clone(supervisor.view().0));
            } else {
                omitted_plugins += 1;
            }
        }
        for (name, table) in files.tables.iter().filter(|(name, _)| !plugins.contains_key(&***name)) {
            let file = table.file.clone().unwrap_or_else(|| format!("{name}.wasm"));
            let (state, problem) = if table.enabled { self.absence(name, &file, files) } else { ("off", None) };
            used.insert(file.clone());
            shown.push(Arc::new(PluginStatus {
                name: name.clone(),
                file,
                state: state.into(),
                is_configured: true,
                problems: problem.into_iter().collect(),
                ..PluginStatus::default()
            }));
        }
        shown.sort_by(|one, other| one.name.cmp(&other.name));
        let strays = files.unusable().iter().filter(|(file, _)| !used.contains(*file));
        let problem = |reason: &str, remedy: &str, file: &str| {
            let earlier = self.list.files.iter().filter(|known| known.file == file).map(|known| &known.problem);
            Problem::new(ProblemKind::File, reason, remedy).since(earlier, wall_clock())
        };
        let mut strays: Vec<FileStatus> = strays
            .map(|(file, (reason, remedy))| FileStatus { file: file.clone(), problem: problem(reason, remedy, file) })
            .collect();
        let omitted_files = strays.len().saturating_sub(SHOWN_STRAYS);
        strays.truncate(SHOWN_STRAYS);
        let directory_problem = files.scanner.problem().map(|(reason, remedy)| {
            let problem = Problem::new(ProblemKind::File, reason, remedy).wrong_if(true);
            problem.since(&self.list.directory_problem, wall_clock())
        });
        PluginList {
            directory: files.scanner.directory().map(shown_directory),
            directory_problem,
            plugins: shown,
            omitted_plugins,
            files: strays,
            omitted_files: omitted_files as u64,
        }
    }

    /// The state of an enabled plugin with a table that there is none of, and why.
    fn absence(&self, name: &str, file: &str, files: &Files) -> (&'static str, Option<Problem>) {
        let known = self.list.plugins.iter().find(|known| known.name == name);
        let problem = |reason: &str, remedy: &str| {
            let earlier = known.iter().flat_map(|known| &known.problems);
            let problem = Problem::new(ProblemKind::File, reason, remedy).wrong_if(true);
            Some(problem.since(earlier, wall_clock()))
        };
        if let Some((reason, remedy)) = files.unusable().get(file) {
            return ("rejected", problem(reason, remedy));
        }
        if files.surplus.contains(file) {
            return ("rejected", problem("is not loaded: there are too many plugins", "remove some, or see the log"));
        }
        if files.scanner.is_missing(file) {
            let remedy = format!("copy it into the plugins directory, or remove [plugins.{name}]");
            return ("missing", problem("is missing", &remedy));
        }
        ("loading", None)
    }
}
