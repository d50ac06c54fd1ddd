//! A timer on the wall clock: wakes the agent at a moment, once, and also when the clock is set, since the next tick may
//! be at another moment after that. The moments come from `schedule`.

use std::io;
use std::time::Duration;

#[cfg(target_os = "linux")]
pub use self::timerfd::WallTimer;

#[cfg(not(target_os = "linux"))]
pub use self::sleeping::WallTimer;

/// A timer of the kernel, which never expires early and is cancelled when the clock is set.
#[cfg(target_os = "linux")]
mod timerfd {
    use std::os::fd::OwnedFd;

    use rustix::io::Errno;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;

    use super::{Duration, io};

    /// The system call that sets a timer. A test puts another function in its place.
    type SetTime = fn(&AsyncFd<OwnedFd>, TimerfdTimerFlags, &Itimerspec) -> Result<(), Errno>;

    /// A timer that expires at multiples of an interval.
    #[derive(Debug)]
    pub struct WallTimer {
        timer: AsyncFd<OwnedFd>,
        interval: Duration,
        /// The moment at which it expires next without being set again.
        set_for: Option<Duration>,
        set_time: SetTime,
    }

    impl WallTimer {
        /// An timer that is not set yet.
        ///
        /// # Errors
        ///
        /// When the kernel has no timer left.
        #[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor that is only ours to give")]
        pub fn new(interval: Duration) -> io::Result<Self> {
            let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            // SAFETY: an owned descriptor is the same one, and open, until it is dropped with what owns it.
            let timer = unsafe { AsyncFd::register(timer) }?;
            let set_time: SetTime = |timer, flags, setting| timerfd_settime(timer, flags, setting).map(drop);
            Ok(Self { timer, interval, set_for: None, set_time })
        }

        /// The same with another function in place of the system call.
        #[cfg(test)]
        pub(super) fn with_set_time(self, set_time: SetTime) -> Self {
            Self { set_time, ..self }
        }

        /// Waits for a moment since the Unix epoch, or until the clock is set. May be dropped and awaited anew.
        ///
        /// # Errors
        ///
        /// When the kernel refuses the moment.
        pub async fn wait(&mut self, moment: Duration) -> io::Result<()> {
            if self.set_for != Some(moment) {
                let setting = Itimerspec { it_interval: timespec(self.interval), it_value: timespec(moment) };
                let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
                match (self.set_time)(&self.timer, flags, &setting) {
                    Ok(()) => self.set_for = Some(moment),
                    // The clock was set since the timer was set last, which the kernel reports once: the caller has to
                    // compute the moment anew.
                    Err(Errno::CANCELED) => {
                        self.set_for = None;
                        return Ok(());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            loop {
                let mut ready = self.timer.readable().await?;
                let mut expirations = [0; 8];
                match rustix::io::read(&self.timer, &mut expirations) {
                    Ok(_) => {
                        ready.clear_ready();
                        let times = u32::try_from(u64::from_ne_bytes(expirations)).ok();
                        self.set_for = times.and_then(|times| moment.checked_add(self.interval.checked_mul(times)?));
                        return Ok(());
                    }
                    Err(Errno::CANCELED) => {
                        self.set_for = None;
                        return Ok(());
                    }
                    Err(Errno::AGAIN) => ready.clear_ready(),
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    fn timespec(duration: Duration) -> Timespec {
        Timespec {
            tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: duration.subsec_nanos().into(),
        }
    }
}

/// Sleeps, and reads the clock again before long.
#[cfg(not(target_os = "linux"))]
mod sleeping {
    use super::{Duration, io};
    use crate::clock::schedule::wall_clock;

    /// How long a clock that was set is not noticed.
    const LONGEST_SLEEP: Duration = Duration::from_secs(5);

    /// An timer that goes off at any moment.
    #[derive(Debug)]
    pub struct WallTimer {
        longest_sleep: Duration,
    }

    impl WallTimer {
        /// An timer for moments that are so far apart.
        ///
        /// # Errors
        ///
        /// None.
        pub fn new(interval: Duration) -> io::Result<Self> {
            Ok(Self { longest_sleep: LONGEST_SLEEP.min(interval) })
        }

        /// Waits for a moment since the Unix epoch, and not for longer than it takes to notice that the clock was set.
        ///
        /// # Errors
        ///
        /// None.
        pub async fn wait(&mut self, moment: Duration) -> io::Result<()> {
            tokio::time::sleep(moment.saturating_sub(wall_clock()).min(self.longest_sleep)).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::schedule::wall_clock;

    #[tokio::test]
    async fn expires_at_its_moments_and_not_before() {
        let interval = Duration::from_millis(30);
        let mut timer = WallTimer::new(interval).expect("a timer");
        let mut moment = wall_clock() + interval;
        for _ in 0..5 {
            while wall_clock() < moment {
                timer.wait(moment).await.expect("it waits");
            }
            moment += interval;
        }
        // A moment that it was not set for, and that has passed already.
        timer.wait(Duration::from_secs(1)).await.expect("at once");
    }

    /// The moment is one of the clock before it was set: it may be an hour away now.
    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_clock_change_while_setting_returns_at_once() {
        let timer = WallTimer::new(Duration::from_secs(1)).expect("a timer");
        let mut timer = timer.with_set_time(|_, _, _| Err(rustix::io::Errno::CANCELED));
        let wait = timer.wait(wall_clock() + Duration::from_secs(3600));
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it does not wait").expect("no error");
    }
}
