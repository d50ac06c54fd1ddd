//! Readings that may take any time, on a thread of their own: the frequency of the CPUs and the host name every ten seconds,
//! and the number of cores when a tick asks for it. The kernel may have to wake each CPU for its frequency, and `/etc/hostname`
//! may be on a mount that does not respond. A tick takes the last readings and never waits.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::topology::{Frequency, frequency, physical_count};
use crate::config::Config;
use crate::hostname::Hostname;
use crate::sample::Value;

/// The time between two readings.
const INTERVAL: Duration = Duration::from_secs(10);

/// How long the start waits for the first readings: longer than a disk takes to spin up.
const PATIENCE: Duration = Duration::from_secs(5);

/// The last readings of the CPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CpuReadings {
    /// The number of cores. None if the host does not report it.
    pub physical: Option<u64>,
    /// Their mean frequency.
    pub frequency: Frequency,
}

/// The last readings, for the collectors. The thread ends when they are dropped, or after the reading that it hangs in.
#[derive(Debug)]
pub struct SlowReadings {
    latest: Arc<Latest>,
    cores: Cores,
}

/// How the number of cores is read again.
#[derive(Debug)]
enum Cores {
    /// By the thread, which this wakes. One request is enough: it is taken before the reading begins.
    OnThread(SyncSender<CoresChanged>),
    /// By whoever asks.
    AtOnce(Sources),
}

/// A request to read the number of cores again.
#[derive(Debug)]
struct CoresChanged;

/// The readings that the thread shares with the ticks.
#[derive(Debug, Default)]
struct Latest {
    /// Behind a lock because two threads use them. It is held for a copy, never across a system call.
    readings: Mutex<Readings>,
}

#[derive(Debug)]
struct Readings {
    cpu: CpuReadings,
    hostname: Value,
}

impl Default for Readings {
    fn default() -> Self {
        Self { cpu: CpuReadings::default(), hostname: Value::Null }
    }
}

impl Latest {
    fn lock(&self) -> MutexGuard<'_, Readings> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the CPUs are described.
#[derive(Debug, Clone)]
struct Sources {
    /// The root of the measured host. None if the CPUs are not measured.
    cpu_root: Option<PathBuf>,
}

impl Sources {
    fn new(config: &Config) -> Self {
        Self { cpu_root: config.cpu.enabled.then(|| config.root.clone()) }
    }

    fn read_cores(&self, latest: &Latest) {
        if let Some(root) = &self.cpu_root {
            let physical = physical_count(root);
            latest.lock().cpu.physical = physical;
        }
    }

    fn read_frequency(&self, latest: &Latest) {
        if let Some(root) = &self.cpu_root {
            let frequency = frequency(root);
            latest.lock().cpu.frequency = frequency;
        }
    }
}

impl SlowReadings {
    /// Starts the thread, and waits for its first readings: no longer than a few seconds, after which they are null until
    /// they arrive, and a warning is logged.
    ///
    /// # Errors
    ///
    /// When the host has no more threads.
    pub async fn start(config: &Config) -> io::Result<Arc<Self>> {
        let (latest, sources) = (Arc::<Latest>::default(), Sources::new(config));
        let (requests, requested) = sync_channel(1);
        let (done, first) = oneshot::channel();
        let (shared, source) = (Arc::clone(&latest), config.hostname.clone());
        thread::Builder::new().name("slow".to_owned()).spawn(move || {
            sources.read_cores(&shared);
            sources.read_frequency(&shared);
            let mut hostname = Hostname::new(source);
            shared.lock().hostname = hostname.get().into();
            // The agent may not wait any more.
            let _ = done.send(());
            refresh(&sources, &mut hostname, &shared, &requested);
        })?;
        if tokio::time::timeout(PATIENCE, first).await.is_err() {
            let waited_s = PATIENCE.as_secs();
            tracing::warn!(
                waited_s,
                remedy = "check the mounts below --root; the files are read as soon as they respond",
                consequence = "the host name or the number and frequency of the CPUs are null until then",
                "host name or CPUs not read yet"
            );
        }
        Ok(Arc::new(Self { latest, cores: Cores::OnThread(requests) }))
    }

