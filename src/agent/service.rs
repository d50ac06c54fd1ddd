//! The agent as a service: which message its service manager gets when. The protocol is in `process::notify`; a run that no
//! manager has started sends nothing.
//!
//! | message | when |
//! |---|---|
//! | `READY=1` | the threads have responded, or were given a few seconds, and the native files were read once; no tick or plugin is waited for |
//! | `STATUS=` | with `READY=1`, and after a tick or a sign of life where it has changed |
//! | `WATCHDOG=1` | every half of the manager's time, while no tick is overdue by more than that |
//! | `RELOADING=1` | at each request to reload, with the time of the monotonic clock; `READY=1` when none is under way any more |
//! | `STOPPING=1` | at the end, before the last samples are written |
//!
//! No plugin has a part in that: the main thread waits for none, and neither does this.

use std::time::{Duration, Instant};

use crate::clock::schedule::{Tick, wall_clock};
use crate::config::ServiceManager;
use crate::plugin::Roster;
use crate::process::notify::Notifier;

/// The agent as its service manager sees it.
pub(super) struct Service {
    pub(super) notifier: Notifier,
    /// The interval and the plugins in the last status line that was sent.
    shown: Option<(Duration, Roster)>,
    /// The next tick, and its moment on the clock that cannot be set: after a step of the wall clock no tick is overdue
    /// before the step is noticed.
    due: Option<(Duration, Instant)>,
    /// Whether the manager was told of a reload, and not yet of its end.
    is_reloading: bool,
}

impl Service {
    pub(super) fn new(manager: &ServiceManager) -> Self {
        let notifier = Notifier::new(manager.notify_socket.as_deref(), manager.watchdog);
        Self { notifier, shown: None, due: None, is_reloading: false }
    }

    /// Whether there is a manager to notify.
    pub(super) fn is_managed(&self) -> bool {
        self.notifier.is_enabled()
    }

    /// Shows a status line if it has changed. `plugins` is none where their states are not known at once.
    pub(super) fn show(&mut self, interval: Duration, plugins: Option<Roster>) {
        let Some(plugins) = plugins.filter(|&plugins| self.is_managed() && self.shown != Some((interval, plugins)))
        else {
            return;
        };
        let every = humantime::format_duration(interval);
        if self.notifier.status(&format!("ticks every {every}, {plugins}")) {
            self.shown = Some((interval, plugins));
        }
    }

    /// Shows a status line at a sign of life: one at each tick is enough where ticks come sooner.
    pub(super) fn show_between_ticks(&mut self, interval: Duration, plugins: impl FnOnce() -> Option<Roster>) {
        if self.notifier.watchdog_period().is_some_and(|period| period < interval) {
            self.show(interval, plugins());
        }
    }

    /// Reports a request to reload.
    pub(super) fn reloading(&mut self) {
        self.is_reloading = true;
        self.notifier.reloading();
    }

    /// Reports a reload that was requested during the start, and the end of the last one.
    pub(super) fn follow_reload(&mut self, is_active: bool) {
        if is_active && !self.is_reloading {
            self.reloading();
        } else if self.is_reloading && !is_active {
            self.is_reloading = false;
            self.notifier.ready();
        }
    }

    /// Notes the next tick.
    pub(super) fn expect(&mut self, tick: Tick) {
        if self.is_managed() {
            self.expect_at(tick.since_epoch, wall_clock(), Instant::now());
        }
    }

    fn expect_at(&mut self, tick: Duration, wall_clock: Duration, now: Instant) {
        // One that lies ahead is noted again, since the clock may have been set back. One that has passed stays as overdue as it is.
        let is_known = self.due.is_some_and(|(known, _)| known == tick);
        if tick > wall_clock || !is_known {
            self.due = now.checked_add(tick.saturating_sub(wall_clock)).map(|at| (tick, at));
        }
    }

    /// By how much the next tick is overdue.
    fn overdue(&self, now: Instant) -> Duration {
        self.due.map(|(_, at)| now.saturating_duration_since(at)).unwrap_or_default()
    }

