//! The child process that compiles: it gives up what a compiler does not need, reads a plugin file from standard input, and
//! writes the artifact to standard output, or the reason of a rejection to standard error. It ends when the agent does.
//!
//! Where the kernel takes no system calls from it, it compiles all the same: the first line on standard error is then
//! [`UNCONFINED`] with the reason.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt as _;
use std::process::ExitCode;
use std::sync::mpsc::{SyncSender, sync_channel};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, kill_process, nice, setrlimit};

use crate::plugin::build::budget::{
    ARTIFACT_BYTES, ARTIFACT_TOO_LARGE, CompileOptions, MEMORY_BYTES, OUT_OF_MEMORY, REJECTED, UNCONFINED,
};
use crate::plugin::build::confinement;
use crate::plugin::build::footprint::Footprint;
use crate::plugin::build::probe;
use crate::plugin::guest::engine_options;
use crate::plugin::shortage::{ExplainedShortage, explain};
use crate::thread;

/// Its niceness: a third of the CPU share of other programs, so that the ticks are not delayed. At 10, a tenth, a Python guest
/// was not compiled in five minutes beside two busy programs per processor.
const NICE: i32 = 5;

/// The limit of open files: the standard ones. More are open when it is set, so that no further file can be opened.
const STANDARD_FILES: u64 = 3;

/// Why there is no artifact.
#[derive(Debug)]
pub(crate) enum CompileError {
    /// The file is not a plugin, or does not compile.
    Rejected(String),
    /// The memory was not enough.
    OutOfMemory,
    /// The artifact was larger than a file may be.
    TooLarge,
    /// The host does not give what it needs; the reason, and the remedy after a semicolon.
    Host(String),
}

impl From<io::Error> for CompileError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::FileTooLarge {
            return Self::TooLarge;
        }
        let (reason, remedy) = explain(&error, "leave the host memory and processes");
        Self::Host(format!("{reason}; {remedy}"))
    }
}

/// Compiles standard input. The exit code is the outcome.
pub(crate) fn run(options: CompileOptions) -> ExitCode {
    match compile_confined(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(CompileError::Rejected(why)) => report(&why, ExitCode::from(REJECTED)),
        Err(CompileError::OutOfMemory) => ExitCode::from(OUT_OF_MEMORY),
        Err(CompileError::TooLarge) => ExitCode::from(ARTIFACT_TOO_LARGE),
        Err(CompileError::Host(why)) => report(&why, ExitCode::FAILURE),
    }
}

/// Writes the message. An error is ignored: there is nobody else to report it to.
fn report(message: &str, code: ExitCode) -> ExitCode {
    let _ = writeln!(io::stderr(), "{message}");
    code
}

fn compile_confined(options: CompileOptions) -> Result<(), CompileError> {
    // Before the confinement: it examines the processor, on some by system calls.
    let engine = engine_options::compiler(options.engine);
    let engine = engine.map_err(|error| match ExplainedShortage::behind(&error) {
        Some(ExplainedShortage { reason, remedy }) => CompileError::Host(format!("{reason}; {remedy}")),
        None => CompileError::Host(format!("no compiler: {error:#}; report this")),
    })?;
    let (input, output) = confine(options)?;
    compile(&engine, &input, output)
}

/// Gives up what is not needed. Returns the input and the output.
pub(crate) fn confine(options: CompileOptions) -> Result<(File, File), CompileError> {
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let _ = rustix::thread::set_name(c"gauged-compile");
    // When memory is short the kernel kills this process before the agent. Other systems have no such file.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // It fails only at the lowest priority.
    let _ = nice(NICE);
    let (started, is_started) = sync_channel(1);
    let orphan = thread::start("orphan", move || end_with_agent(started));
    orphan.map_err(|error| CompileError::Host(format!("{error}; {}", thread::remedy(&error))))?;
    // Its start needs system calls that are taken below. The thread sends before it waits for anything.
    let _ = is_started.recv();
    lower_limit(Resource::Cpu, options.cpu.as_secs());
    lower_limit(Resource::As, MEMORY_BYTES);
    lower_limit(Resource::Fsize, ARTIFACT_BYTES);
    lower_limit(Resource::Core, 0);
    // From here on it cannot open files or start processes.
    lower_limit(Resource::Nofile, STANDARD_FILES);
    lower_limit(Resource::Nproc, 0);
    // Last, since everything before needs more.
    if let Err(why) = confinement::confine(&input, &output) {
        let _ = writeln!(io::stderr(), "{UNCONFINED}{why}");
    }
    Ok((input, output))
}

/// Lowers a limit; a lower one stays. A limit that the system does not have is ignored.
fn lower_limit(resource: Resource, limit: u64) {
    let inherited = getrlimit(resource);
    let current = inherited.current.map_or(limit, |current| current.min(limit));
    // At the soft limit of processor time the kernel sends a signal of its own, SIGXCPU, at the hard limit it kills.
    let above = u64::from(resource == Resource::Cpu);
    let maximum = current.saturating_add(above);
    let maximum = inherited.maximum.map_or(maximum, |inherited| inherited.min(maximum));
    let current = current.min(maximum.saturating_sub(above));
    let _ = setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) });
}

/// Waits until the agent has closed its end of standard error, and ends the process. A parent death signal would come when
/// the thread that started this process ends, and not at all when the agent has already ended.
fn end_with_agent(started: SyncSender<()>) {
    // It has room.
    let _ = started.send(());
    drop(started);
    let stderr = io::stderr();
    loop {
        let mut ends = [PollFd::new(&stderr, PollFlags::empty())];
        match poll(&mut ends, None) {
            Ok(_) | Err(Errno::INTR) if ends[0].revents().is_empty() => {}
            Ok(_) => break,
            Err(_) => return,
        }
    }
    let _ = kill_process(getpid(), Signal::KILL);
}

fn compile(engine: &wasmtime::Engine, input: &File, mut output: File) -> Result<(), CompileError> {
    let bytes = read(input)?;
    let component = probe::to_component(&bytes).map_err(CompileError::Rejected)?;
    let mut artifact = engine.precompile_component(&component).map_err(|error| {
        if error.is::<wasmtime::OutOfMemory>() {
            return CompileError::OutOfMemory;
        }
        CompileError::Rejected(format!("does not compile: {error:#}; rebuild it with the gauged SDK"))
    })?;
    Footprint::append(&mut artifact).map_err(CompileError::Rejected)?;
    Ok(output.write_all(&artifact)?)
}

/// Reads a file from its beginning, whatever its current offset.
fn read(file: &File) -> io::Result<Vec<u8>> {
    struct FromStart<'a>(&'a File, u64);
    impl io::Read for FromStart<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read_at(buffer, self.1)?;
            self.1 += read as u64;
            Ok(read)
        }
    }
    let mut bytes = Vec::new();
    FromStart(file, 0).read_to_end(&mut bytes)?;
    Ok(bytes)
}
