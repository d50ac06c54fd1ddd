//! The bounds of possible values, in one table: a file system, driver or hypervisor that reports more is wrong, and a
//! missing metric is better than a wrong one. A bound is far from anything that healthy machines report.

use crate::kernel::{File, Number};

/// The bounds of a quantity, both possible themselves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// The lowest possible value.
    pub low: f64,
    /// The highest possible value.
    pub high: f64,
    /// The reason for the bounds.
    pub reason: &'static str,
    /// Where the reason is documented, or the wrong value was met.
    pub source: &'static str,
}

/// Numbers of things and bytes, and their growth from tick to tick.
pub const COUNT: Bound = Bound {
    low: 0.0,
    high: 9_223_372_036_854_775_807.0,
    reason: "with the top bit set it is a negative number that was printed without its sign",
    source: "statfs(2) of full file systems (rclone, XFS); percpu counters of the kernel, which are signed",
};

/// Seconds since boot, in hundredths.
pub const UPTIME_SECONDS: Bound = Bound {
    low: 0.01,
    high: 9_223_372_036.0,
    reason: "the kernel's clocks have 63 bits of nanoseconds, and begin at the boot; the reader has run for a while",
    source: "ktime_t in include/linux/ktime.h; lxc/lxcfs#165 and lxc/lxc#755 on 0.0, lxc/lxcfs#732 on negative ones",
};

/// Measured temperatures.
pub const CELSIUS: Bound = Bound {
    low: -273.0,
    high: 2_320.0,
    reason: "from above absolute zero, which a device reports that has no sensor, to the end of type C, the hottest thermocouple",
    source: "Raspberry Pi firmware with -650788.984; THERMAL_TEMP_INVALID, -274, in include/linux/thermal.h; 0 kelvins of NVM \
             Express in virtual machines (oxidecomputer/propolis#1213, linux-nvme/nvme-cli#884)",
};

/// Limits of temperatures, which may be out of reach: NVM Express reports 65,261.85 for none.
pub const CELSIUS_LIMIT: Bound = Bound {
    low: -273.0,
    high: 1_000_000.0,
    reason: "from above absolute zero, which stands for no limit, to beyond 16 bits of kelvins",
    source: "Documentation/hwmon/sysfs-interface.rst; WCTEMP of NVM Express; olehj/disklocation#409",
};

/// Revolutions of a fan per minute.
pub const FAN_RPM: Bound = Bound {
    low: 0.0,
    high: 65_534.0,
    reason: "fans of servers reach 40,000; a driver that fails reports -1 in 16 bits, a tachometer that counts one period more",
    source: "openbmc on MAX31785; FAN_FROM_REG in drivers/hwmon/w83781d.c",
};

/// Levels of cooling devices.
pub const COOLING_LEVEL: Bound = Bound {
    low: 0.0,
    high: 4_294_967_295.0,
    reason: "levels are unsigned long, counted from 0; -1 is an error of the driver",
    source: "Documentation/driver-api/thermal/sysfs-api.rst",
};

/// Averages that the kernel reports in percent.
pub const AVERAGE_PERCENT: Bound = Bound {
    low: 0.0,
    high: 100.0,
    reason: "a share of a time is at most all of it",
    source: "Documentation/accounting/psi.rst",
};

/// Shares of a tick that were computed from counters of time.
pub const TICK_PERCENT: Bound = Bound {
    low: 0.0,
    high: 200.0,
    reason: "two reads may be further apart than their ticks by a call's time, at most another tick; a counter that moved \
             further than that jumped",
    source: "elastic/beats and others on io_ticks and counters of guests that jump",
};

/// Shares of a tick that all CPUs spent for one group; [`cpus_percent`] where their number is known.
pub const ALL_CPUS_PERCENT: Bound = Bound {
    low: 0.0,
    high: 200.0 * 8192.0,
    reason: "8,192 is the largest NR_CPUS of any architecture; the factor of 2 is that of a tick",
    source: "arch/x86/Kconfig",
};

/// Bytes of a network interface per second.
pub const INTERFACE_BYTES_PER_SECOND: Bound =
    Bound { low: 0.0, high: 1e12, reason: "five times the fastest Ethernet, 1.6 Tbit/s", source: "IEEE 802.3dj" };

/// Bytes of a network interface per second, as a multiple of its speed.
pub const TIMES_SPEED: Bound = Bound {
    low: 0.0,
    high: 16.0,
    reason: "a link carries no more than its speed, but a virtual one reports that of another: veth 10 Gbit/s always",
    source: "drivers/net/veth.c; counters that fall to zero and come back (netdata, Diamond)",
};

/// Packets of a network interface per second.
pub const INTERFACE_PACKETS_PER_SECOND: Bound = Bound {
    low: 0.0,
    high: 1e12 / 64.0,
    reason: "five times the fastest Ethernet, 1.6 Tbit/s, in packets of the least size, 64 bytes",
    source: "IEEE 802.3",
};

/// Bytes of a disk per second.
pub const DISK_BYTES_PER_SECOND: Bound = Bound {
    low: 0.0,
    high: 1e12,
    reason: "four times the fastest bus, 2.4e11; the fastest disks have 3e10",
    source: "PCI Express 7.0 with 16 lanes",
};

