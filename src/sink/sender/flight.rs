//! An exchange with the receiver that is under way.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::{Duration, Instant};

use hyper::body::Bytes;

use super::loss::Loss;
use crate::sink::protocol::{JudgedResponse, Receiver};

/// An exchange that is under way. It has the receiver.
pub(super) struct Flight {
    /// None for a question about the receiver's clock.
    pub(super) sent: Option<Sent>,
    pub(super) began: Instant,
    exchange: Pin<Box<dyn Future<Output = (Receiver, JudgedResponse)>>>,
}

/// A request that was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    /// Its number in the backlog.
    pub(super) serial: u64,
    /// The number of the first request of the backlog, if it was passed over for this one.
    pub(super) passed_over: Option<u64>,
    pub(super) points: u64,
    pub(super) is_last: bool,
    /// Why the disk has dropped it meanwhile.
    pub(super) gone: Option<Loss>,
}

impl Flight {
    /// Sends a request.
    pub(super) fn send(sent: Sent, body: Bytes, mut receiver: Receiver, timeout: Duration) -> Self {
        let exchange = Box::pin(async move {
            let answer = receiver.send(body, timeout).await;
            (receiver, answer)
        });
        Self { sent: Some(sent), began: Instant::now(), exchange }
    }

    /// Asks for the receiver's clock.
    pub(super) fn ask(mut receiver: Receiver, timeout: Duration) -> Self {
        let exchange = Box::pin(async move {
            let answer = receiver.ask(timeout).await;
            (receiver, answer)
        });
        Self { sent: None, began: Instant::now(), exchange }
    }

    /// Waits for its end; for ever without one. Cancellation safe.
    pub(super) async fn end(flight: &mut Option<Self>) -> (Self, Receiver, JudgedResponse) {
        let Some(current) = flight else { return pending().await };
        let (receiver, answer) = current.exchange.as_mut().await;
        match flight.take() {
            Some(flight) => (flight, receiver, answer),
            None => pending().await,
        }
    }
}
