//! A fleet of hosts that push to one receiver, which is away for a minute: what that costs it, how long it takes to catch up, and
//! whether anything is lost.
//!
//!     .ci/servers && cargo bench --bench fleet
//!     cargo bench --bench fleet -- --hosts 2000 --series 300 --outage 120 --only prometheus
//!
//! The hosts are in this process: sinks, senders, encoders and spools are the agent's own, each with a host name and a state directory;
//! only samples are made up. They are in real time, one every ten seconds. The receivers are the real `victoria-metrics` and `prometheus`,
//! one after the other, on loopback; they are stopped by SIGTERM, as a service manager does. Takes about four minutes each.
//!
//! Figures: processor time of the receiver and of the senders' threads in cores, its resident memory at the end of a phase, and the
//! points that it took in a second. A shared machine changes from one minute to the next.

#![allow(clippy::disallowed_methods, reason = "receivers are other programs")]

#[path = "fleet/host.rs"]
mod host;
#[path = "fleet/receiver.rs"]
mod receiver;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use gauged::clock::schedule::wall_clock;
use gauged::config::{Config, Overrides};
use gauged::sink::benchmark::{Fleet, FleetState};
use rustix::process::{Resource, getrlimit, setrlimit};

use self::host::Host;
use self::receiver::{Program, Receiver, Usage};

/// The time between samples.
const INTERVAL: Duration = Duration::from_secs(10);

/// Until new series are known to the receiver: not measured.
const WARM_UP: Duration = Duration::from_secs(25);

/// How long the fleet is watched in good times, before and after.
const GOOD: Duration = Duration::from_secs(40);

/// How long a receiver may take to catch up before that has failed.
const CATCH_UP: Duration = Duration::from_secs(600);

/// How long a host is tried to be added: its sender has to be taken by the thread.
const ADDING: Duration = Duration::from_secs(10);

/// Descriptors of a host: its connection, and the files of its spool.
const DESCRIPTORS: u64 = 16;

/// The command line.
struct Options {
    hosts: usize,
    series: usize,
    outage: Duration,
    only: Option<String>,
}

impl Options {
    fn parse() -> Self {
        let mut options = Self { hosts: 500, series: 300, outage: Duration::from_secs(60), only: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|text| text.parse().ok()).expect("a number");
            match argument.as_str() {
                "--hosts" => options.hosts = number(),
                "--series" => options.series = number(),
                "--outage" => options.outage = Duration::from_secs(number() as u64),
                "--only" => options.only = arguments.next(),
                // Cargo's.
                "--bench" => {}
                other => panic!("unknown argument {other}"),
            }
        }
        options
    }
}

/// A fleet and its receiver.
struct Run {
    fleet: Fleet,
    hosts: Vec<Host>,
    receiver: Receiver,
    /// The next tick, since the Unix epoch.
    next: Duration,
    ticks: u64,
}

/// A moment, to be compared with a later one.
struct Mark {
    at: Instant,
    receiver: Usage,
    senders: Duration,
    state: FleetState,
}

impl Run {
    fn new(options: &Options, receiver: Receiver, directory: &Path) -> Self {
        let file = directory.join("gauged.toml");
        let text = format!("[sinks.fleet]\nkind = \"remote_write\"\nurl = \"{}\"\n", receiver.url());
        fs::write(&file, text).expect("written");
        let overrides = Overrides { file: Some(file), interval: Some(INTERVAL), ..Overrides::default() };
        let config = Config::load(&overrides).expect("valid");
        let mut fleet = Fleet::start().expect("a thread");
        for host in 0..options.hosts {
            let state_directory = Some(directory.join(format!("host-{host}")));
            let config = Config { state_directory, ..config.clone() };
            let until = Instant::now() + ADDING;
            while let Err(error) = fleet.add(&config) {
                assert!(Instant::now() < until, "host {host}: {error}");
                sleep(Duration::from_millis(5));
            }
        }
        let hosts = (0..options.hosts).map(|host| Host::new(host, options.series)).collect();
        Self { fleet, hosts, receiver, next: next_tick(), ticks: 0 }
    }

    /// The points that were made.
    fn made(&self) -> u64 {
        self.ticks * self.hosts.iter().map(|host| host.series() as u64).sum::<u64>()
    }

