//! Messages to the service manager that started the agent, in the protocol of `sd_notify(3)`: datagrams to a unix socket. It
//! never waits: what the socket does not take now is sent later, as far as it matters then. Which state the agent is in, and
//! whether it is alive, is the caller's business.
//!
//! The life of a service is `READY=1`, any number of `RELOADING=1` and `READY=1`, and `STOPPING=1`. A reload calls
//! [`reloading`](Notifier::reloading) before it reads the configuration and [`ready`](Notifier::ready) once it is committed
//! or refused; a manager of `Type=notify-reload` waits for both.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How many changes of state wait for a socket that takes none now. More than a reload and the end are out of date.
const WAITING_STATES: usize = 4;

/// The time between two attempts while the socket is full.
const RETRY: Duration = Duration::from_secs(1);

/// The shortest time between two signs of life: a manager that asks for more would cost more than the samples.
const MIN_WATCHDOG: Duration = Duration::from_millis(50);

/// The longest, so that no moment is beyond the clock's range.
const MAX_WATCHDOG: Duration = Duration::from_hours(24);

/// What a manager that is not notified does.
const CONSEQUENCE: &str = "the service manager may regard the agent as not started, and restart it";

/// The connection to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<NotifySocket>,
    /// Changes of state that the socket has not taken yet.
    waiting: VecDeque<String>,
    /// When they are tried again, where the socket was full.
    retry_at: Option<Instant>,
    watchdog: Option<Watchdog>,
    /// Whether the last message was not taken, which is reported once.
    is_failing: bool,
}

/// The manager's socket.
#[derive(Debug)]
struct NotifySocket {
    address: SocketAddr,
    /// None until it was reached, and after the manager has closed it.
    connection: Option<UnixDatagram>,
}

/// The signs of life that the manager wants.
#[derive(Debug)]
struct Watchdog {
    /// The time between two: half of that after which the manager ends the agent.
    period: Duration,
    /// When the next one is due.
    due: Instant,
}

impl Notifier {
    /// A connection to the socket that the manager has named: a path, or a name that begins with `@`. `watchdog` is the time
    /// after which the manager ends an agent that gave no sign of life. Without a socket every message is dropped.
    #[must_use]
    pub fn new(socket: Option<&OsStr>, watchdog: Option<Duration>) -> Self {
        let mut notifier = Self::default();
        let Some(name) = socket else { return notifier };
        match address(name) {
            Ok(address) => {
                notifier.socket = Some(NotifySocket { address, connection: None });
                notifier.watchdog = watchdog.map(|timeout| {
                    let period = (timeout / 2).clamp(MIN_WATCHDOG, MAX_WATCHDOG);
                    Watchdog { period, due: Instant::now() + period }
                });
            }
            Err(error) => notifier.report(&error),
        }
        notifier
    }