    /// When to [`give_sign`](Self::give_sign) of life.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.notifier.wake_at()
    }

    /// Gives a sign of life if one is due and no tick is overdue.
    pub(super) fn give_sign(&mut self) {
        let Some(period) = self.notifier.watchdog_period() else { return self.notifier.watchdog(true) };
        self.notifier.watchdog(self.overdue(Instant::now()) <= period);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::plugin::Tally;

    /// A manager's socket, and the agent as its service.
    fn connect(watchdog: Option<Duration>) -> (tempfile::TempDir, UnixDatagram, Service) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("bound");
        manager.set_nonblocking(true).expect("set");
        let service = Service::new(&ServiceManager { notify_socket: Some(path.into()), watchdog });
        (directory, manager, service)
    }

    fn message(manager: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// Waits until a sign of life is due, and gives it.
    fn give_due_sign(service: &mut Service) {
        let at = service.wake_at().expect("a watchdog");
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        service.give_sign();
    }

    #[test]
    fn status_is_sent_only_when_it_changes() {
        let (_directory, manager, mut service) = connect(None);
        let second = Duration::from_secs(1);
        let none = Some(Roster::Counted(Tally::default()));
        for plugins in [Some(Roster::Unscanned), Some(Roster::Unscanned), None, none, none] {
            service.show(second, plugins);
        }
        service.show(2 * second, none);
        service.show(2 * second, Some(Roster::Stopped));
        let lines = [
            "ticks every 1s, loading plugins",
            "ticks every 1s, no plugins",
            "ticks every 2s, no plugins",
            "ticks every 2s, plugins not called",
        ];
        for line in lines {
            assert_eq!(message(&manager), Some(format!("STATUS={line}")));
        }
        assert_eq!(message(&manager), None);
    }

    #[test]
    fn overdue_tick_withholds_the_watchdog() {
        let (_directory, manager, mut service) = connect(Some(Duration::from_millis(200)));
        let tick = |since_epoch| Tick { index: 0, previous: None, since_epoch };
        service.expect(tick(wall_clock() + Duration::from_secs(3600)));
        give_due_sign(&mut service);
        assert_eq!(message(&manager), Some("WATCHDOG=1".to_owned()), "the interval is longer than the watchdog's");
        let now = Instant::now();
        service.due = now.checked_sub(Duration::from_secs(60)).map(|at| (wall_clock(), at));
        assert!(service.due.is_some(), "the host runs for a minute");
        give_due_sign(&mut service);
        assert_eq!(message(&manager), None, "the tick was due a minute ago");
        service.expect(tick(wall_clock() + Duration::from_secs(1)));
        give_due_sign(&mut service);
        assert_eq!(message(&manager), Some("WATCHDOG=1".to_owned()), "it was served");
    }

    #[test]
    fn clock_that_is_set_makes_no_tick_overdue() {
        let (_directory, _manager, mut service) = connect(None);
        let (start, second, hour) = (Instant::now(), Duration::from_secs(1), Duration::from_secs(3600));
        service.expect_at(10 * hour, (10 * hour).saturating_sub(second), start);
        assert_eq!(service.overdue(start + 3 * second), 2 * second);
        // The loop comes by while the tick is overdue.
        service.expect_at(10 * hour, 10 * hour + 4 * second, start + 5 * second);
        assert_eq!(service.overdue(start + 5 * second), 4 * second);
        // Set back by an hour: the tick is an hour ahead again.
        service.expect_at(10 * hour, 9 * hour, start + 6 * second);
        assert_eq!(service.overdue(start + hour), Duration::ZERO);
        // Set forward by a day: the tick is served at once, and the next one is awaited.
        service.expect_at(34 * hour, 33 * hour, start + 7 * second);
        assert_eq!(service.overdue(start + hour), Duration::ZERO);
        assert_eq!(service.overdue(start + 2 * hour), hour.saturating_sub(7 * second));
    }

    #[test]
    fn unmanaged_agent_has_nothing_to_do() {
        let mut service = Service::new(&ServiceManager::default());
        service.show(Duration::from_secs(1), Some(Roster::Unscanned));
        service.give_sign();
        assert!(!service.is_managed() && service.wake_at().is_none());
    }
}
