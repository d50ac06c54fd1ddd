//! The host of a script as it is in the present run.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::script::system::{ScriptedClock, ScriptedInterface, ScriptedSockets, SystemAnswer, Table};
use crate::config::script::web::ScriptedFacts;
use crate::config::script::{
    FileError, ScriptedConnection, ScriptedResponse, ScriptedUsage, ServerError, ServerFailure, StateError,
};

/// The host as it is in the present run.
#[derive(Debug, Default)]
pub(super) struct PresentHost {
    pub(super) failures: BTreeMap<String, FileError>,
    pub(super) usages: BTreeMap<String, ScriptedUsage>,
    pub(super) responses: BTreeMap<(String, String), ScriptedResponse>,
    pub(super) facts: BTreeMap<(String, String), ScriptedFacts>,
    pub(super) connections: BTreeMap<String, VecDeque<ScriptedConnection>>,
    /// What the plugin has saved before, until it uses its state.
    pub(super) saved: Option<Vec<u8>>,
    pub(super) state_failure: Option<StateError>,
    pub(super) sockets: BTreeMap<Table, SystemAnswer<ScriptedSockets>>,
    pub(super) clock: Option<SystemAnswer<ScriptedClock>>,
    pub(super) interfaces: BTreeMap<String, SystemAnswer<ScriptedInterface>>,
    /// The conversations that did not follow the script.
    pub(super) deviations: Vec<String>,
}

impl PresentHost {
    /// Whether a server holds another conversation. The error is that of the next one, which is over then.
    pub(super) fn next_conversation(&mut self, address: &str) -> Result<bool, ServerError> {
        let Some(connections) = self.connections.get_mut(address) else { return Ok(false) };
        if let Some(ScriptedConnection::Failure(error @ (ServerError::Refused | ServerError::Resolve))) =
            connections.front()
        {
            let error = *error;
            connections.pop_front();
            return Err(error);
        }
        Ok(!connections.is_empty())
    }

    /// Whether a web server is up: as long as it serves one path. The error is how it is not reached.
    pub(super) fn is_web_server_up(&self, endpoint: &str) -> Result<bool, ServerError> {
        let of_server = |((server, _), _): &(&(String, String), &ScriptedResponse)| server == endpoint;
        let mut failure = None;
        for (_, response) in self.responses.iter().filter(of_server) {
            match response {
                ScriptedResponse::Failure(ServerFailure {
                    error: error @ (ServerError::Refused | ServerError::Resolve),
                }) => failure = failure.or(Some(*error)),
                _ => return Ok(true),
            }
        }
        failure.map_or(Ok(false), Err)
    }
}

/// The present host, also after a panic of a server.
pub(super) fn lock(state: &Mutex<PresentHost>) -> MutexGuard<'_, PresentHost> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
