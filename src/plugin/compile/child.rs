//! What the child does: takes from itself whatever a compiler does not need, reads a plugin's file from its standard
//! input, and writes an artifact to its standard output. Of a file that it rejects it says why on its standard error. It
//! ends when the agent does, however that ends.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt as _;
use std::process::ExitCode;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, kill_process, nice, setrlimit};

use super::super::{engine, probe};
use super::{ARTIFACT_BYTES, CPU, MEMORY_BYTES, OUT_OF_MEMORY, REJECTED, allowed};

/// How far it stands back behind whatever else wants a processor: a third of what others get, so that the ticks are not
/// delayed. At 10, a tenth, a Python guest was not compiled in five minutes beside two busy programs a processor.
const NICE: i32 = 5;

/// How many files it may have open: the standard ones. It has more by then, so that each further one is too many.
const STANDARD: u64 = 3;

/// Why there is no artifact.
enum End {
    /// The file is not a plugin, or does not compile.
    Rejected(String),
    /// The memory was not enough.
    OutOfMemory,
    /// The file could not be read, or the artifact could not be written.
    Trouble(io::Error),
}

/// Compiles what the agent hands over. The exit code says how that went.
pub(super) fn run() -> ExitCode {
    match confine().map_err(End::Trouble).and_then(|(input, output)| compile(&input, output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(End::Rejected(why)) => say(&why, ExitCode::from(REJECTED)),
        Err(End::OutOfMemory) => ExitCode::from(OUT_OF_MEMORY),
        Err(End::Trouble(error)) => say(&error.to_string(), ExitCode::FAILURE),
    }
}

/// With nobody to hear it there is nothing else to do about it.
fn say(what: &str, code: ExitCode) -> ExitCode {
    let _ = writeln!(io::stderr(), "{what}");
    code
}

/// Takes away what is not needed. Answers what is read and what is written.
fn confine() -> io::Result<(File, File)> {
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let _ = rustix::thread::set_name(c"gauged-compile");
    // When memory is short the kernel is to take it from here, not from the agent. Elsewhere there is no such file.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // Whoever may not stand back any further stands far enough back.
    let _ = nice(NICE);
    thread::Builder::new().name("orphan".to_owned()).spawn(end_with_the_agent)?;
    limit(Resource::Cpu, CPU.as_secs());
    limit(Resource::As, MEMORY_BYTES);
    limit(Resource::Fsize, ARTIFACT_BYTES);
    limit(Resource::Core, 0);
    // From here on it can open nothing and start nothing.
    limit(Resource::Nofile, STANDARD);
    limit(Resource::Nproc, 0);
    Ok((input, output))
}

/// Lowers a limit; one that is lower already stays. A system that knows no such limit goes without it.
fn limit(resource: Resource, most: u64) {
    let current = allowed(resource, most);
    // That its time is over the kernel tells by a signal of its own; a second later it kills.
    let most = if resource == Resource::Cpu { current.saturating_add(1) } else { current };
    let maximum = getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
    let _ = setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) });
}

/// Waits until the agent does not listen any more, and ends the process then. A death signal of the parent's would come
/// when the thread that started this process ends, and not at all when the agent has ended by now.
fn end_with_the_agent() {
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

fn compile(input: &File, mut output: File) -> Result<(), End> {
    let bytes = read(input).map_err(End::Trouble)?;
    let component = probe::to_component(&bytes).map_err(End::Rejected)?;
    let compiled = engine::compiler().and_then(|engine| engine.precompile_component(&component));
    let artifact = compiled.map_err(|error| {
        if error.is::<wasmtime::OutOfMemory>() {
            return End::OutOfMemory;
        }
        End::Rejected(format!("does not compile: {error:#}; rebuild it with the gauged SDK"))
    })?;
    output.write_all(&artifact).map_err(End::Trouble)
}

/// Reads from the beginning, wherever whoever had the file before has left it.
fn read(file: &File) -> io::Result<Vec<u8>> {
    struct FromStart<'a>(&'a File, u64);
    impl io::Read for FromStart<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read_at(room, self.1)?;
            self.1 += read as u64;
            Ok(read)
        }
    }
    let mut bytes = Vec::new();
    FromStart(file, 0).read_to_end(&mut bytes)?;
    Ok(bytes)
}