/// Operations per second: of a disk, or requests of a server.
pub const OPERATIONS_PER_SECOND: Bound = Bound {
    low: 0.0,
    high: 1e9,
    reason: "a hundred times what the fastest disks do, 1e7",
    source: "Documentation/block/null_blk.rst, a device that does nothing",
};

/// Operations in progress at one disk, as a mean over a tick.
pub const QUEUE_LENGTH: Bound = Bound {
    low: 0.0,
    high: 65_536.0,
    reason: "a queue of NVM Express, the longest, has that many commands; a time in milliseconds that passes zero in 32 bits adds \
             4,294,967 seconds",
    source: "NVM Express Base Specification, MQES; Documentation/admin-guide/iostats.rst",
};

/// The mean duration of the operations of a disk.
pub const OPERATION_SECONDS: Bound = Bound {
    low: 0.0,
    high: 86_400.0,
    reason: "drivers give up after minutes, and what waits for a day waits for somebody",
    source: "SD_TIMEOUT in drivers/scsi/sd.h; queue_if_no_path in drivers/md/dm-mpath.c",
};

/// The table.
pub const ALL: [Bound; 16] = [
    COUNT,
    UPTIME_SECONDS,
    CELSIUS,
    CELSIUS_LIMIT,
    FAN_RPM,
    COOLING_LEVEL,
    AVERAGE_PERCENT,
    TICK_PERCENT,
    ALL_CPUS_PERCENT,
    INTERFACE_BYTES_PER_SECOND,
    TIMES_SPEED,
    INTERFACE_PACKETS_PER_SECOND,
    DISK_BYTES_PER_SECOND,
    OPERATIONS_PER_SECOND,
    QUEUE_LENGTH,
    OPERATION_SECONDS,
];

impl Bound {
    /// The value, if it is possible.
    ///
    /// ```
    /// use gauged_plugin::bounds::{CELSIUS, COUNT};
    ///
    /// assert_eq!(COUNT.check(7_u64), Some(7));
    /// assert_eq!(COUNT.check(u64::MAX - 2099), None, "-2100 blocks");
    /// assert_eq!(CELSIUS.check(-650_788.984), None);
    /// ```
    #[must_use]
    pub fn check<T: Number + Copy>(&self, value: T) -> Option<T> {
        let number = value.to_f64();
        (self.low <= number && number <= self.high && !value.has_top_bit()).then_some(value)
    }
}

/// A number of blocks or inodes of a file system that is known to be less than 2^63 in all: negative ones, which were
/// printed without their sign, are none.
///
/// ```
/// use gauged_plugin::bounds::blocks;
///
/// assert_eq!(blocks(350), 350);
/// assert_eq!(blocks(u64::MAX - 2099), 0, "what is reserved exceeds what is free by 2100");
/// ```
#[must_use]
pub fn blocks(count: u64) -> u64 {
    COUNT.check(count).unwrap_or(0)
}

/// The bound of [`ALL_CPUS_PERCENT`] on the machine of this `/proc/stat`; a file without CPUs leaves it as it is.
///
/// ```
/// use gauged_plugin::bounds::cpus_percent;
/// use gauged_plugin::kernel::File;
///
/// let stat = File::new("/proc/stat", "cpu  9 0 9 99\ncpu0 4 0 5 50\ncpu1 5 0 4 49\nintr 7\n");
/// assert_eq!(cpus_percent(&stat).check(400.0), Some(400.0), "twice two CPUs");
/// assert_eq!(cpus_percent(&stat).check(401.0), None);
/// ```
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "a number of CPUs")]
pub fn cpus_percent(stat: &File) -> Bound {
    let number =
        |line: &str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|at: char| at.is_ascii_digit()));
    let cpus = stat.lines().filter(|line| number(line.text())).count();
    let high = if cpus == 0 { ALL_CPUS_PERCENT.high } else { TICK_PERCENT.high * cpus as f64 };
    Bound { high, ..ALL_CPUS_PERCENT }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of all magnitudes, from a fixed seed.
    fn numbers() -> impl Iterator<Item = u64> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        (0..20_000_u32).map(move |at| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> (at % 64)
        })
    }

    #[test]
    #[allow(clippy::cast_precision_loss, reason = "numbers for bounds")]
    fn bounds_hold_for_any_number() {
        for bound in ALL {
            assert!(bound.low < bound.high && !bound.reason.is_empty() && !bound.source.is_empty(), "{bound:?}");
            assert!(bound.check(bound.low).is_some() && bound.check(bound.high).is_some());
            for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                assert!(bound.check(number).is_none(), "{bound:?} {number}");
            }
            for number in numbers() {
                let float = number as f64 / 1000.0;
                for float in [float, -float] {
                    let is_possible = bound.low <= float && float <= bound.high;
                    assert_eq!(bound.check(float), is_possible.then_some(float), "{bound:?}");
                }
                let checked = bound.check(number);
                assert!(checked.is_none_or(|checked| checked == number && i64::try_from(checked).is_ok()));
            }
        }
    }

    #[test]
    fn count_is_any_number_below_two_to_63() {
        for number in numbers().chain([0, u64::MAX, 1 << 63, (1 << 63) - 1, (1 << 63) + 1]) {
            assert_eq!(COUNT.check(number).is_some(), number < 1 << 63, "{number}");
            assert_eq!(blocks(number), if number < 1 << 63 { number } else { 0 });
        }
    }
}
