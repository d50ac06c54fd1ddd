//! Programs of Debian's that some tests run plugins against: the machine's own, or what is downloaded from the machine's
//! package sources and unpacked into the target directory. Nothing is installed, and nobody has to be root.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// A program that starts.
pub struct Program {
    path: PathBuf,
    /// Where it finds the libraries that were unpacked with it.
    libraries: Option<String>,
}

impl Program {
    /// What runs it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }

    /// Whether it comes so far as to read its arguments, whatever it makes of this one: it has its libraries.
    fn starts(&self) -> bool {
        self.command().arg("-v").status().is_ok_and(|status| status.code().is_some_and(|code| code != 127))
    }
}

/// Finds a program such as `usr/sbin/nginx`, or gets it with its packages. What these need besides is got as well, as
/// far as it is libraries that the machine does not have.
pub fn program(path: &str, packages: &[&str]) -> Program {
    // What one test unpacks the others find.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);

    let installed = Program { path: Path::new("/").join(path), libraries: None };
    if installed.starts() {
        return installed;
    }
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("debian-{}", packages[0]));
    let unpacked = || {
        let libraries = ["usr/lib", "lib"].into_iter().flat_map(|below| directories(&root.join(below)));
        let libraries: Vec<String> = libraries.map(|directory| directory.display().to_string()).collect();
        Program { path: root.join(path), libraries: Some(libraries.join(":")) }
    };
    if !unpacked().starts()
        && let Err(why) = unpack(packages, &root)
    {
        let packages = packages.join(" ");
        panic!("there is no /{path}, and it cannot be got: {why}; run apt-get install {packages}");
    }
    let program = unpacked();
    assert!(program.starts(), "{} does not start; run apt-get install {}", program.path.display(), packages.join(" "));
    program
}

/// A directory and those in it.
fn directories(path: &Path) -> Vec<PathBuf> {
    let below = fs::read_dir(path).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    std::iter::once(path.to_owned()).chain(below).filter(|path| path.is_dir()).collect()
}

/// Downloads packages and unpacks them, with lists of packages of its own: those of the machine may be old, or missing.
fn unpack(packages: &[&str], root: &Path) -> Result<(), String> {
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(|error| error.to_string())?;
    for directory in ["lists/partial", "cache/archives/partial", "debs", "root"] {
        fs::create_dir_all(work.path().join(directory)).map_err(|error| error.to_string())?;
    }
    let option = |name: &str, directory: &str| format!("{name}={}", work.path().join(directory).display());
    let own = [option("Dir::State::lists", "lists"), option("Dir::Cache", "cache")];
    let apt = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(["-o", &own[0], "-o", &own[1], "-o", "Debug::NoLocking=1", "-o", "Acquire::Languages=none"]);
        if rustix::process::geteuid().is_root() {
            command.args(["-o", "APT::Sandbox::User=root"]);
        }
        says(command.args(words).current_dir(work.path().join("debs")))
    };
    apt("apt-get", &["-q", "update"])?;
    let needed = ["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks"];
    let needed = [&needed[..], &["--no-replaces", "--no-enhances"], packages].concat();
    let needed = apt("apt-cache", &needed)?;
    let is_missing = |package: &&str| {
        let status = Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]).output();
        !status.is_ok_and(|output| output.stdout.starts_with(b"installed"))
    };
    // What depends is at the beginning of a line, perhaps with its architecture.
    let needed: BTreeSet<&str> = needed.lines().filter_map(|line| line.split(':').next()).collect();
    let libraries = needed.into_iter().filter(|line| line.starts_with("lib")).filter(is_missing);
    let wanted: Vec<&str> = ["-q", "download"].into_iter().chain(packages.iter().copied()).chain(libraries).collect();
    apt("apt-get", &wanted)?;
    for package in fs::read_dir(work.path().join("debs")).map_err(|error| error.to_string())? {
        let package = package.map_err(|error| error.to_string())?.path();
        says(Command::new("dpkg-deb").arg("-x").arg(package).arg(work.path().join("root")))?;
    }
    // What was there did not start.
    let _ = fs::remove_dir_all(root);
    fs::rename(work.path().join("root"), root).map_err(|error| error.to_string())
}

/// What a program prints, or what it says when it fails.
fn says(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim_end()))
}
