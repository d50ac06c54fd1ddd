//! One build of a project: its program in a process group of its own, so that all that it starts ends with it.

use std::io;
use std::os::fd::AsFd as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::project::Project;

/// How long a build has to end by itself, and to remove its temporary files, before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// How often its end is looked for meanwhile, once its first process has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A build under way.
pub(super) struct Build {
    child: Child,
    /// The group of its processes, until its first one has ended.
    group: Option<Pid>,
}

impl Build {
    /// Starts a build. Its output goes to standard error, as it comes.
    ///
    /// # Errors
    ///
    /// When the program cannot be started.
    pub(super) fn start(project: &Project) -> io::Result<Self> {
        let output = || io::stderr().as_fd().try_clone_to_owned().map(Stdio::from);
        #[expect(clippy::disallowed_methods, reason = "the author's own build, for the author; no agent does this")]
        let child = Command::new(project.program()?)
            .args(project.arguments)
            .current_dir(&project.build_directory)
            .stdin(Stdio::null())
            .stdout(output()?)
            .stderr(output()?)
            // A signal of the terminal is passed on, so that the build has time to end.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { child, group })
    }

    /// Waits for the end of its first process. Cancellation safe.
    ///
    /// # Errors
    ///
    /// When its end cannot be awaited.
    pub(super) async fn end(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        // What it has left running is meant to stay, such as a server of the compiler's.
        self.group = None;
        Ok(status)
    }

    /// Ends all its processes.
    pub(super) async fn stop(mut self) {
        let Some(group) = self.group else { return };
        // It fails when they have just ended.
        let _ = kill_process_group(group, Signal::TERM);
        let ended = timeout(GRACE, async {
            let _ = self.child.wait().await;
            while test_kill_process_group(group).is_ok() {
                sleep(LOOK).await;
            }
        });
        if ended.await.is_ok() {
            self.group = None;
        }
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
