//! `gauged plugin dev`, on a project whose build takes a prepared guest: the one that its source names.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, Signal, kill_process};

use super::test::{good_guest, reading};
use super::{plugin, write_plugin};
use crate::guest::Guest;
use crate::harness::{DEADLINE, Setup, repository, wait_until};

/// Counts builds, waits at a gate where there is one, and copies the guest that the file `source` named before that.
const BUILD: &str = "#!/bin/sh
set -eu
cd \"$(dirname \"$0\")\"
guest=../$(cat source).wasm
echo \"$*\" >>../builds
if [ -e ../gate ]; then cat ../gate; fi
cp \"$guest\" .mine.wasm.new
mv .mine.wasm.new mine.wasm
";

/// A project in the directory `project` of a setup, and the command that watches it.
struct Development {
    setup: Setup,
    /// The output of both kinds, in order.
    output: PathBuf,
    child: Child,
}

impl Development {
    /// Watches a project that is built from the first guest, with further arguments.
    fn start(guests: &[(&str, Guest)], arguments: &[&str]) -> Self {
        let setup = Setup::new();
        for (name, guest) in guests {
            write_plugin(&setup, guest, &format!("{name}.wasm"));
        }
        write_project(&setup, BUILD, guests[0].0);
        Self::watch(setup, arguments)
    }

    fn watch(setup: Setup, arguments: &[&str]) -> Self {
        let output = setup.path("output");
        let open = || OpenOptions::new().create(true).append(true).open(&output).expect("opened");
        let mut command = setup.command(&[&["plugin", "dev", "project"], arguments].concat());
        let child = command.stdout(open()).stderr(open()).spawn().expect("it starts");
        Self { setup, output, child }
    }

    fn project(&self, name: &str) -> PathBuf {
        self.setup.path("project").join(name)
    }

    /// Saves a file as editors do, by a rename.
    fn save(&self, name: &str, text: &str) {
        let unfinished = self.project(&format!(".{name}.save"));
        fs::write(&unfinished, text).expect("written");
        fs::rename(unfinished, self.project(name)).expect("renamed");
    }

    fn output(&self) -> String {
        fs::read_to_string(&self.output).expect("text")
    }

