//! The state of the kernel's clock: whether it follows a source of time, and how far it is off.

use std::time::Duration;

use gauged_plugin::Sample;
use gauged_plugin::skipped::Skipped;
use gauged_plugin::system::{self, ClockStatus};

gauged_plugin::metrics! {
    module "kernel";
    /// Whether the clock follows a source of time, as chrony or ntpd sets it.
    SYNCHRONISED: gauge "clock_synchronised" in "1";
    /// Time by which the clock is still to be corrected.
    OFFSET: gauge "clock_offset_seconds" in "s";
    /// Frequency of the clock as it is corrected, as a share of that of its hardware.
    FREQUENCY: gauge "clock_frequency_ratio" in "1";
    /// Largest error of the clock; rises by 0.5 ms a second while nothing corrects it.
    MAXIMUM_ERROR: gauge "clock_maximum_error_seconds" in "s";
    /// Error of the clock as its discipline estimates it.
    ESTIMATED_ERROR: gauge "clock_estimated_error_seconds" in "s";
    /// Bits of the clock's status, as in the kernel's timex.h.
    STATUS: gauge "clock_status" in "1";
    /// Time constant of the loop that corrects the clock.
    TIME_CONSTANT: gauge "clock_time_constant" in "1";
    /// Time between two ticks of the kernel.
    TICK: gauge "clock_tick_seconds" in "s";
    /// International Atomic Time minus UTC; 0 if nothing has set it.
    TAI_OFFSET: gauge "clock_tai_offset_seconds" in "s";
}

/// Sets the metrics, where the kernel says them: not for another host below the agent's root.
pub(crate) fn set_metrics(sample: &mut Sample, skipped: &mut Skipped) {
    let clock = match system::read_clock() {
        Err(failure) if failure.is_unsupported() => return,
        read => skipped.keep(read, "the state of the clock"),
    };
    let Some(clock) = clock else { return };
    let ClockStatus { offset_ns, frequency_ppm, maximum_error_ns, estimated_error_ns, tick_ns, .. } = clock;
    let seconds = |ns: u64| Duration::from_nanos(ns).as_secs_f64();
    sample.set(SYNCHRONISED, clock.synchronised);
    sample.set(OFFSET, seconds(offset_ns.unsigned_abs()) * if offset_ns < 0 { -1.0 } else { 1.0 });
    sample.set(FREQUENCY, 1.0 + frequency_ppm / 1e6);
    sample.set(MAXIMUM_ERROR, seconds(maximum_error_ns));
    sample.set(ESTIMATED_ERROR, seconds(estimated_error_ns));
    sample.set(STATUS, clock.status);
    sample.set(TIME_CONSTANT, clock.time_constant);
    sample.set(TICK, seconds(tick_ns));
    sample.set(TAI_OFFSET, clock.tai_offset_s);
}

#[cfg(test)]
mod tests {
    use gauged_plugin::OsError;
    use gauged_plugin::system::{Error, LeapSecond};
    use gauged_plugin::testing::{Harness, Host, expect};

    use crate::Kernel;

    const CLOCK: super::ClockStatus = super::ClockStatus {
        synchronised: true,
        leap: LeapSecond::None,
        status: 0x2001,
        offset_ns: -1_500,
        frequency_ppm: -12.5,
        tolerance_ppm: 500.0,
        maximum_error_ns: 2_500_000,
        estimated_error_ns: 125_000,
        time_constant: 6,
        tick_ns: 10_000_000,
        tai_offset_s: 37,
    };

    fn kernel(host: &mut Host) -> Harness<Kernel> {
        host.file("/proc/stat", "ctxt 7\n");
        Harness::start(host.clone(), "{}").expect("no configuration")
    }

    #[test]
    fn clock_is_measured_in_seconds() {
        let sample = kernel(Host::new().clock(CLOCK)).tick().expect("a sample");
        expect![[r"
            kernel.clock_estimated_error_seconds 0.000125
            kernel.clock_frequency_ratio 0.9999875
            kernel.clock_maximum_error_seconds 0.0025
            kernel.clock_offset_seconds -0.0000015
            kernel.clock_status 8193
            kernel.clock_synchronised true
            kernel.clock_tai_offset_seconds 37
            kernel.clock_tick_seconds 0.01
            kernel.clock_time_constant 6
            kernel.context_switches_total 7
        "]]
        .assert_eq(&sample.render());
    }

    #[test]
    fn host_without_a_clock_has_the_other_metrics() {
        for (error, warnings) in
            [(Error::NotSupported("another host".to_owned()), 0), (Error::Io(OsError::new("EIO", "it broke")), 1)]
        {
            let mut kernel = kernel(Host::new().clock_fails(error));
            assert_eq!(kernel.tick().expect("a sample").render(), "kernel.context_switches_total 7\n");
            assert_eq!(kernel.host().warnings().len(), warnings);
        }
    }
}