    /// Ticks until a condition holds. Returns whether it did within this time.
    fn tick_until(&mut self, patience: Duration, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if wall_clock() >= self.next {
                for at in 0..self.hosts.len() {
                    let sample = Arc::new(self.hosts[at].sample(self.next, INTERVAL));
                    self.fleet.put(at, &sample);
                }
                self.ticks += 1;
                self.next += INTERVAL;
            }
            if holds(self) {
                return true;
            }
            sleep(Duration::from_millis(20));
        }
        false
    }

    fn tick_for(&mut self, time: Duration) {
        self.tick_until(time, |_| false);
    }

    /// Whether every point that was made is delivered or dropped.
    fn is_caught_up(&self) -> bool {
        let state = self.fleet.state();
        state.delivered_points + state.dropped_points >= self.made()
    }

    fn mark(&self) -> Mark {
        Mark { at: Instant::now(), receiver: self.receiver.usage(), senders: senders_time(), state: self.fleet.state() }
    }

    /// Prints what has happened since a moment.
    fn report(&self, phase: &str, since: &Mark) {
        let now = self.mark();
        let seconds = (now.at - since.at).as_secs_f64();
        let points = now.state.delivered_points - since.state.delivered_points;
        let requests = now.state.requests - since.state.requests;
        let bytes = now.state.sent_bytes - since.state.sent_bytes;
        let cores = |time: Duration| time.as_secs_f64() / seconds;
        println!(
            "{:18}{phase:10}{seconds:>8.1}{:>10.0}{:>8.2}{:>8}{:>9.3}{requests:>10}{:>9}{:>11.1}",
            self.receiver.name(),
            points as f64 / seconds,
            cores(now.receiver.cpu.saturating_sub(since.receiver.cpu)),
            now.receiver.resident_bytes >> 20,
            cores(now.senders.saturating_sub(since.senders)),
            // Requests that nobody takes have no point.
            if points == 0 { String::new() } else { format!("{:.1}", bytes as f64 / points as f64) },
            now.state.spool_bytes as f64 / 1e6,
        );
    }

    fn measure(mut self, options: &Options) {
        self.tick_for(WARM_UP);
        let mark = self.mark();
        self.tick_for(GOOD);
        self.report("before", &mark);

        let mark = self.mark();
        self.receiver.stop();
        self.tick_for(options.outage);
        self.report("outage", &mark);
        let away = mark.at.elapsed();
        let started = Instant::now();
        self.receiver.start();
        let mut mark = self.mark();
        let ready = self.tick_until(CATCH_UP, |run| run.receiver.is_ready());
        assert!(ready, "{} does not start again", self.receiver.name());
        let starting = started.elapsed();
        (mark.at, mark.senders) = (Instant::now(), senders_time());
        let waiting = self.fleet.state().waiting_samples;
        let is_caught_up = self.tick_until(CATCH_UP, |run| run.is_caught_up());
        let time = mark.at.elapsed();
        self.report("catch-up", &mark);
        let mark = self.mark();
        self.tick_for(GOOD);
        self.report("after", &mark);

        self.tick_until(CATCH_UP, |run| run.is_caught_up());
        let (state, made) = (self.fleet.state(), self.made());
        println!(
            "{:18}away for {:.0} s, then {:.1} s to start; {waiting} samples waited; {} after {:.1} s",
            "",
            away.as_secs_f64(),
            starting.as_secs_f64(),
            if is_caught_up { "caught up" } else { "NOT caught up" },
            time.as_secs_f64(),
        );
        let stored = self.receiver.stored_points();
        let expected = self.ticks * self.hosts[0].series() as u64;
        let incomplete = self.hosts.iter().filter(|host| stored.get(host.name()) != Some(&expected)).count();
        let stored: u64 = stored.values().sum();
        println!(
            "{:18}points: {made} made, {} acknowledged, {} dropped, {stored} stored; hosts with other than {expected}: {incomplete}",
            "", state.delivered_points, state.dropped_points,
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let late = runtime.block_on(self.fleet.end(Duration::from_secs(2)));
        assert_eq!(late, 0, "senders have not ended");
        self.receiver.stop();
    }
}

/// The next moment at which hosts tick.
fn next_tick() -> Duration {
    let second = wall_clock().as_secs() / INTERVAL.as_secs() + 1;
    Duration::from_secs(second * INTERVAL.as_secs())
}

/// The processor time of the threads of senders and spools: that of all threads but the first.
fn senders_time() -> Duration {
    let time = |task: PathBuf| -> Option<u64> {
        fs::read_to_string(task.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    let own = std::process::id().to_string();
    let tasks = fs::read_dir("/proc/self/task").expect("Linux").filter_map(Result::ok);
    let others = tasks.filter(|task| *task.file_name() != *own).filter_map(|task| time(task.path()));
    Duration::from_nanos(others.sum())
}

/// A directory in memory, where the host has that.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a directory")
}

fn main() {
    let options = Options::parse();
    let limit = getrlimit(Resource::Nofile);
    let needed = options.hosts as u64 * DESCRIPTORS;
    let allowed = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    if limit.current.is_some_and(|current| current < allowed) {
        let _ = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: Some(allowed), ..limit });
    }
    println!("{} hosts with {} series every {} s", options.hosts, options.series, INTERVAL.as_secs());
    println!(
        "{:18}{:10}{:>8}{:>10}{:>8}{:>8}{:>9}{:>10}{:>9}{:>11}",
        "receiver", "phase", "seconds", "points/s", "cores", "MB", "senders", "requests", "B/point", "spools MB"
    );
    for program in [Program::VictoriaMetrics, Program::Prometheus] {
        if options.only.as_ref().is_some_and(|only| *only != program.name()) {
            continue;
        }
        let directory = directory();
        match Receiver::start_new(program, directory.path()) {
            Ok(receiver) => Run::new(&options, receiver, directory.path()).measure(&options),
            Err(reason) => println!("SKIPPED {}: {reason}", program.name()),
        }
    }
}
