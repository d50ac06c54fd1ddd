//! The addresses that the server listens on: those of the configuration in effect, as far as they can be had. What was opened for
//! another configuration is kept ready until that is in effect.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::limits::CHECK;
use super::listener::{ListenError, Listener, OpenSocket};
use super::server::Server;
use crate::clock::schedule::wall_clock;
use crate::config::{Config, HttpConfig, ListenAddress};
use crate::status::{AddressStatus, Problem, ProblemKind};

/// The listeners.
pub(super) struct Listeners {
    server: Rc<Server>,
    open: Vec<Listener>,
    /// Sockets for a configuration that is not in effect yet.
    prepared: HashMap<ListenAddress, OpenSocket>,
    /// The errors that were reported, by address.
    failed: HashMap<ListenAddress, ListenError>,
    config: Option<Arc<HttpConfig>>,
}

impl Listeners {
    pub(super) fn new(server: Rc<Server>) -> Self {
        Self { server, open: Vec::new(), prepared: HashMap::new(), failed: HashMap::new(), config: None }
    }

    /// Opens what another configuration has more. An address that the one in effect has, too, and that could not be had so far is
    /// left alone: the change does not make that worse, and may be another token.
    ///
    /// # Errors
    ///
    /// The first address that cannot be had, and why. Nothing is changed then.
    pub(super) async fn prepare(&mut self, http: &HttpConfig) -> Result<(), (ListenAddress, ListenError)> {
        self.prepared.clear();
        for address in &http.listen {
            if self.open.iter().any(|listener| listener.address == *address) || self.is_in_effect(address) {
                continue;
            }
            match OpenSocket::open(address).await {
                Ok(socket) => drop(self.prepared.insert(address.clone(), socket)),
                // It is free once the change is in effect.
                Err(error) if error.is_in_use && self.is_to_be_freed(address, http) => {}
                Err(error) => {
                    self.prepared.clear();
                    return Err((address.clone(), error));
                }
            }
        }
        Ok(())
    }

    /// Closes what was opened for a configuration that does not come into effect.
    pub(super) fn discard_prepared(&mut self) {
        self.prepared.clear();
    }

    /// Whether the configuration in effect has an address.
    fn is_in_effect(&self, address: &ListenAddress) -> bool {
        self.config.as_ref().is_some_and(|http| http.listen.contains(address))
    }

    /// Whether an own listener that another configuration does not have any more is what keeps an address.
    fn is_to_be_freed(&self, address: &ListenAddress, http: &HttpConfig) -> bool {
        let Some(address) = address.tcp() else { return false };
        self.open.iter().any(|listener| {
            listener.address.tcp().is_some_and(|own| {
                let overlaps = own.ip().is_unspecified() || address.ip().is_unspecified();
                overlaps && own.port() == address.port() && !http.listen.contains(&listener.address)
            })
        })
    }

    /// Follows a configuration that is in effect now. Listeners that stay keep their socket, and their connections unless these
    /// were made by another kind of TLS.
    pub(super) async fn follow(&mut self, config: &Config) {
        let old = std::mem::replace(&mut self.config, config.http.clone());
        let wanted = config.http.as_ref().map(|http| &*http.listen).unwrap_or_default();
        let (open, unwanted) =
            std::mem::take(&mut self.open).into_iter().partition(|open| wanted.contains(&open.address));
        self.open = open;
        for listener in unwanted {
            Listener::close(listener).await;
        }
        self.failed.retain(|address, _| wanted.contains(address));
        let tls = |http: &Option<Arc<HttpConfig>>| http.as_ref().and_then(|http| http.tls.clone());
        if tls(&old) != tls(&config.http) {
            let listeners = std::mem::take(&mut self.open);
            self.open = listeners.into_iter().map(|listener| listener.restart(&self.server)).collect();
        }
        self.open_missing().await;
        self.show();
        self.prepared.clear();
        if let Some(http) = &config.http
            && old.as_ref() != Some(http)
        {
            report_openness(http);
        }
    }

    /// Opens the addresses that are missing. Each error is reported once, and so is the end of it.
    async fn open_missing(&mut self) {
        let Some(http) = self.config.clone() else { return };
        for address in &http.listen {
            if self.open.iter().any(|listener| listener.address == *address) {
                continue;
            }
            let opened = match self.prepared.remove(address) {
                Some(socket) => Ok(socket),
                None => OpenSocket::open(address).await,
            };
            match opened {
                Ok(socket) => {
                    self.failed.remove(address);
                    tracing::info!(%address, "HTTP address opened");
                    self.open.push(Listener::start(address.clone(), socket, &self.server));
                }
                Err(error) => {
                    if self.failed.get(address) != Some(&error) {
                        let ListenError { reason, remedy, .. } = &error;
                        let consequence = "nobody is answered there; it is tried again every 10 s";
                        tracing::warn!(%address, reason, remedy, consequence, "HTTP address not opened");
                    }
                    self.failed.insert(address.clone(), error);
                }
            }
        }
    }

    /// How long to pause until the listeners are [checked](Self::check); none if that is not needed.
    pub(super) fn pause(&self) -> Option<Duration> {
        let is_unix = |listener: &Listener| matches!(listener.address, ListenAddress::Unix(_));
        (!self.failed.is_empty() || self.open.iter().any(is_unix)).then_some(CHECK)
    }

    /// Opens what is missing: addresses that could not be had, and sockets that were removed.
    pub(super) async fn check(&mut self) {
        self.open.retain(Listener::is_in_place);
        self.open_missing().await;
        self.show();
    }

    /// Shows in the status which addresses are open.
    fn show(&self) {
        let wanted = self.config.as_ref().map(|http| &*http.listen).unwrap_or_default();
        let known = self.server.addresses().get();
        let status = |address: &ListenAddress| {
            let problem = self.failed.get(address).map(|ListenError { reason, remedy, .. }| {
                let text = address.to_string();
                let earlier =
                    known.iter().filter(|known| known.address == text).filter_map(|known| known.problem.as_ref());
                Problem::new(ProblemKind::Address, reason, remedy).wrong_if(true).since(earlier, wall_clock())
            });
            AddressStatus { address: address.to_string(), is_open: problem.is_none(), problem }
        };
        self.server.addresses().set(wanted.iter().map(status).collect());
    }

    /// Closes all.
    pub(super) fn close(&mut self) {
        self.open.clear();
        self.prepared.clear();
    }
}

/// Reports addresses that others on the network can ask without proof of who they are.
fn report_openness(http: &HttpConfig) {
    if http.has_authentication() {
        return;
    }
    let open: Vec<String> = http.listen.iter().filter(|address| !address.is_local()).map(ToString::to_string).collect();
    if !open.is_empty() {
        let addresses = open.join(", ");
        let reason = "everybody who reaches it can read all metrics, the status and the configuration";
        let remedy =
            "write token_file or tls_client_ca under [http], listen on 127.0.0.1, or leave it if the network is closed";
        tracing::warn!(addresses, reason, remedy, "HTTP open to the network");
    }
}
