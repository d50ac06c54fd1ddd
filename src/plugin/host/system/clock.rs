//! The state of the kernel's clock, by adjtimex(2), which only reads it here.

use std::io;

use rustix::io::Errno;

use super::error::{QueryError, unsupported};
use crate::plugin::guest::bindings::gauged::plugin::system::{ClockStatus, LeapSecond};

/// The bit of the status by which offsets are in nanoseconds, not microseconds.
const STA_NANO: i32 = 0x2000;

/// The states that the call returns.
const TIME_INS: i32 = 1;
const TIME_DEL: i32 = 2;
const TIME_OOP: i32 = 3;
const TIME_WAIT: i32 = 4;
const TIME_ERROR: i32 = 5;

/// Parts per million, with 16 bits of fraction, as the kernel has frequencies.
const PPM: f64 = 65536.0;

/// The remedy where the operating system refuses it.
const REMEDY: &str = "let the agent's sandbox call adjtimex and clock_adjtime";

/// The fields of `struct timex` that are measured, in its units.
#[derive(Debug, Clone, Copy, Default)]
struct Timex {
    status: i32,
    offset: i64,
    frequency: i64,
    maximum_error_us: i64,
    estimated_error_us: i64,
    time_constant: i64,
    tolerance: i64,
    tick_us: i64,
    tai_s: i32,
}

/// Reads the state of the clock.
#[allow(clippy::useless_conversion, reason = "the kernel's numbers are shorter on other processors")]
pub(super) fn read() -> Result<ClockStatus, QueryError> {
    #[expect(unsafe_code, reason = "a record of numbers, of which all bits may be zero: no field is changed")]
    // SAFETY: `timex` has integers only.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    #[expect(unsafe_code, reason = "no other crate of the tree has this call")]
    // SAFETY: the kernel writes one `timex`.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 {
        let errno = Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO);
        return Err(if errno == Errno::NOSYS {
            unsupported("there is no adjtimex", errno)
        } else {
            QueryError::new(errno, REMEDY)
        });
    }
    Ok(status(
        state,
        &Timex {
            status: timex.status,
            offset: timex.offset.into(),
            frequency: timex.freq.into(),
            maximum_error_us: timex.maxerror.into(),
            estimated_error_us: timex.esterror.into(),
            time_constant: timex.constant.into(),
            tolerance: timex.tolerance.into(),
            tick_us: timex.tick.into(),
            tai_s: timex.tai,
        },
    ))
}

#[expect(clippy::cast_precision_loss, reason = "a frequency has 26 bits")]
fn status(state: i32, timex: &Timex) -> ClockStatus {
    let nanoseconds = |us: i64| u64::try_from(us).unwrap_or_default().saturating_mul(1000);
    let leap = match state {
        TIME_INS => LeapSecond::Added,
        TIME_DEL => LeapSecond::Removed,
        TIME_OOP => LeapSecond::UnderWay,
        TIME_WAIT => LeapSecond::Over,
        _ => LeapSecond::None,
    };
    let is_nano = timex.status & STA_NANO != 0;
    ClockStatus {
        synchronised: state != TIME_ERROR,
        leap,
        status: timex.status.cast_unsigned(),
        offset_ns: timex.offset.saturating_mul(if is_nano { 1 } else { 1000 }),
        frequency_ppm: timex.frequency as f64 / PPM,
        tolerance_ppm: timex.tolerance as f64 / PPM,
        maximum_error_ns: nanoseconds(timex.maximum_error_us),
        estimated_error_ns: nanoseconds(timex.estimated_error_us),
        time_constant: timex.time_constant,
        tick_ns: nanoseconds(timex.tick_us),
        tai_offset_s: timex.tai_s,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_is_that_of_the_kernel() {
        let clock = read().expect("every kernel has it");
        assert!(clock.tick_ns > 0 && clock.maximum_error_ns <= 16_000_000_000, "{clock:?}");
        assert!(clock.tolerance_ppm >= 500.0 && clock.frequency_ppm.abs() <= clock.tolerance_ppm, "{clock:?}");
        // STA_UNSYNC.
        assert!(clock.status & 0x40 == 0 || !clock.synchronised, "{clock:?}");
    }

    #[test]
    fn units_follow_the_status() {
        let timex = Timex {
            status: STA_NANO | 1,
            offset: -1500,
            frequency: -65536 * 3 / 2,
            maximum_error_us: 250,
            estimated_error_us: -1,
            tai_s: 37,
            ..Timex::default()
        };
        let nano = status(TIME_INS, &timex);
        assert_eq!((nano.offset_ns, nano.leap, nano.synchronised), (-1500, LeapSecond::Added, true));
        assert_eq!((nano.frequency_ppm, nano.maximum_error_ns, nano.estimated_error_ns), (-1.5, 250_000, 0));
        assert_eq!((nano.tai_offset_s, nano.status), (37, 0x2001));
        let micro = status(TIME_ERROR, &Timex { status: 0x40, ..timex });
        assert_eq!((micro.offset_ns, micro.leap, micro.synchronised), (-1_500_000, LeapSecond::None, false));
        let leaps = [TIME_DEL, TIME_OOP, TIME_WAIT, 0].map(|state| status(state, &timex).leap);
        assert_eq!(leaps, [LeapSecond::Removed, LeapSecond::UnderWay, LeapSecond::Over, LeapSecond::None]);
    }
}
