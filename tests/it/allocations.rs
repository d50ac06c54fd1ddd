//! The agent's allocations: none from one tick to the next, once its buffers have grown, whoever asks for the status or scrapes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use gauged::agent;
use gauged::collector::native::Natives;
use gauged::config::{Config, Overrides};
use gauged::exposition::{Exposition, ExpositionSettings, Format};
use gauged::naming::Naming;
use gauged::sample::{Label, Sample, Series, SeriesAccount};

use crate::harness::{repository, unchanged};
use crate::natives::overlay;
use gauged::process::Request;

/// Ticks until buffers have grown, files are open and the directory has been looked at.
const WARM_UP: usize = 10;

/// Ticks during which allocations are counted.
const WATCHED: usize = 10;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, and a count for each thread.
struct Counting;

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: everything is the system allocator's; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Runs the whole agent on this thread, and returns how often the watched ticks allocate.
fn allocations_of_ticks(configuration: &str, root: Option<PathBuf>) -> usize {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("gauged.toml");
    let http = directory.path().join("http.sock");
    let listen = format!("[http]\nlisten = [\"unix:{}\"]\npush = true\n", http.display());
    let configuration = format!("{configuration}\n[sinks.stdout]\nkind = \"stdout\"\n{listen}");
    std::fs::write(&file, configuration).expect("written");
    std::fs::create_dir(directory.path().join("plugins")).expect("created");
    let interval = Some(Duration::from_millis(100));
    let status_socket = Some(directory.path().join("status.sock"));
    let overrides = Overrides { file: Some(file), interval, root, status_socket, ..Overrides::default() };
    let config = Config::load(&overrides).expect("right");

    let (reader, writer) = io::pipe().expect("a pipe");
    let lines = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&lines);
    let answers = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&answers);
    let pushes = Arc::new(AtomicUsize::new(0));
    let taken = Arc::clone(&pushes);
    // Somebody asks for the status and scrapes at each tick, and has pushed points.
    let requests = Arc::new(AtomicUsize::new(0));
    let answered = Arc::clone(&requests);
    let socket = directory.path().join("status.sock");
    let reading = std::thread::spawn(move || {
        for line in io::BufReader::new(reader).lines() {
            line.expect("text");
            if let Ok(mut stream) = UnixStream::connect(&socket) {
                stream.write_all(b"status/1\n").expect("sent");
                let mut answer = String::new();
                stream.read_to_string(&mut answer).expect("text");
                assert!(answer.contains("\"agent\""), "{answer}");
                asked.fetch_add(1, Ordering::Release);
            }
            if taken.load(Ordering::Acquire) == 0
                && let Ok(mut stream) = UnixStream::connect(&http)
            {
                // Points that are the latest ones at all ticks that follow.
                let body = r#"[{"metric":"a","step":3600,"value":1,"counterType":"GAUGE","tags":"b=c"}]"#;
                let head = format!("Content-Type: application/json\r\nContent-Length: {}", body.len());
                write!(stream, "POST /v1/push HTTP/1.0\r\n{head}\r\n\r\n{body}").expect("sent");
                let mut answer = String::new();
                stream.read_to_string(&mut answer).expect("text");
                taken.fetch_add(usize::from(answer.starts_with("HTTP/1.0 200")), Ordering::Release);
            }
            for path in ["/metrics", "/v1/sample"] {
                if let Ok(mut stream) = UnixStream::connect(&http) {
                    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("sent");
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).expect("text");
                    answered.fetch_add(usize::from(answer.starts_with("HTTP/1.0 200")), Ordering::Release);
                }
            }
            seen.fetch_add(1, Ordering::Release);
        }
    });
    let mut at_warm = None;
    let mut at_end = None;
    // The agent polls this at each of its turns.
    let mut ended = poll_fn(|_| {
        let ticks = lines.load(Ordering::Acquire);
        if ticks >= WARM_UP && at_warm.is_none() {
            at_warm = Some(ALLOCATIONS.get());
        }
        if ticks < WARM_UP + WATCHED {
            return Poll::Pending;
        }
        at_end.get_or_insert(ALLOCATIONS.get());
        Poll::Ready(Request::End)
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let output = File::from(std::os::fd::OwnedFd::from(writer));
    runtime.block_on(agent::run(config, unchanged(), None, output, async || (&mut ended).await)).expect("it runs");
    reading.join().expect("no panic");
    assert!(answers.load(Ordering::Acquire) >= WATCHED, "the status was asked for");
    assert_eq!(pushes.load(Ordering::Acquire), 1, "points were pushed");
    assert!(requests.load(Ordering::Acquire) >= 2 * WATCHED, "it was scraped");
    at_end.expect("it ended") - at_warm.expect("it warmed up")
}

#[test]
fn a_tick_allocates_nothing() {
    assert_eq!(allocations_of_ticks("", None), 0);
}

#[test]
fn a_tick_with_every_cpu_allocates_nothing() {
    assert_eq!(allocations_of_ticks("[cpu]\nper_core = true\n", None), 0);
}

#[test]
fn a_tick_with_odd_files_allocates_nothing() {
    let root = tempfile::tempdir().expect("a temporary directory");
    overlay(&repository().join("tests/fixtures/lxcfs-swap-wrapped"), root.path());
    std::fs::write(root.path().join("proc/stat"), "cpu 1 2 x 4 5\ncpu0 1 2\n\0\nintr -1\nctxt 7\n").expect("written");
    std::fs::remove_file(root.path().join("proc/vmstat")).expect("removed");
    std::fs::write(root.path().join("proc/loadavg"), "").expect("written");
    assert_eq!(allocations_of_ticks("[cpu]\nper_core = true\n", Some(root.path().to_owned())), 0);
}

/// How often this thread allocates while it renders the natives' series of one tick after another, after a first rendering.
fn allocations_of_renderings(format: Format, modules: Option<&[&str]>) -> usize {
    let config = Config::load(&Overrides::default()).expect("right");
    let mut natives = Natives::new(&config, &SeriesAccount::standalone());
    let mut samples = [(); 3].map(|()| {
        let mut sample = Sample::default();
        natives.collect(&mut sample);
        sample
    });
    // In another order, as when a plugin is not called at each tick.
    samples[1].modules.rotate_left(1);
    samples[2].retained = samples[2].modules.split_off(2);
    let tags = vec![Label { name: "dc".into(), value: "fra1".into() }];
    let is_selected = Box::new(|_: &str, _: &Series| true);
    let mut exposition = Exposition::new(ExpositionSettings {
        naming: Naming::Gauged,
        prefix: "gauged".into(),
        tags,
        is_selected,
        max_series: usize::MAX,
    });
    let mut text = Vec::with_capacity(1 << 20);
    exposition.render(&samples[0], format, modules, &mut text);
    assert!(text.windows(15).any(|name| name == b"gauged_load_1mi"), "it has the natives' series");
    let before = ALLOCATIONS.get();
    for sample in samples.iter().cycle().take(WATCHED) {
        text.clear();
        exposition.render(sample, format, modules, &mut text);
    }
    ALLOCATIONS.get() - before
}

#[test]
fn a_hot_scrape_allocates_nothing() {
    for format in [Format::Text, Format::OpenMetrics] {
        assert_eq!(allocations_of_renderings(format, None), 0);
        assert_eq!(allocations_of_renderings(format, Some(&["load", "cpu"])), 0);
    }
}

#[test]
fn allocator_counts_an_allocation() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}
