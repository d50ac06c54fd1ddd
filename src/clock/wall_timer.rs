//! The timer on the wall clock. It wakes the agent at a moment, and when the clock is set, since the next tick may then be
//! at another moment. The moments come from `schedule`.

use std::io;
use std::time::Duration;

#[cfg(target_os = "linux")]
pub(crate) use self::timerfd::WallTimer;

#[cfg(not(target_os = "linux"))]
pub(crate) use self::sleeping::WallTimer;

/// A timerfd: it never expires early, and is cancelled when the clock is set.
#[cfg(target_os = "linux")]
mod timerfd {
    use std::os::fd::OwnedFd;

    use rustix::io::Errno;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;

    use super::{Duration, io};

    /// The system calls on a timer that report that the clock was set, or a test's substitutes.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Calls {
        pub(super) set_time: fn(&AsyncFd<OwnedFd>, TimerfdTimerFlags, &Itimerspec) -> Result<(), Errno>,
        pub(super) read: fn(&AsyncFd<OwnedFd>, &mut [u8; 8]) -> Result<usize, Errno>,
    }

    impl Calls {
        pub(super) const KERNEL: Self = Self {
            set_time: |timer, flags, setting| timerfd_settime(timer, flags, setting).map(drop),
            read: |timer, expirations| rustix::io::read(timer, expirations),
        };
    }

    /// A timer that expires at multiples of an interval.
    #[derive(Debug)]
    pub(crate) struct WallTimer {
        timer: AsyncFd<OwnedFd>,
        interval: Duration,
        /// The moment for which the timer is set.
        pub(super) set_for: Option<Duration>,
        pub(super) calls: Calls,
    }

    impl WallTimer {
        /// A timer that is not set yet.
        #[expect(unsafe_code, reason = "registering a descriptor with tokio is unsafe")]
        pub(crate) fn new(interval: Duration) -> io::Result<Self> {
            let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            // SAFETY: the descriptor is owned, and stays open until it is dropped with its owner.
            let timer = unsafe { AsyncFd::register(timer) }?;
            Ok(Self { timer, interval, set_for: None, calls: Calls::KERNEL })
        }

        /// Waits for a moment since the Unix epoch, or until the clock is set. Cancel-safe: it may be dropped and called
        /// again.
        pub(crate) async fn wait(&mut self, moment: Duration) -> io::Result<()> {
            if self.set_for != Some(moment) {
                let setting = Itimerspec { it_interval: timespec(self.interval), it_value: timespec(moment) };
                let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
                match (self.calls.set_time)(&self.timer, flags, &setting) {
                    Ok(()) => self.set_for = Some(moment),
                    // The kernel reports once that the clock was set since the last call. The caller computes a new
                    // moment.
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
                match (self.calls.read)(&self.timer, &mut expirations) {
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

/// Sleeps in short steps, and reads the clock after each.
#[cfg(not(target_os = "linux"))]
mod sleeping {
    use super::{Duration, io};
    use crate::clock::schedule::wall_clock;

    /// The longest time until a change of the clock is noticed.
    const LONGEST_SLEEP: Duration = Duration::from_secs(5);

    /// A timer that wakes too early rather than too late.
    #[derive(Debug)]
    pub(crate) struct WallTimer {
        longest_sleep: Duration,
    }

    impl WallTimer {
        /// A timer for moments that are an interval apart.
        #[allow(clippy::unnecessary_wraps, reason = "the timer of Linux can fail")]
        pub(crate) fn new(interval: Duration) -> io::Result<Self> {
            Ok(Self { longest_sleep: LONGEST_SLEEP.min(interval) })
        }

        /// Waits for a moment since the Unix epoch, or for the longest sleep.
        pub(crate) async fn wait(&mut self, moment: Duration) -> io::Result<()> {
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
    async fn timer_expires_at_its_moments() {
        let interval = Duration::from_millis(30);
        let mut timer = WallTimer::new(interval).expect("a timer");
        let mut moment = wall_clock() + interval;
        for _ in 0..5 {
            while wall_clock() < moment {
                timer.wait(moment).await.expect("no error");
                // Unless the clock was set, it waits long enough.
                #[cfg(target_os = "linux")]
                assert!(timer.set_for.is_none() || wall_clock() >= moment, "{timer:?}");
            }
            moment += interval;
        }
        // A moment in the past.
        timer.wait(Duration::from_secs(1)).await.expect("no error");
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_clock_change_while_setting_returns_at_once() {
        let mut timer = WallTimer::new(Duration::from_secs(1)).expect("a timer");
        timer.calls.set_time = |_, _, _| Err(rustix::io::Errno::CANCELED);
        let wait = timer.wait(wall_clock() + Duration::from_secs(3600));
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("no waiting").expect("no error");
        assert_eq!(timer.set_for, None, "it is set again for any moment");
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn clock_change_while_waiting_resets_the_timer() {
        let mut timer = WallTimer::new(Duration::from_secs(3600)).expect("a timer");
        let moment = wall_clock();
        timer.calls.read = |_, _| Err(rustix::io::Errno::CANCELED);
        timer.wait(moment).await.expect("no error");
        assert_eq!(timer.set_for, None, "it is set again for any moment");
        // Otherwise the next expiration would be in an hour.
        timer.calls.read = timerfd::Calls::KERNEL.read;
        let wait = timer.wait(moment);
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it was set again").expect("no error");
        assert_eq!(timer.set_for, moment.checked_add(Duration::from_secs(3600)));
    }
}