    /// The output from the line about a build on, once a text is in it.
    fn wait(&self, build: usize, text: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let output = self.output();
            let of_build = output.split_once(&format!("\nbuild {build}: ")).map_or("", |(_, rest)| rest);
            if of_build.contains(text) {
                return of_build.to_owned();
            }
            assert!(Instant::now() < until, "never: {text:?} of build {build} in\n{output}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// How many builds were started.
    fn builds(&self) -> usize {
        fs::read_to_string(self.setup.path("builds")).unwrap_or_default().lines().count()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("sent");
    }

    /// Waits until the command ends.
    fn end(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the command ends", || {
            status = self.child.try_wait().expect("it can be waited for");
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for Development {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_project(setup: &Setup, build: &str, source: &str) {
    let project = setup.path("project");
    fs::create_dir(&project).expect("created");
    fs::write(project.join("source"), source).expect("written");
    fs::write(project.join("build.sh"), build).expect("written");
    fs::set_permissions(project.join("build.sh"), fs::Permissions::from_mode(0o755)).expect("set");
}

/// Whether a process has ended; one that nobody has waited for counts.
fn has_ended(process: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

#[test]
fn dev_shows_first_build_then_each_difference() {
    let second = Guest::new("decent").describes(&[("decent", "value", 0), ("decent", "more", 0)]).second("more");
    let development = Development::start(&[("one", good_guest().value(7)), ("two", second.value(9))], &[]);
    let first = development.wait(1, "\ntest passed\n");
    assert!(
        first.starts_with("./build.sh --debug\n{\n  \"decent\": {\n    \"value\": 7\n  }\n}\nmine 1.0.0 ("),
        "{first}"
    );
    for part in [
        "): 5 of 5 runs, 100ms apart\n",
        "\n  time of a run  ",
        "\n  memory ",
        "\n  build          ",
        "without optimising\n",
    ] {
        assert!(first.contains(part), "{part:?} in {first}");
    }
    let runs = first.lines().find(|line| line.starts_with("  runs ")).expect("the time of each run");
    assert_eq!(runs.matches(" ms").count(), 5, "{runs}");
    assert!(!first.contains("difference"), "{first}");
    assert!(development.output().starts_with("watching 2 files in project\n\nbuild 1: "), "{}", development.output());
    development.save("source", "two");
    let second = development.wait(2, "\ntest passed\n");
    assert!(development.output().contains("\nchanged: source\n\nbuild 2: "), "{}", development.output());
    assert!(
        second.contains("\ndifference to the sample of build 1\n  +  decent.more   0\n  ~  decent.value  7 -> 9\n"),
        "{second}"
    );
    // The other way round, by a save in place. The file is in the cache.
    fs::write(development.project("source"), "one").expect("written");
    let third = development.wait(3, "\ntest passed\n");
    assert!(third.contains("\n  -  decent.more   0\n  ~  decent.value  9 -> 7\n"), "{third}");
    assert!(third.contains("  compiler       not needed: the file is in the cache\n"), "{third}");
    // A new file in a new directory.
    fs::create_dir(development.project("src")).expect("created");
    fs::write(development.project("src/more"), "").expect("written");
    let fourth = development.wait(4, "\ntest passed\n");
    assert!(fourth.contains("\nno difference to the sample of build 3\n"), "{fourth}");
    assert!(development.output().contains("\nchanged: src/more\n"), "{}", development.output());
}

#[test]
fn failed_build_keeps_the_last_good_one() {
    let development = Development::start(&[("one", good_guest().value(7)), ("two", good_guest().value(9))], &[]);
    development.wait(1, "\ntest passed\n");
    development.save("source", "missing");
    let failed = development.wait(2, "exit code");
    assert!(failed.contains("missing.wasm"), "the compiler's output: {failed}");
    assert!(failed.ends_with("\nbuild 2 failed with exit code 1; the plugin is still that of build 1\n"), "{failed}");
    fs::write(development.setup.path("text.wasm"), "text").expect("written");
    development.save("source", "text");
    let rejected = development.wait(3, "was not run\n");
    assert!(
        rejected.contains("mine.wasm (982d9e3e) is text, not WebAssembly; build it for a wasm target\n"),
        "{rejected}"
    );
    development.save("source", "two");
    let recovered = development.wait(4, "\ntest passed\n");
    assert!(recovered.contains("\ndifference to the sample of build 1\n  ~  decent.value  7 -> 9\n"), "{recovered}");
}

#[test]
fn output_that_no_build_has_written_is_named() {
    let setup = Setup::new();
    write_plugin(&setup, &good_guest().value(7), "one.wasm");
    let build = "#!/bin/sh\ncd \"$(dirname \"$0\")\"\n[ \"$(cat source)\" = none ] || cp ../one.wasm mine.wasm\n";
    write_project(&setup, build, "none");
    // The last one by its time, whatever a build writes.
    write_plugin(&setup, &good_guest().value(9), "project/other.wasm");
    let other = fs::File::options().write(true).open(setup.path("project/other.wasm")).expect("opened");
    other.set_modified(SystemTime::now() + Duration::from_secs(3600)).expect("set");
    let development = Development::watch(setup, &["--runs", "1"]);
    let first = development.wait(1, "\ntest passed\n");
    assert!(
        first.contains("\nother 1.0.0 (") && first.contains("  other.wasm, not written by this build\n"),
        "{first}"
    );
    development.save("source", "one");
    let second = development.wait(2, "\ntest passed\n");
    assert!(second.contains("\nmine 1.0.0 (") && !second.contains("other.wasm"), "{second}");
    for (build, source) in [(3, "none"), (4, "one"), (5, "none")] {
        development.save("source", source);
        let shown = development.wait(build, "\ntest passed\n");
        let since = format!("  mine.wasm, unchanged since build {}\n", build - 1);
        assert!(shown.contains("\nmine 1.0.0 (") && shown.contains(&since) == (source == "none"), "{shown}");
    }
}

#[test]
fn saves_during_a_build_are_one_more_build() {
    let guests = ["one", "two", "three", "four"].map(|name| (name, good_guest().value(name.len() as u32)));
    let development = Development::start(&guests, &["--runs", "2"]);
    development.wait(1, "\ntest passed\n");
    let gate = development.setup.path("gate");
    mkfifoat(CWD, &gate, Mode::RUSR | Mode::WUSR).expect("made");
    development.save("source", "two");
    wait_until("the second build is at the gate", || development.builds() == 2);
    for number in 0..20 {
        development.save(&format!("new{number}"), "1");
        development.save("source", if number % 2 == 0 { "one" } else { "three" });
    }
    // This waits until the build does; the next one finds no gate.
    let open_gate = OpenOptions::new().write(true).open(&gate).expect("opened");
    fs::remove_file(&gate).expect("removed");
    drop(open_gate);
    let third = development.wait(3, "\ntest passed\n");
    assert!(third.contains("difference to the sample of build 2\n  ~  decent.value  3 -> 5\n"), "{third}");
    assert!(
        development.output().contains("\nchanged: new0, new1, new10, new11, new12, 16 more\n"),
        "{}",
        development.output()
    );
    development.save("source", "four");
    let fourth = development.wait(4, "\ntest passed\n");
    assert!(fourth.contains("difference to the sample of build 3\n  ~  decent.value  5 -> 4\n"), "{fourth}");
    assert_eq!(development.builds(), 4, "{}", development.output());
}

#[test]
fn signals_end_a_build_with_its_children() {
    for (signal, trap) in [(Signal::TERM, ""), (Signal::INT, "trap '' TERM;"), (Signal::HUP, "")] {
        let setup = Setup::new();
        let child = format!("({trap} echo started >../started; sleep 600) & echo $! >../child; wait");
        write_project(&setup, &format!("#!/bin/sh\ncd \"$(dirname \"$0\")\"\n{child}\n"), "");
        let mut development = Development::watch(setup, &[]);
        let (started, child) = (development.setup.path("started"), development.setup.path("child"));
        wait_until("the build has started its child", || {
            started.exists() && fs::read_to_string(&child).is_ok_and(|text| text.ends_with('\n'))
        });
        development.signal(signal);
        assert_eq!(development.end().code(), Some(0), "{}", development.output());
        let child = fs::read_to_string(child).expect("written");
        wait_until("its child has ended", || has_ended(child.trim()));
    }
    // While it waits for a change, too.
    let mut development = Development::start(&[("one", good_guest())], &["--runs", "1"]);
    development.wait(1, "\ntest passed\n");
    development.signal(Signal::INT);
    assert_eq!(development.end().code(), Some(0), "{}", development.output());
}

#[test]
fn faults_denials_and_messages_are_shown() {
    let trapping = good_guest().with("(func $inner unreachable)").before_collect("(call $inner)");
    let denied = reading(good_guest().logs(2, "careful"), "/etc/hostname");
    let development = Development::start(&[("trap", trapping), ("denied", denied)], &["--runs", "2"]);
    let trapped = development.wait(1, "\ntest failed\n");
    assert!(trapped.contains("\nbacktrace of run 1, and of 1 more\n  inner at 0x"), "{trapped}");
    development.save("source", "denied");
    let denied = development.wait(2, "\ntest failed\n");
    assert!(denied.contains("\n  [plugins.mine]\n  read = [\"/etc/hostname\"]\n"), "{denied}");
    assert!(denied.contains("\nlog\n  run 1  warn  careful\n"), "{denied}");
}

#[test]
fn grants_and_scripts_are_those_of_a_test() {
    let guest = reading(good_guest(), "/etc/hostname");
    let development = Development::start(&[("one", guest)], &["--grant", "read=/etc/*", "--runs", "1"]);
    development.wait(1, "\ntest passed\n");
    drop(development);
    let setup = Setup::new();
    write_plugin(&setup, &good_guest(), "one.wasm");
    write_project(&setup, BUILD, "one");
    fs::write(setup.path("project/host.toml"), "[[run]]\n[[run]]\n").expect("written");
    let development = Development::watch(setup, &["--script", "project/host.toml"]);
    development.wait(1, "host.golden does not exist; write it by --update\n\ntest failed\n");
    // The script is a source.
    development.save("host.toml", "[[ran]]\n");
    let invalid = development.wait(2, "build 2 was not run\n");
    assert!(invalid.contains("the script project/host.toml "), "{invalid}");
}

#[test]
fn unbuildable_project_is_reported_with_remedy() {
    let setup = Setup::new();
    write_project(&setup, "#!/bin/sh\n", "");
    fs::set_permissions(setup.path("project/build.sh"), fs::Permissions::from_mode(0o644)).expect("set");
    let development = Development::watch(setup, &[]);
    development.wait(1, "build 1 cannot be started: Permission denied (os error 13); check that it begins with #! and a program, and run chmod +x on it\n");
    fs::set_permissions(development.project("build.sh"), fs::Permissions::from_mode(0o755)).expect("set");
    development.wait(
        2,
        "build 2 made nothing: ./build.sh --debug has made no .wasm file in project; let it write one there\n",
    );
}

#[test]
fn directories_that_are_no_projects_exit_with_2() {
    let setup = Setup::new();
    fs::create_dir(setup.path("empty")).expect("created");
    for (directory, why) in [
        ("missing", "missing is not a directory; name that of a project, such as one of `gauged plugin new`\n"),
        ("empty", "empty has no build.sh, so it is not a project of `gauged plugin new`; name the directory of one\n"),
    ] {
        let output = plugin(&setup, &["dev", directory]);
        assert_eq!((output.code, &*output.stdout, &*output.stderr), (Some(2), "", why));
    }
    let output = plugin(&setup, &["dev", "empty", "--runs", "0"]);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
}

#[test]
fn closed_output_ends_the_command() {
    let setup = Setup::new();
    write_plugin(&setup, &good_guest(), "one.wasm");
    write_project(&setup, BUILD, "one");
    let mut child = setup
        .command(&["plugin", "dev", "project", "--runs", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let mut status = None;
    wait_until("the command ends", || {
        status = child.try_wait().expect("it can be waited for");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0));
}

/// The plugins of these sources are built together, by a build that takes no --debug.
#[test]
fn repository_plugin_uses_the_common_build_script() {
    let setup = Setup::new();
    let plugins = setup.path("sources");
    let copy = |name: &str| {
        fs::create_dir_all(plugins.join(name).parent().expect("below it")).expect("created");
        fs::copy(repository().join("plugins").join(name), plugins.join(name)).expect("copied");
    };
    for name in ["Cargo.toml", "sdk/Cargo.toml", "hello/Cargo.toml"] {
        copy(name);
    }
    write_plugin(&setup, &good_guest(), "one.wasm");
    let build = "#!/bin/sh\ncd \"$(dirname \"$0\")\"\n[ $# = 0 ] && cp ../one.wasm hello.wasm\n";
    fs::write(plugins.join("build.sh"), build).expect("written");
    fs::set_permissions(plugins.join("build.sh"), fs::Permissions::from_mode(0o755)).expect("set");
    std::os::unix::fs::symlink(Path::new("sources/hello"), setup.path("project")).expect("linked");
    let development = Development::watch(setup, &["--runs", "1"]);
    let first = development.wait(1, "\ntest passed\n");
    assert!(first.starts_with("../build.sh\n{\n") && first.contains("\nhello 1.0.0 ("), "{first}");
}
