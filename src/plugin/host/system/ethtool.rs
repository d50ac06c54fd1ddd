//! The link of a network interface and the statistics of its driver, by the ioctl of ethtool(8). Only commands that change nothing,
//! and that the kernel lets every user give, are here.

use std::ffi::c_char;
use std::io;
use std::os::fd::AsRawFd as _;

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use super::error::{QueryError, unsupported};
use super::interface_name::InterfaceName;
use crate::plugin::guest::bindings::gauged::plugin::system::{DriverStatus, Duplex, LinkStatus, Statistic};

/// The number of the ioctl.
const SIOCETHTOOL: u16 = 0x8946;

/// Commands.
const GET_DRIVER: u32 = 0x03;
const GET_LINK: u32 = 0x0a;
const GET_STRINGS: u32 = 0x1b;
const GET_STATISTICS: u32 = 0x1d;
const GET_LINK_SETTINGS: u32 = 0x4c;

/// The set of names of a driver's statistics.
const STATISTICS_SET: u32 = 1;

/// The length of a name in a set.
const NAME_BYTES: usize = 32;

/// The length of the answer about a driver, which ends with the number of its statistics and three more.
const DRIVER_WORDS: usize = 49;
const STATISTICS_AT: usize = 45;

/// Where the texts of that answer are, of 32 bytes each: driver, version, firmware, bus.
const DRIVER_TEXTS: [usize; 4] = [4, 36, 68, 100];

/// The length of the answer about a link's settings, before and with its masks: three of at most 127 words.
const SETTINGS_WORDS: usize = 12 + 3 * 127;

/// The most statistics of a driver in a result: those of an adapter with a hundred queues.
const STATISTICS: usize = 4096;

/// How many statistics there is room for. The kernel writes as many as the driver has at that moment, which may be others than it has
/// said before; no driver has half as many.
const STATISTICS_ROOM: usize = 65536;

/// The part of that which a driver may have said.
const STATISTICS_CLAIM: usize = STATISTICS_ROOM / 4;

/// The remedy where the operating system refuses it.
const REMEDY: &str = "let the agent's sandbox use the ioctl of ethtool";

/// A network interface.
pub(super) struct Interface {
    socket: Socket,
    name: InterfaceName,
}

