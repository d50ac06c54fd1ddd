//! The outputs' part of `gauged check`: the paths of files of samples. Nothing is opened or created.

use crate::config::{Place, Problem, Reading};
use crate::sink::{TargetFinding, examine_targets};

/// The errors of paths that hold for everybody, and the notes about those that hold for this user and moment: the agent may run as
/// another one, and its directory may be made at its start.
pub(super) fn check(reading: &Reading) -> (Vec<Problem>, Vec<String>) {
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    for TargetFinding { sink, text, is_error } in examine_targets(&reading.config) {
        let key = format!("sinks.{sink}.path");
        match reading.places.nearest(&key) {
            Some(Place { file, line, .. }) if is_error => {
                problems.push(Problem { file: file.to_path_buf(), line: Some(*line), key, message: text });
            }
            _ => notes.push(format!("{key}: {text}")),
        }
    }
    (problems, notes)
}
