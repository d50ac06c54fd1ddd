//! Readings that may take any time, on a thread of their own: the frequency of the CPUs and the host name every ten seconds, the
//! names and versions of the system every minute, and the number of cores when a tick asks for it. The kernel may have to wake each
//! CPU for its frequency, and `/etc` may be on a mount that does not respond. A tick takes the last readings and never waits. They are null until the thread, for
//! which a host may have to be asked more than once, has read them.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

use super::frequency::{Frequency, frequency};
use super::identity::{Identity, IdentityReader};
use super::topology::physical_count;
use crate::config::Config;
use crate::hostname::{Hostname, HostnameSource};
use crate::procfs::HostFiles;
use crate::sample::Value;
use crate::thread::hand_over;

/// The time between two readings.
const INTERVAL: Duration = Duration::from_secs(10);

/// The number of intervals from one reading of the system's names and versions to the next. They change when the system is
/// upgraded.
const INTERVALS_OF_IDENTITY: u32 = 6;

/// How long the start waits for the first readings: longer than a disk takes to spin up.
const PATIENCE: Duration = Duration::from_secs(5);

/// The last readings of the CPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CpuReadings {
    /// The number of cores. None if the host does not report it.
    pub physical: Option<u64>,
    /// Their mean frequency.
    pub frequency: Frequency,
    /// The number of lines and values of their files that were left out so far.
    pub skipped_lines: u64,
}

/// The last readings, for the collectors. The thread ends when they are dropped, or after the reading that it hangs in.
#[derive(Debug)]
pub struct SlowReadings {
    latest: Arc<Latest>,
    cores: Cores,
    /// The thread's work; none once it runs. Behind a lock because all holders of the readings share them.
    reader: Mutex<Option<Reader>>,
    /// Whether everything was read once.
    first: watch::Receiver<bool>,
}

/// How the number of cores is read again.
#[derive(Debug)]
enum Cores {
    /// By the thread, which this wakes. One request is enough: it is taken before the reading begins.
    OnThread(SyncSender<Wake>),
    /// By whoever asks, in tests and benchmarks. Behind a lock because all holders of the readings share them.
    AtOnce(Mutex<Sources>),
}

/// A request to the thread: to read the number of cores again, or to look for another configuration.
#[derive(Debug)]
struct Wake;

/// The readings that the thread shares with the ticks.
#[derive(Debug, Default)]
struct Latest {
    /// Behind a lock because two threads use them. It is held for a copy, never across a system call.
    readings: Mutex<Readings>,
    /// What another configuration wants to be read, until the thread takes it. Behind a lock as that.
    reconfigured: Mutex<Option<Reconfigured>>,
}

/// What another configuration has read.
#[derive(Debug)]
struct Reconfigured {
    /// The root of the measured host. None if the CPUs are not measured.
    cpu: Option<PathBuf>,
    /// As that. None if the names and versions of the system are not measured.
    identity: Option<PathBuf>,
    hostname: HostnameSource,
}

#[derive(Debug)]
struct Readings {
    cpu: CpuReadings,
    identity: Identity,
    hostname: Value,
}

impl Default for Readings {
    fn default() -> Self {
        Self { cpu: CpuReadings::default(), identity: Identity::default(), hostname: Value::Null }
    }
}

impl Latest {
    fn lock(&self) -> MutexGuard<'_, Readings> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the CPUs and the system are described.
#[derive(Debug)]
struct Sources {
    /// The files of the measured host. None if the CPUs are not measured.
    cpu: Option<HostFiles>,
    /// None if the names and versions of the system are not measured.
    identity: Option<IdentityReader>,
}

impl Sources {
    fn new(config: &Config) -> Self {
        Self {
            cpu: config.cpu.enabled.then(|| HostFiles::new(&config.root)),
            identity: config.host.enabled.then(|| IdentityReader::new(&config.root)),
        }
    }

    fn read_identity(&mut self, latest: &Latest) {
        if let Some(reader) = &mut self.identity {
            let identity = reader.read();
            latest.lock().identity = identity;
        }
    }