impl Interface {
    /// The interface of the agent's network with this name.
    pub(super) fn find(name: &str) -> Result<Self, QueryError> {
        let name = InterfaceName::find(name)?;
        // Any socket gives access to the interfaces.
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)
            .map_err(|error| explained(Errno::from_io_error(&error).unwrap_or(Errno::IO), "no sockets"))?;
        Ok(Self { socket, name })
    }

    /// The state of its link.
    pub(super) fn link(&self) -> Result<LinkStatus, QueryError> {
        let mut link = [GET_LINK, 0];
        let up = optional(self.ask(&mut link))?.map(|()| link[1] != 0);
        let settings = optional(self.settings())?;
        if up.is_none() && settings.is_none() {
            return Err(unsupported("no state of its link", Errno::OPNOTSUPP));
        }
        let settings = settings.unwrap_or_default();
        Ok(LinkStatus {
            up,
            bits_per_second: settings.bits_per_second(),
            duplex: settings.duplex(),
            autonegotiation: settings.autonegotiation(),
        })
    }

    fn settings(&self) -> Result<LinkSettings, Errno> {
        let mut words = [0_u32; SETTINGS_WORDS];
        words[0] = GET_LINK_SETTINGS;
        // The first answer is how many words each mask has, as a negative number.
        self.ask(&mut words)?;
        let mask_words = byte_at(&words, 15).wrapping_neg();
        if mask_words > 127 {
            return Err(Errno::INVAL);
        }
        words = [0; SETTINGS_WORDS];
        words[0] = GET_LINK_SETTINGS;
        words[3] = u32::from_ne_bytes([0, 0, 0, mask_words]);
        self.ask(&mut words)?;
        Ok(LinkSettings { megabits: words[1], duplex: byte_at(&words, 8), autonegotiation: byte_at(&words, 11) })
    }

    /// Its driver and the driver's statistics.
    pub(super) fn driver(&self) -> Result<DriverStatus, QueryError> {
        let mut words = [0_u32; DRIVER_WORDS];
        words[0] = GET_DRIVER;
        self.ask(&mut words).map_err(|errno| explained(errno, "no driver to ask"))?;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let [driver, version, firmware, bus] = DRIVER_TEXTS.map(|at| text(&bytes[at..at + NAME_BYTES]));
        let claimed = usize::try_from(words[STATISTICS_AT]).unwrap_or(usize::MAX);
        if claimed == 0 {
            return Ok(DriverStatus { driver, version, firmware, bus, statistics: Vec::new(), truncated: false });
        }
        if claimed > STATISTICS_CLAIM {
            return Err(QueryError::Other(format!("the driver has {claimed} statistics, more than can be read")));
        }
        let statistics = self.statistics().map_err(|errno| explained(errno, "no statistics"))?;
        let truncated = statistics.len() > STATISTICS;
        let statistics = statistics.into_iter().take(STATISTICS).collect();
        Ok(DriverStatus { driver, version, firmware, bus, statistics, truncated })
    }

    fn statistics(&self) -> Result<Vec<Statistic>, Errno> {
        // A set begins with three words, and each name has eight.
        let mut names = vec![0_u32; 3 + STATISTICS_ROOM * NAME_BYTES / 4];
        (names[0], names[1]) = (GET_STRINGS, STATISTICS_SET);
        self.ask(&mut names)?;
        // Values begin after two words, and each has two.
        let mut values = vec![0_u32; 2 + STATISTICS_ROOM * 2];
        values[0] = GET_STATISTICS;
        self.ask(&mut values)?;
        let count = names[2];
        if count != values[1] {
            // The driver was set up anew in between.
            return Err(Errno::AGAIN);
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(STATISTICS_ROOM);
        let (names, _) = names[3..].as_chunks::<{ NAME_BYTES / 4 }>();
        let (values, _) = values[2..].as_chunks::<2>();
        let statistics = names.iter().zip(values).take(count).map(|(name, &[first, second])| {
            let name: Vec<u8> = name.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let mut value = [0; 8];
            value[..4].copy_from_slice(&first.to_ne_bytes());
            value[4..].copy_from_slice(&second.to_ne_bytes());
            Statistic { name: text(&name), value: u64::from_ne_bytes(value) }
        });
        Ok(statistics.filter(|statistic| !statistic.name.is_empty()).collect())
    }

    /// Gives a command, which is the first word, and has room for its answer after it.
    fn ask(&self, words: &mut [u32]) -> Result<(), Errno> {
        #[expect(unsafe_code, reason = "a record of bytes, of which all bits may be zero")]
        // SAFETY: `ifreq` is a name and a union of numbers and pointers, which may be null.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(self.name.bytes()) {
            *to = c_char::from_ne_bytes([from]);
        }
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        #[expect(unsafe_code, reason = "no crate of the tree has this ioctl")]
        // SAFETY: the request lives as long as the call. The kernel writes behind the pointer what the command's record has: each
        // caller has room for the longest one.
        let returned = unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL.into(), &raw mut request) };
        if returned < 0 {
            return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO));
        }
        Ok(())
    }
}

/// The settings of a link, as the driver has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LinkSettings {
    megabits: u32,
    duplex: u8,
    autonegotiation: u8,
}

/// Of a driver that says nothing.
impl Default for LinkSettings {
    fn default() -> Self {
        Self { megabits: u32::MAX, duplex: u8::MAX, autonegotiation: u8::MAX }
    }
}

