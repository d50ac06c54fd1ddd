//! Requirements of some tests besides cargo and the built plugins: programs of Debian's, and Python packages, both of which
//! `.ci/servers` fetches. A test asks for them first and returns where one is missing: it is skipped then, or fails under
//! `CI`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::skip::{current_test, skip};

/// Where the system keeps programs, some of which are not in every user's `PATH`.
const SYSTEM: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];

/// Reports that the test of this thread needs something that `.ci/servers` fetches.
fn skip_without(needed: &str) {
    assert!(env::var_os("CI").is_none(), "{needed} is missing; run .ci/servers");
    skip(&current_test(), &format!("{needed} is missing; .ci/servers fetches it"));
}

/// The directory that `.ci/servers` fills.
fn servers() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/var/tmp".into()));
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(|| home().join(".cache"), PathBuf::from);
    cache.join("gauged/servers")
}

/// A program of one of Debian's packages, and the libraries that were unpacked with it.
pub struct Program {
    path: PathBuf,
    libraries: String,
}

impl Program {
    /// The command that runs it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if !self.libraries.is_empty() {
            command.env("LD_LIBRARY_PATH", &self.libraries);
        }
        command
    }

    /// Whether it finds its libraries; its output for this argument does not matter.
    fn starts(&self) -> bool {
        self.command().arg("-v").status().is_ok_and(|status| status.code().is_some_and(|code| code != 127))
    }
}

/// Finds a program: the machine's own, or the one that `.ci/servers` has unpacked.
pub fn program(name: &str) -> Option<Program> {
    let found = programs(name).next();
    if found.is_none() {
        skip_without(name);
    }
    found
}

/// Finds a program that meets a condition, which `needed` names, among the machine's own and those of all suites that
/// `.ci/servers` has unpacked.
pub fn program_with(name: &str, needed: &str, condition: impl Fn(&Program) -> bool) -> Option<Program> {
    let found = programs(name).find(condition);
    if found.is_none() {
        skip_without(needed);
    }
    found
}

/// Finds two versions of a program: the machine's own or that of its Debian release, and that of Debian's newest suite.
pub fn old_and_new(name: &str) -> Option<[Program; 2]> {
    let old = programs(name).next();
    let new = programs_below([servers().join("newest")], name).next();
    let found = old.zip(new).map(|(old, new)| [old, new]);
    if found.is_none() {
        skip_without(&format!("an old and a new version of {name}"));
    }
    found
}

/// The programs of this name that start: the machine's own first.
fn programs(name: &str) -> impl Iterator<Item = Program> {
    let fetched = ["debian", "newer", "influxdb"].map(|name| servers().join(name));
    programs_below([PathBuf::from("/")].into_iter().chain(fetched), name)
}

/// The programs of this name that start below these roots.
fn programs_below(roots: impl IntoIterator<Item = PathBuf>, name: &str) -> impl Iterator<Item = Program> {
    let programs = roots.into_iter().flat_map(move |root| {
        let libraries = if root == Path::new("/") { String::new() } else { libraries(&root) };
        SYSTEM.map(|directory| Program { path: root.join(directory).join(name), libraries: libraries.clone() })
    });
    programs.filter(Program::starts)
}

/// The directories in which unpacked programs find their libraries; systemd's are one level deeper.
fn libraries(root: &Path) -> String {
    let directories = ["usr/lib", "lib"].into_iter().flat_map(|below| directories(&root.join(below)));
    let of_systemd = |directory: &PathBuf| directory.join("systemd");
    let all: Vec<PathBuf> = directories.flat_map(|directory| [of_systemd(&directory), directory]).collect();
    let names: Vec<String> = all.iter().map(|directory| directory.display().to_string()).collect();
    names.join(":")
}

/// A directory and those in it.
fn directories(path: &Path) -> Vec<PathBuf> {
    let below = fs::read_dir(path).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    std::iter::once(path.to_owned()).chain(below).filter(|path| path.is_dir()).collect()
}

/// Go: the machine's own, or the one that `.ci/servers` has unpacked.
pub fn go() -> Option<Go> {
    let found = programs_below([PathBuf::from("/"), servers().join("go")], "go").next();
    if found.is_none() {
        skip_without("go");
    }
    found.map(|program| Go { program })
}

/// Go, which builds programs from its standard library.
pub struct Go {
    program: Program,
}

impl Go {
    /// Builds a program of one file, without a network and a C compiler. What it compiles is kept for the next time.
    pub fn build(&self, source: &Path, program: &Path) {
        let mut command = self.program.command();
        // A link leads to it, and its library is beside the target.
        let own = fs::canonicalize(&self.program.path).expect("it starts");
        if let Some(root) = own.parent().and_then(Path::parent).filter(|root| root.join("src").is_dir()) {
            command.env("GOROOT", root);
        }
        command.args(["build", "-o"]).arg(program).arg(source);
        command.envs([("CGO_ENABLED", "0"), ("GO111MODULE", "off"), ("GOTOOLCHAIN", "local"), ("GOFLAGS", "")]);
        command.env("GOCACHE", servers().join("go-cache")).env("GOPATH", servers().join("go-path"));
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Python with the packages that `.ci/servers` has fetched, as far as they have this module.
pub fn python(module: &str) -> Option<Python> {
    let python = Python { packages: servers().join("python") };
    let found = python.command(&["-c", &format!("import {module}")]).output();
    let is_there = found.is_ok_and(|output| output.status.success());
    if !is_there {
        skip_without(&format!("the Python package {module}"));
    }
    is_there.then_some(python)
}

/// The machine's Python, with packages besides its own.
#[derive(Clone)]
pub struct Python {
    packages: PathBuf,
}

impl Python {
    /// The command that runs it with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("python3");
        command.args(arguments).env("PYTHONPATH", &self.packages).stdin(Stdio::null());
        command
    }
}
