//! The HTTP server: what was measured, for scrapers, programs and people. It reads the view that the tick thread publishes, and
//! collects nothing itself: whatever peers do, no tick waits for them. It runs on the delivery thread, one task for each connection.
//!
//! ```text
//!  peer ──▶ listener ── permit ──▶ connection (limits, TLS) ──▶ router ──▶ scrape, events, health ──▶ status::Slot
//! ```
//!
//! Every read, write, connection and response is bounded (`limits`). Texts of metrics are made by `exposition`.

mod limits;
mod statistics;
mod negotiation;
mod query;
mod host_check;
mod peer;
mod health;
mod activity;
mod budget;
mod connections;
mod connection;
mod events;
mod certificates;
mod answer;
mod scrape;
mod body;
mod push;
mod sample_text;
mod router;
mod server;
mod serving;
mod listener;
mod listeners;

use std::future::pending;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::certificates::follow_expiry;
pub(crate) use self::certificates::report_certificates;
use self::limits::END;
use self::listener::ListenError;
use self::listeners::Listeners;
use self::server::Server;
pub(crate) use self::statistics::Statistics;
use crate::config::{Config, HttpConfig, ListenAddress};
use crate::push::Inlet;
use crate::status::Slot;

/// A request to open the addresses of another configuration, before it is in effect.
#[derive(Debug)]
pub(crate) struct Preparation {
    pub(crate) http: Arc<HttpConfig>,
    /// Gets why the addresses cannot be had.
    pub(crate) reply: oneshot::Sender<Result<(), String>>,
}

/// The ways from the tick thread to the server.
#[derive(Debug)]
pub(crate) struct Controls {
    pub(crate) slot: Arc<Slot>,
    pub(crate) statistics: Arc<Statistics>,
    /// The way of pushed points to the tick thread.
    pub(crate) inlet: Arc<Inlet>,
    /// The configuration in effect.
    pub(crate) config: watch::Receiver<Arc<Config>>,
    pub(crate) preparations: mpsc::Receiver<Preparation>,
    /// Ends the server when its sender is dropped.
    pub(crate) running: oneshot::Receiver<()>,
    /// Is completed when the addresses are open, as far as they can be had.
    pub(crate) started: oneshot::Sender<()>,
}

/// Runs the server until its end. Needs a `LocalRuntime` or `LocalSet`.
pub(crate) async fn run(mut controls: Controls) {
    let config = Arc::clone(&controls.config.borrow_and_update());
    let server = Server::new(Arc::clone(&config), &controls.slot, &controls.statistics, &controls.inlet);
    follow_expiry(&config, &controls.statistics);
    let mut listeners = Listeners::new(server.clone());
    listeners.follow(&config).await;
    // The tick thread may not wait for it any more.
    let _ = controls.started.send(());
    loop {
        let check_at = listeners.pause().or_else(|| server.pause()).map(|pause| Instant::now() + pause);
        let check = async {
            match check_at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            // Nothing is ever sent.
            _ = &mut controls.running => break,
            Some(preparation) = controls.preparations.recv() => prepare(&mut listeners, preparation).await,
            Ok(()) = controls.config.changed() => {
                let config = Arc::clone(&controls.config.borrow_and_update());
                follow_expiry(&config, &controls.statistics);
                server.reconfigure(Arc::clone(&config));
                listeners.follow(&config).await;
            }
            () = check => {
                server.drop_unused();
                listeners.check().await;
            }
        }
    }
    listeners.close();
    server.events().end();
    let idle = async {
        while server.connections().count() > 0 {
            sleep(END / 30).await;
        }
    };
    // Peers that take longer are cut off.
    let _ = timeout(END, idle).await;
}

/// Opens the addresses of another configuration. Those for which nobody waits any more are closed.
async fn prepare(listeners: &mut Listeners, Preparation { http, reply }: Preparation) {
    let prepared = listeners.prepare(&http).await;
    let why = |(address, error): (ListenAddress, ListenError)| format!("{address}: {}; {}", error.reason, error.remedy);
    if reply.send(prepared.map_err(why)).is_err() {
        listeners.discard_prepared();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;
    use crate::config::Overrides;
    use crate::push::PushedModules;
    use crate::status::{AgentFacts, Settings};

    #[tokio::test]
    async fn abandoned_preparation_closes_its_addresses() {
        let config =
            Config::load(&Overrides { file: Some("/dev/null".into()), ..Overrides::default() }).expect("empty");
        let slot = Arc::new(Slot::new(AgentFacts::at_start(Settings::default())));
        let modules = PushedModules::new(&Arc::default(), false);
        let server = Server::new(Arc::new(config), &slot, &Arc::default(), modules.inlet());
        let mut listeners = Listeners::new(server);
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("free").local_addr().expect("bound");
        for is_awaited in [true, false] {
            let (reply, prepared) = oneshot::channel();
            let awaited = is_awaited.then_some(prepared);
            let http = Arc::new(HttpConfig::at(vec![ListenAddress::Tcp(free)]));
            prepare(&mut listeners, Preparation { http, reply }).await;
            assert_eq!(TcpStream::connect(free).is_ok(), is_awaited);
            drop(awaited);
        }
    }
}