impl LinkSettings {
    fn bits_per_second(self) -> Option<u64> {
        // Without a link, drivers have nothing or -1 here.
        (self.megabits != 0 && self.megabits <= i32::MAX.cast_unsigned()).then(|| u64::from(self.megabits) * 1_000_000)
    }

    fn duplex(self) -> Option<Duplex> {
        match self.duplex {
            0 => Some(Duplex::Half),
            1 => Some(Duplex::Full),
            _ => None,
        }
    }

    fn autonegotiation(self) -> Option<bool> {
        match self.autonegotiation {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

/// A byte of a record of words.
fn byte_at(words: &[u32], at: usize) -> u8 {
    words[at / 4].to_ne_bytes()[at % 4]
}

/// A text that ends with its place or a zero.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

/// The answer, unless the driver has none.
fn optional<T>(answer: Result<T, Errno>) -> Result<Option<T>, QueryError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(errno) if is_unsupported(errno) => Ok(None),
        Err(errno) => Err(explained(errno, "")),
    }
}

fn explained(errno: Errno, what: &str) -> QueryError {
    match errno {
        Errno::NODEV => QueryError::NotFound,
        errno if is_unsupported(errno) => unsupported(what, errno),
        errno => QueryError::new(errno, REMEDY),
    }
}

/// Drivers and sandboxes differ in how they say it.
fn is_unsupported(errno: Errno) -> bool {
    matches!(errno, Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::NOSYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_up() {
        let link = Interface::find("lo").and_then(|interface| interface.link()).expect("every kernel has it");
        assert_eq!(link.up, Some(true));
        assert_eq!((link.bits_per_second, link.duplex), (None, None));
        let driver = Interface::find("lo").and_then(|interface| interface.driver());
        assert!(matches!(driver, Err(QueryError::NotSupported(_))), "{driver:?}");
    }

    /// The ioctl itself fails here, with an error of its own.
    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
    fn unknown_names_reach_no_ioctl() {
        use std::collections::BTreeMap;

        use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

        let denied = SeccompAction::Errno(Errno::XDEV.raw_os_error().cast_unsigned());
        let target = TargetArch::try_from(std::env::consts::ARCH).expect("a processor with such filters");
        let calls = BTreeMap::from([(libc::SYS_ioctl, Vec::new())]);
        let program: BpfProgram = SeccompFilter::new(calls, SeccompAction::Allow, denied, target)
            .and_then(SeccompFilter::try_into)
            .expect("valid");
        // The filter is that of one thread.
        let filtered = std::thread::spawn(move || {
            apply_filter(&program).expect("such filters");
            let link = |name: &str| Interface::find(name).and_then(|interface| interface.link());
            assert_eq!(link("lo"), Err(QueryError::System(Errno::XDEV)));
            for name in ["", "none-such", "nf_tables", "a-name-longer-than-fifteen", "l\0o", "none:lo"] {
                assert_eq!(link(name), Err(QueryError::NotFound), "{name:?}");
            }
        });
        filtered.join().expect("as expected");
    }

    #[test]
    fn speeds_of_links_without_one_are_unknown() {
        for (megabits, expected) in
            [(0, None), (u32::MAX, None), (10, Some(10_000_000)), (400_000, Some(400_000_000_000))]
        {
            assert_eq!(LinkSettings { megabits, ..LinkSettings::default() }.bits_per_second(), expected);
        }
        let settings = LinkSettings { duplex: 1, autonegotiation: 0, ..LinkSettings::default() };
        assert_eq!((settings.duplex(), settings.autonegotiation()), (Some(Duplex::Full), Some(false)));
        assert_eq!((LinkSettings::default().duplex(), LinkSettings::default().autonegotiation()), (None, None));
    }

    #[test]
    fn texts_end_at_a_zero() {
        assert_eq!(
            [&b"rx_ok\0\0"[..], b" 12345678", b"\0", b"a\xff"].map(text),
            ["rx_ok", "12345678", "", "a\u{fffd}"]
        );
    }
}