    /// Whether there is a service manager to notify.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.socket.is_some()
    }

    /// Reports that the agent works: at the end of its start, and of each reload.
    pub fn ready(&mut self) {
        self.put("READY=1".to_owned());
    }

    /// Reports that the configuration is being read again. [`ready`](Self::ready) follows.
    pub fn reloading(&mut self) {
        // systemd compares it with the moment at which it sent the signal.
        let now = clock_gettime(ClockId::Monotonic);
        let since_boot = Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.try_into().unwrap_or(0));
        self.put(format!("RELOADING=1\nMONOTONIC_USEC={}", since_boot.as_micros()));
    }

    /// Reports that the agent ends.
    pub fn stopping(&mut self) {
        self.put("STOPPING=1".to_owned());
    }

    /// Shows people a line about the agent. Returns whether the socket took it; otherwise it is to be given again.
    pub fn status(&mut self, text: &str) -> bool {
        let line = text.replace(|character: char| character.is_control(), " ");
        self.flush() && self.send(&format!("STATUS={line}")).is_ok()
    }

    /// Gives the sign of life that is due, unless the agent is not alive: then it is tried again soon, so that one that
    /// recovers is not ended. Sends what waits, too. To be called at [`wake_at`](Self::wake_at), or more often.
    pub fn watchdog(&mut self, is_alive: bool) {
        let now = Instant::now();
        if self.retry_at.is_some_and(|at| at <= now) {
            self.flush();
        }
        let Some(Watchdog { period, .. }) = self.watchdog.as_ref().filter(|watchdog| watchdog.due <= now) else {
            return;
        };
        let period = *period;
        // A manager that was sent nothing else yet does not wait for it.
        let is_sent = is_alive && self.flush() && self.send("WATCHDOG=1").is_ok();
        let pause = if is_sent { period } else { (period / 4).max(MIN_WATCHDOG) };
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.due = now + pause;
        }
    }

    /// The time between two signs of life, if the manager wants any. A tick that is later than this is a reason to give none.
    #[must_use]
    pub fn watchdog_period(&self) -> Option<Duration> {
        self.watchdog.as_ref().map(|watchdog| watchdog.period)
    }

    /// When [`watchdog`](Self::watchdog) is to be called.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        let due = self.watchdog.as_ref().map(|watchdog| watchdog.due);
        [due, self.retry_at].into_iter().flatten().min()
    }

    /// Sends a change of state, after those that wait.
    fn put(&mut self, state: String) {
        if self.is_enabled() {
            if self.waiting.len() == WAITING_STATES {
                self.waiting.pop_front();
            }
            self.waiting.push_back(state);
            self.flush();
        }
    }

    /// Sends what waits. Returns whether nothing is left.
    fn flush(&mut self) -> bool {
        while let Some(state) = self.waiting.pop_front() {
            if self.send(&state).is_err() {
                self.waiting.push_front(state);
                return false;
            }
        }
        self.retry_at = None;
        true
    }

    /// Sends one message if there is a manager and its socket has room.
    fn send(&mut self, message: &str) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let sent = socket.send(message.as_bytes());
        match &sent {
            Ok(()) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("service manager notified again");
                }
            }
            Err(error) => {
                // A socket that is gone is tried with the next message.
                self.retry_at = (error.kind() == io::ErrorKind::WouldBlock).then(|| Instant::now() + RETRY);
                self.report(error);
            }
        }
        sent
    }

    fn report(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let remedy = "restart the agent by its service manager; unset NOTIFY_SOCKET where it has none";
            tracing::warn!(reason = %error, remedy, consequence = CONSEQUENCE, "service manager not notified");
        }
    }
}

impl NotifySocket {
    /// Sends a datagram without waiting. The path is looked up once, and again only after the manager has closed its socket.
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if self.connection.is_none() {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.connect_addr(&self.address)?;
            self.connection = Some(socket);
        }
        let Some(connection) = &self.connection else { return Ok(()) };
        let sent = connection.send(message);
        // Of another kind than a full socket, which the next one is not.
        if sent.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
            self.connection = None;
        }
        sent.map(drop)
    }
}

