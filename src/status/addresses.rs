//! The addresses of the HTTP server in the view: which of them are open, and why the others are not.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::problem::Problem;

/// An address of the HTTP server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AddressStatus {
    pub(crate) address: String,
    /// Whether it is listened on.
    pub(crate) is_open: bool,
    /// Why it is not.
    pub(crate) problem: Option<Problem>,
}

/// Where the server shows its addresses. Behind a lock because the server's thread writes them and others read them; it is held for a
/// copy, and never taken at a tick.
#[derive(Debug, Default)]
pub(crate) struct AddressBoard(Mutex<Vec<AddressStatus>>);

impl AddressBoard {
    /// Shows these addresses, and no others any more.
    pub(crate) fn set(&self, addresses: Vec<AddressStatus>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    pub(crate) fn get(&self) -> Vec<AddressStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