    fn read_cores(&mut self, latest: &Latest) {
        if let Some(files) = &mut self.cpu {
            let physical = physical_count(files);
            let cpu = &mut latest.lock().cpu;
            (cpu.physical, cpu.skipped_lines) = (physical, files.skipped_lines());
        }
    }

    fn read_frequency(&mut self, latest: &Latest) {
        if let Some(files) = &mut self.cpu {
            files.begin();
            let frequency = frequency(files);
            let cpu = &mut latest.lock().cpu;
            (cpu.frequency, cpu.skipped_lines) = (frequency, files.skipped_lines());
        }
    }
}

impl SlowReadings {
    /// Readings without their thread: null, but for a host name that the configuration fixes.
    #[must_use]
    pub fn new(config: &Config) -> Arc<Self> {
        let latest = Arc::<Latest>::default();
        if let HostnameSource::Fixed(name) = &config.hostname {
            latest.lock().hostname = name.as_str().into();
        }
        let (requests, requested) = sync_channel(1);
        let (done, first) = watch::channel(false);
        let reader = Reader {
            latest: Arc::clone(&latest),
            sources: Sources::new(config),
            hostname: config.hostname.clone(),
            requested,
            done,
        };
        Arc::new(Self { latest, cores: Cores::OnThread(requests), reader: Mutex::new(Some(reader)), first })
    }

    /// Starts the thread, unless it runs.
    ///
    /// # Errors
    ///
    /// When the host has no more threads.
    pub fn start_thread(&self) -> io::Result<()> {
        hand_over("slow", &mut *self.lock_reader(), Reader::run)
    }

    /// Waits for the first readings of the thread: no longer than a few seconds, after which a warning is logged, and not
    /// at all without the thread.
    pub async fn wait_first(&self) {
        if self.lock_reader().is_some() {
            return;
        }
        let mut first = self.first.clone();
        if timeout(PATIENCE, first.wait_for(|&is_read| is_read)).await.is_err() {
            let waited_s = PATIENCE.as_secs();
            tracing::warn!(
                waited_s,
                remedy = "check the mounts below --root; the files are read as soon as they respond",
                consequence = "the host name, the module host, or number and frequency of the CPUs are null until then",
                "host name or CPUs not read yet"
            );
        }
    }

    /// Reads the CPUs on this thread: once, and their number when it is asked for. There is no host name.
    #[must_use]
    pub fn without_thread(config: &Config) -> Arc<Self> {
        let (latest, mut sources) = (Arc::<Latest>::default(), Sources::new(config));
        sources.read_cores(&latest);
        sources.read_frequency(&latest);
        sources.read_identity(&latest);
        let (_, first) = watch::channel(true);
        Arc::new(Self { latest, cores: Cores::AtOnce(Mutex::new(sources)), reader: Mutex::new(None), first })
    }

    /// The last readings of the CPUs.
    #[must_use]
    pub fn cpu(&self) -> CpuReadings {
        self.latest.lock().cpu
    }

    /// The last readings of the system's names and versions.
    #[must_use]
    pub(super) fn identity(&self) -> Identity {
        self.latest.lock().identity.clone()
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
            Cores::OnThread(requests) => drop(requests.try_send(Wake)),
            Cores::AtOnce(sources) => sources.lock().unwrap_or_else(PoisonError::into_inner).read_cores(&self.latest),
        }
    }

    /// Follows another configuration, without waiting for it: the thread reads what that wants. A host name that it fixes holds at
    /// once.
    pub(crate) fn reconfigure(&self, config: &Config) {
        if let HostnameSource::Fixed(name) = &config.hostname {
            self.latest.lock().hostname = name.as_str().into();
        }
        let cpu = config.cpu.enabled.then(|| config.root.clone());
        let identity = config.host.enabled.then(|| config.root.clone());
        let reconfigured = Reconfigured { cpu, identity, hostname: config.hostname.clone() };
        *self.latest.reconfigured.lock().unwrap_or_else(PoisonError::into_inner) = Some(reconfigured);
        if let Cores::OnThread(requests) = &self.cores {
            // A full channel wakes it as well.
            drop(requests.try_send(Wake));
        }
    }

