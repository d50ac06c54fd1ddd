//! Event streams (`text/event-stream` of HTML): each client gets every sample as one event. Of the samples that come while a client
//! does not read, it gets the newest, after what the kernel has taken already (`limits::STREAM_UNSENT`). Nothing happens at
//! a tick when there is no client.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use hyper::body::Bytes;
use tokio::time::{Instant, Sleep, sleep};

use super::limits::{STREAM_COMMENT, STREAMS};
use super::statistics::Statistics;
use crate::sample::Sample;
use crate::sink::{Encoder, Style};
use crate::status::Slot;

/// The clients of event streams.
pub(super) struct EventHub {
    slot: Arc<Slot>,
    statistics: Arc<Statistics>,
    clients: RefCell<Vec<Weak<Client>>>,
    /// Whether somebody waits for the next sample.
    is_running: Cell<bool>,
    encoder: Rc<RefCell<Encoder>>,
}

/// A client: the newest event that it has not got yet, and who is to be woken for it.
#[derive(Default)]
struct Client {
    event: RefCell<Option<Bytes>>,
    waker: RefCell<Option<Waker>>,
    has_ended: Cell<bool>,
}

/// The events of one client.
pub(super) struct EventStream {
    client: Rc<Client>,
    statistics: Arc<Statistics>,
    comment: Pin<Box<Sleep>>,
}

impl EventHub {
    pub(super) fn new(slot: &Arc<Slot>, statistics: &Arc<Statistics>, encoder: &Rc<RefCell<Encoder>>) -> Rc<Self> {
        Rc::new(Self {
            slot: Arc::clone(slot),
            statistics: Arc::clone(statistics),
            clients: RefCell::default(),
            is_running: Cell::new(false),
            encoder: Rc::clone(encoder),
        })
    }

    /// A stream that begins with the last sample; none when there are too many.
    pub(super) fn subscribe(self: &Rc<Self>) -> Option<EventStream> {
        if self.statistics.streams.load(Ordering::Relaxed) >= STREAMS as u64 {
            return None;
        }
        self.statistics.streams.fetch_add(1, Ordering::Relaxed);
        let client = Rc::<Client>::default();
        *client.event.borrow_mut() = self.slot.tick().map(|tick| self.encode(&tick.sample));
        self.clients.borrow_mut().push(Rc::downgrade(&client));
        if !self.is_running.replace(true) {
            tokio::task::spawn_local(Rc::clone(self).run());
        }
        let comment = Box::pin(sleep(STREAM_COMMENT));
        Some(EventStream { client, statistics: Arc::clone(&self.statistics), comment })
    }

    /// Ends all streams.
    pub(super) fn end(&self) {
        for client in self.clients.borrow().iter().filter_map(Weak::upgrade) {
            client.has_ended.set(true);
            client.wake();
        }
    }

    /// Hands each sample to all clients, as long as there are any.
    async fn run(self: Rc<Self>) {
        loop {
            self.slot.published().await;
            self.clients.borrow_mut().retain(|client| client.strong_count() > 0);
            if self.clients.borrow().is_empty() {
                self.is_running.set(false);
                return;
            }
            let Some(tick) = self.slot.tick() else { continue };
            let event = self.encode(&tick.sample);
            for client in self.clients.borrow().iter().filter_map(Weak::upgrade) {
                if client.event.replace(Some(event.clone())).is_some() {
                    self.statistics.drop_event();
                }
                client.wake();
            }
        }
    }

    fn encode(&self, sample: &Sample) -> Bytes {
        let mut event = b"data: ".to_vec();
        // One line with its end; another one ends the event.
        self.encoder.borrow_mut().encode(sample, Style::Line, &mut event);
        event.push(b'\n');
        event.into()
    }
}

impl Client {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl EventStream {
    /// The next event, or a comment after a while without one; none at the end.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.client.has_ended.get() {
            return Poll::Ready(None);
        }
        let event = self.client.event.take();
        if event.is_none() && self.comment.as_mut().poll(cx).is_pending() {
            *self.client.waker.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.comment.as_mut().reset(Instant::now() + STREAM_COMMENT);
        Poll::Ready(Some(event.unwrap_or_else(|| Bytes::from_static(b":\n\n"))))
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.statistics.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;
    use crate::status::{AgentFacts, Settings, TickView};

    fn publish(slot: &Slot, tick: u64) {
        slot.publish(TickView::with_sample(Sample { tick: Duration::from_secs(tick), ..Sample::default() }));
    }

    #[tokio::test]
    async fn slow_client_gets_the_newest_event() {
        let slot = Arc::new(Slot::new(AgentFacts::at_start(Settings::default())));
        let statistics = Arc::<Statistics>::default();
        let test = async {
            let hub = EventHub::new(&slot, &statistics, &Rc::default());
            let (mut behind, mut quick) = (hub.subscribe().expect("room"), hub.subscribe().expect("room"));
            for tick in 1..=3 {
                tokio::task::yield_now().await;
                publish(&slot, tick);
                let event = poll_fn(|cx| quick.poll_next(cx)).await;
                assert_eq!(event.as_deref(), Some(b"data: {}\n\n".as_slice()));
            }
            assert!(behind.client.event.borrow().is_some(), "one is kept");
            assert_eq!(statistics.dropped_events(), 2);
            poll_fn(|cx| behind.poll_next(cx)).await;
            assert!(behind.client.event.borrow().is_none());
            drop((behind, quick));
            publish(&slot, 4);
            while hub.is_running.get() {
                tokio::task::yield_now().await;
            }
            assert_eq!(statistics.streams.load(Ordering::Relaxed), 0);
            let mut last = hub.subscribe().expect("room");
            hub.end();
            assert_eq!(poll_fn(|cx| last.poll_next(cx)).await, None);
        };
        tokio::task::LocalSet::new().run_until(test).await;
    }
}