    /// Reads the CPUs on this thread: once, and their number when it is asked for. There is no host name.
    #[must_use]
    pub fn without_thread(config: &Config) -> Arc<Self> {
        let (latest, sources) = (Arc::<Latest>::default(), Sources::new(config));
        sources.read_cores(&latest);
        sources.read_frequency(&latest);
        Arc::new(Self { latest, cores: Cores::AtOnce(sources) })
    }

    /// The last readings of the CPUs.
    #[must_use]
    pub fn cpu(&self) -> CpuReadings {
        self.latest.lock().cpu
    }

    /// The host name that was read last, or null.
    #[must_use]
    pub fn hostname(&self) -> Value {
        self.latest.lock().hostname.clone()
    }

    /// Has the number of cores read again, without waiting for it.
    pub fn request_cores(&self) {
        match &self.cores {
            // A full channel has a request that nothing was read for yet; without its receiver there is nothing to read.
            Cores::OnThread(requests) => drop(requests.try_send(CoresChanged)),
            Cores::AtOnce(sources) => sources.read_cores(&self.latest),
        }
    }
}

/// Reads again every ten seconds, and the number of cores when it is requested, until the readings are dropped.
fn refresh(sources: &Sources, hostname: &mut Hostname, latest: &Latest, requests: &Receiver<CoresChanged>) {
    let mut due = Instant::now() + INTERVAL;
    loop {
        match requests.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(CoresChanged) => sources.read_cores(latest),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                due = Instant::now() + INTERVAL;
                sources.read_frequency(latest);
                if hostname.refresh() {
                    latest.lock().hostname = hostname.get().into();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::Overrides;
    use crate::hostname::HostnameSource;

    fn write_siblings(root: &Path, cpu: u32) {
        let directory = root.join(format!("sys/devices/system/cpu/cpu{cpu}/topology"));
        fs::create_dir_all(&directory).expect("created");
        fs::write(directory.join("core_cpus_list"), format!("{cpu}\n")).expect("written");
    }

    fn config(root: &Path) -> Config {
        let overrides =
            Overrides { root: Some(root.to_owned()), file: Some("/dev/null".into()), ..Overrides::default() };
        Config { hostname: HostnameSource::Fixed("mine".to_owned()), ..Config::load(&overrides).expect("valid") }
    }

    #[tokio::test]
    async fn cores_are_read_on_request() {
        let root = tempfile::tempdir().expect("a temporary directory");
        write_siblings(root.path(), 0);
        let slow = SlowReadings::start(&config(root.path())).await.expect("a thread");
        assert_eq!((slow.cpu().physical, slow.hostname()), (Some(1), "mine".into()));
        write_siblings(root.path(), 1);
        slow.request_cores();
        let until = Instant::now() + Duration::from_secs(60);
        while slow.cpu().physical != Some(2) {
            assert!(Instant::now() < until, "never read");
            thread::sleep(Duration::from_millis(1));
        }
        let at_once = SlowReadings::without_thread(&config(root.path()));
        write_siblings(root.path(), 2);
        at_once.request_cores();
        assert_eq!((at_once.cpu().physical, at_once.hostname()), (Some(3), Value::Null));
    }

    #[test]
    fn requests_to_a_hanging_thread_do_not_wait() {
        let (requests, requested) = sync_channel(1);
        let slow = SlowReadings { latest: Arc::default(), cores: Cores::OnThread(requests) };
        (0..10).for_each(|_| slow.request_cores());
        assert_eq!(requested.try_iter().count(), 1);
    }

    #[test]
    fn dropped_readings_end_the_thread() {
        let (requests, requested) = sync_channel(1);
        let slow = SlowReadings { latest: Arc::default(), cores: Cores::OnThread(requests) };
        let (ended, end) = sync_channel(1);
        let latest = Arc::clone(&slow.latest);
        thread::spawn(move || {
            let mut hostname = Hostname::new(HostnameSource::Fixed("mine".to_owned()));
            refresh(&Sources { cpu_root: None }, &mut hostname, &latest, &requested);
            ended.send(())
        });
        drop(slow);
        assert_eq!(end.recv_timeout(INTERVAL / 2), Ok(()));
    }
}