/// The address that the manager has named.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    use std::os::unix::ffi::OsStrExt as _;

    match name.as_bytes() {
        [b'@', name @ ..] => abstract_address(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => {
            let name = name.display();
            let text = format!("$NOTIFY_SOCKET is {name}, neither a path nor a name that begins with @");
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;

    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux has sockets with a name that begins with @"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manager's socket, and a notifier for it.
    fn connect(watchdog: Option<Duration>) -> (tempfile::TempDir, UnixDatagram, Notifier) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("bound");
        manager.set_nonblocking(true).expect("set");
        (directory, manager, Notifier::new(Some(path.as_os_str()), watchdog))
    }

    /// The messages that have arrived.
    fn messages(manager: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 4096];
        let next =
            || manager.recv(&mut buffer).ok().map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned());
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn messages_follow_the_protocol() {
        let (_directory, manager, mut notifier) = connect(None);
        assert!(notifier.is_enabled());
        notifier.ready();
        assert!(notifier.status("ticks every 10s\nREADY=1"));
        let before = clock_gettime(ClockId::Monotonic);
        notifier.reloading();
        notifier.ready();
        notifier.stopping();
        let messages = messages(&manager);
        let reloading = messages[2].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("with the time");
        let micros: i64 = reloading.parse().expect("a number");
        assert!(micros >= before.tv_sec * 1_000_000 + before.tv_nsec / 1000, "{micros} {before:?}");
        assert_eq!(messages[..2], ["READY=1", "STATUS=ticks every 10s READY=1"]);
        assert_eq!(messages[3..], ["READY=1", "STOPPING=1"]);
        assert_eq!(notifier.wake_at(), None, "no watchdog");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn abstract_socket_gets_messages() {
        let name = format!("gauged-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&abstract_address(name.as_bytes()).expect("a name")).expect("bound");
        manager.set_nonblocking(true).expect("set");
        Notifier::new(Some(OsStr::new(&format!("@{name}"))), None).ready();
        assert_eq!(messages(&manager), ["READY=1"]);
    }

    #[test]
    fn full_socket_keeps_changes_of_state() {
        let (_directory, manager, mut notifier) = connect(None);
        let mut sent = 0;
        while notifier.status("full") {
            sent += 1;
            assert!(sent < 1_000_000, "the socket has no end");
        }
        notifier.ready();
        assert!(notifier.is_failing && notifier.wake_at().is_some(), "it is tried again although nothing else happens");
        assert_eq!(messages(&manager).len(), sent);
        notifier.retry_at = Some(Instant::now());
        notifier.watchdog(true);
        assert_eq!(messages(&manager), ["READY=1"]);
        assert!(!notifier.is_failing && notifier.wake_at().is_none());
        for _ in 0..WAITING_STATES {
            notifier.reloading();
        }
        notifier.stopping();
        assert_eq!(messages(&manager).len(), WAITING_STATES + 1);
    }

    #[test]
    fn missing_socket_is_reached_once_it_is_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let mut notifier = Notifier::new(Some(path.as_os_str()), None);
        notifier.ready();
        assert!(!notifier.status("lost") && notifier.is_failing);
        let manager = UnixDatagram::bind(&path).expect("bound");
        manager.set_nonblocking(true).expect("set");
        assert!(notifier.status("here"));
        assert_eq!(messages(&manager), ["READY=1", "STATUS=here"]);
        // Closed and opened again.
        drop(manager);
        std::fs::remove_file(&path).expect("removed");
        assert!(!notifier.status("lost"));
        let manager = UnixDatagram::bind(&path).expect("bound");
        manager.set_nonblocking(true).expect("set");
        assert!(notifier.status("again"));
        assert_eq!(messages(&manager), ["STATUS=again"]);
    }

    #[test]
    fn excess_changes_of_state_drop_the_oldest() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut notifier = Notifier::new(Some(directory.path().join("none").as_os_str()), None);
        for _ in 0..3 {
            notifier.ready();
            notifier.reloading();
        }
        notifier.stopping();
        assert_eq!(notifier.waiting.len(), WAITING_STATES);
        assert_eq!(notifier.waiting.back().map(String::as_str), Some("STOPPING=1"));
    }

    #[test]
    fn unknown_kinds_of_address_are_refused() {
        for name in ["vsock:2:1234", "relative", ""] {
            let mut notifier = Notifier::new(Some(OsStr::new(name)), Some(Duration::from_secs(1)));
            assert!(!notifier.is_enabled() && notifier.is_failing, "{name}");
            notifier.ready();
            assert!(notifier.waiting.is_empty() && notifier.wake_at().is_none(), "{name}");
        }
    }

    #[test]
    fn watchdog_is_fed_only_when_due_and_alive() {
        let (_directory, manager, mut notifier) = connect(Some(Duration::from_secs(3600)));
        assert_eq!(notifier.watchdog_period(), Some(Duration::from_secs(1800)));
        notifier.watchdog(true);
        assert!(messages(&manager).is_empty(), "not due");
        let make_due = |notifier: &mut Notifier| {
            if let Some(watchdog) = &mut notifier.watchdog {
                watchdog.due = Instant::now();
            }
        };
        make_due(&mut notifier);
        notifier.watchdog(false);
        assert!(messages(&manager).is_empty(), "not alive");
        let retry = notifier.wake_at().expect("a moment").saturating_duration_since(Instant::now());
        assert!(retry < Duration::from_secs(900), "an agent that recovers is in time: {retry:?}");
        make_due(&mut notifier);
        notifier.watchdog(true);
        assert_eq!(messages(&manager), ["WATCHDOG=1"]);
        assert!(notifier.wake_at().expect("a moment") > Instant::now() + Duration::from_secs(900));
    }

    #[test]
    fn absurd_watchdog_times_are_bounded() {
        let period = |timeout| connect(Some(timeout)).2.watchdog_period();
        assert_eq!(period(Duration::from_micros(1)), Some(MIN_WATCHDOG));
        assert_eq!(period(Duration::from_micros(u64::MAX)), Some(MAX_WATCHDOG));
    }
}