    fn lock_reader(&self) -> MutexGuard<'_, Option<Reader>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The work of the thread.
#[derive(Debug)]
struct Reader {
    latest: Arc<Latest>,
    sources: Sources,
    hostname: HostnameSource,
    requested: Receiver<Wake>,
    /// Set once everything was read.
    done: watch::Sender<bool>,
}

impl Reader {
    fn run(self) {
        let Self { latest, mut sources, hostname, requested, done } = self;
        sources.read_cores(&latest);
        sources.read_frequency(&latest);
        let mut hostname = Hostname::new(hostname);
        latest.lock().hostname = hostname.get().into();
        sources.read_identity(&latest);
        done.send_replace(true);
        refresh(&mut sources, &mut hostname, &latest, &requested);
    }
}

/// Reads again from time to time, and the number of cores when it is requested, until the readings are dropped.
fn refresh(sources: &mut Sources, hostname: &mut Hostname, latest: &Latest, requests: &Receiver<Wake>) {
    let mut due = Instant::now() + INTERVAL;
    let mut identity_due_in = INTERVALS_OF_IDENTITY;
    loop {
        match requests.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(Wake) => {
                let reconfigured = latest.reconfigured.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(reconfigured) = reconfigured {
                    follow(reconfigured, sources, hostname, latest);
                }
                sources.read_cores(latest);
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                due = Instant::now() + INTERVAL;
                sources.read_frequency(latest);
                if hostname.refresh() {
                    latest.lock().hostname = hostname.get().into();
                }
                identity_due_in -= 1;
                if identity_due_in == 0 {
                    identity_due_in = INTERVALS_OF_IDENTITY;
                    sources.read_identity(latest);
                }
            }
        }
    }
}

/// Reads what another configuration wants.
fn follow(
    Reconfigured { cpu, identity, hostname: source }: Reconfigured,
    sources: &mut Sources,
    hostname: &mut Hostname,
    latest: &Latest,
) {
    if cpu.is_some() != sources.cpu.is_some() {
        sources.cpu = cpu.as_deref().map(HostFiles::new);
        sources.read_frequency(latest);
    }
    if identity.is_some() != sources.identity.is_some() {
        sources.identity = identity.as_deref().map(IdentityReader::new);
        sources.read_identity(latest);
    }
    if *hostname.source() != source {
        *hostname = Hostname::new(source);
        latest.lock().hostname = hostname.get().into();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::task::{Context, Waker};
    use std::thread;

    use super::*;
    use crate::config::Overrides;

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
        let slow = SlowReadings::new(&config(root.path()));
        slow.start_thread().expect("a thread");
        slow.start_thread().expect("it runs");
        slow.wait_first().await;
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
    fn readings_without_a_thread_are_null() {
        let root = tempfile::tempdir().expect("a temporary directory");
        write_siblings(root.path(), 0);
        let config = config(root.path());
        let slow = SlowReadings::new(&config);
        slow.request_cores();
        let waiting = std::pin::pin!(slow.wait_first());
        assert!(waiting.poll(&mut Context::from_waker(Waker::noop())).is_ready(), "there is nothing to wait for");
        assert_eq!((slow.cpu(), slow.hostname()), (CpuReadings::default(), "mine".into()));
        let slow = SlowReadings::new(&Config { hostname: HostnameSource::Kernel, ..config });
        assert_eq!(slow.hostname(), Value::Null);
    }

    #[test]
    fn requests_to_a_hanging_thread_do_not_wait() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let slow = SlowReadings::new(&config(root.path()));
        let requested = slow.lock_reader().take().expect("no thread").requested;
        (0..10).for_each(|_| slow.request_cores());
        assert_eq!(requested.try_iter().count(), 1);
    }

    #[test]
    fn dropped_readings_end_the_thread() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let slow = SlowReadings::new(&config(root.path()));
        let (ended, end) = sync_channel(1);
        let reader = slow.lock_reader().take().expect("no thread");
        thread::spawn(move || {
            reader.run();
            ended.send(())
        });
        drop(slow);
        assert_eq!(end.recv_timeout(INTERVAL / 2), Ok(()));
    }
}
