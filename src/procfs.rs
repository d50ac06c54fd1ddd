//! The kernel's text files under a movable root, and the numbers, words and lines in them. The parsers are in the collectors.
//! They expect files that are not quite as the kernel writes them: of containers, of other kernels, of vendors.

mod oddity;
mod kept_file;
mod host_files;

use std::ops::RangeInclusive;
use std::path::Path;

use memchr::{memchr, memchr3};

pub(crate) use self::host_files::HostFiles;
#[cfg(test)]
pub(crate) use self::host_files::{measure_damaged_files, measure_files};
pub(crate) use self::kept_file::KeptFile;
use self::kept_file::read_once;
pub use self::kept_file::{FileProblem, ReadError};
pub(crate) use self::oddity::{NO_LINE, NOT_A_DECIMAL, NOT_A_NUMBER, ONLY_THE_LINE, Oddities, Oddity, TWICE};
use crate::hostpath::below;

/// The sizes of pages that Linux has: from 4 KiB to 256 KiB (powerpc), with room on both sides.
const PAGE_BYTES: RangeInclusive<u64> = 1024..=16 << 20;

/// The clock ticks of a second (`USER_HZ`): 100, or 1024 on Alpha and Itanium, with room on both sides.
const TICKS_PER_SECOND: RangeInclusive<u64> = 10..=10_000;

/// Constants of a kernel that no text file contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The size of a page of memory.
    pub(crate) page_bytes: u64,
    /// The unit of the times in `/proc/stat`.
    pub(crate) ticks_per_second: u64,
}

impl Machine {
    /// The constants of the measured host, from the auxiliary vector that its kernel gives every process; otherwise those of
    /// this process's kernel.
    #[must_use]
    pub(crate) fn detect(root: &Path) -> Self {
        let own = Self {
            page_bytes: rustix::param::page_size() as u64,
            ticks_per_second: rustix::param::clock_ticks_per_second(),
        };
        read_once(&below(root, "/proc/self/auxv")).map_or(own, |vector| own.with_auxv(&vector))
    }

    /// Takes the constants from an auxiliary vector, a list of pairs of words (`getauxval(3)`); `self` has the defaults, which
    /// stay where the vector has none that Linux could have.
    fn with_auxv(self, vector: &[u8]) -> Self {
        const PAGE_SIZE: u64 = 6;
        const CLOCK_TICKS: u64 = 17;
        let mut machine = self;
        for pair in vector.chunks_exact(2 * size_of::<usize>()) {
            let word = |at: usize| {
                let bytes = &pair[at * size_of::<usize>()..][..size_of::<usize>()];
                bytes.try_into().map_or(0, |bytes| usize::from_ne_bytes(bytes) as u64)
            };
            match (word(0), word(1)) {
                (PAGE_SIZE, bytes) if PAGE_BYTES.contains(&bytes) && bytes.is_power_of_two() => {
                    machine.page_bytes = bytes;
                }
                (CLOCK_TICKS, ticks) if TICKS_PER_SECOND.contains(&ticks) => machine.ticks_per_second = ticks,
                _ => {}
            }
        }
        machine
    }
}

/// The number at the start of the bytes, after white space. None if there is no number or it exceeds 64 bits.
#[must_use]
pub(crate) fn leading_number(bytes: &[u8]) -> Option<u64> {
    split_number(bytes).map(|(number, _rest)| number)
}

/// The number at the start as in [`leading_number`], and the rest.
#[must_use]
pub(crate) fn split_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let bytes = bytes.trim_ascii_start();
    let (mut number, mut digits) = (0_u64, 0);
    while let Some(digit @ 0..=9) = bytes.get(digits).map(|byte| byte.wrapping_sub(b'0')) {
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
        digits += 1;
    }
    (digits > 0).then(|| (number, &bytes[digits..]))
}

/// The first word after white space, and the rest.
#[must_use]
pub(crate) fn split_word(bytes: &[u8]) -> (&[u8], &[u8]) {
    let bytes = bytes.trim_ascii_start();
    bytes.split_at(bytes.iter().position(u8::is_ascii_whitespace).unwrap_or(bytes.len()))
}

/// A word that is a number and nothing else. None if it has a sign, a fraction or anything else, or exceeds 64 bits.
#[must_use]
pub(crate) fn whole_number(word: &[u8]) -> Option<u64> {
    split_number(word).filter(|(_, rest)| rest.is_empty()).map(|(number, _)| number)
}

/// A word of digits and at most one point, as the kernel writes fractions. None for anything else.
#[must_use]
pub(crate) fn decimal_number(word: &[u8]) -> Option<f64> {
    let is_plain = word.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    str::from_utf8(word).ok().filter(|_| is_plain)?.parse().ok()
}

/// The first line, and the rest.
#[must_use]
pub(crate) fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b'\n', text) {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &[]),
    }
}

/// The key of each line and the rest of the line. The key ends at white space or a colon, or is all of the line.
pub(crate) fn keyed_lines(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = text;
    let lines = std::iter::from_fn(move || {
        let line;
        (line, rest) = (!rest.is_empty()).then(|| split_line(rest))?;
        Some(line)
    });
    lines.map(keyed_line)
}

/// The key of a line and the rest, as in [`keyed_lines`].
#[must_use]
pub(crate) fn keyed_line(line: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr3(b':', b' ', b'\t', line).unwrap_or(line.len());
    (&line[..end], line.get(end + 1..).unwrap_or_default())
}

/// Whether a line with this key can be one that a parser does not know: a later kernel's, or an empty one. All keys of the
/// kernel's begin with a letter.
#[must_use]
pub(crate) fn is_key(key: &[u8]) -> bool {
    key.trim_ascii().first().is_none_or(u8::is_ascii_alphabetic)
}

/// The fuzz target: every constant is in the auxiliary vector or the default, and never 0.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let own = Machine { page_bytes: 4096, ticks_per_second: 100 };
    let machine = own.with_auxv(bytes);
    assert!(machine.page_bytes > 0 && machine.ticks_per_second > 0);
    let has_pair = |key: usize, value: u64| {
        let value = usize::try_from(value).expect("a word of the vector");
        let pair = [key.to_ne_bytes(), value.to_ne_bytes()].concat();
        bytes.chunks(pair.len()).any(|found| found == pair)
    };
    assert!(machine.page_bytes == own.page_bytes || has_pair(6, machine.page_bytes));
    assert!(machine.ticks_per_second == own.ticks_per_second || has_pair(17, machine.ticks_per_second));
    let number = leading_number(bytes);
    let text: String = bytes
        .trim_ascii_start()
        .iter()
        .map_while(|&byte| char::from(byte).is_ascii_digit().then_some(char::from(byte)))
        .collect();
    assert_eq!(number, text.parse().ok());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn auxv_gives_page_size_and_clock_ticks() {
        let own = Machine { page_bytes: 4096, ticks_per_second: 100 };
        let vector: Vec<u8> =
            [3, 9, 6, 65536, 17, 250, 0, 0_usize].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(own.with_auxv(&vector), Machine { page_bytes: 65536, ticks_per_second: 250 });
        assert_eq!(own.with_auxv(&vector[..40]), Machine { page_bytes: 65536, ..own }, "truncated");
        assert_eq!(own.with_auxv(b""), own);
        assert_eq!(Machine::detect(Path::new("/")), Machine::detect(Path::new("/nowhere")));
    }

    #[test]
    fn keyed_lines_have_whole_keys() {
        let text = b"Cached: 1 kB\nSwapCached: 2 kB\nCachedX 3\npswpin 4\nkeyless\n\n";
        let lines: Vec<_> = keyed_lines(text).map(|(key, value)| (key, leading_number(value))).collect();
        let expected: [(&[u8], _); 6] = [
            (b"Cached", Some(1)),
            (b"SwapCached", Some(2)),
            (b"CachedX", Some(3)),
            (b"pswpin", Some(4)),
            (b"keyless", None),
            (b"", None),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn absurd_constants_are_not_taken() {
        let own = Machine { page_bytes: 4096, ticks_per_second: 100 };
        let machine = |page: usize, ticks: usize| {
            let vector: Vec<u8> = [6, page, 17, ticks].iter().flat_map(|word| word.to_ne_bytes()).collect();
            own.with_auxv(&vector)
        };
        assert_eq!(machine(65536, 1024), Machine { page_bytes: 65536, ticks_per_second: 1024 });
        for (page, ticks) in [(0, 0), (1, 1), (5000, 9), (1 << 30, 1_000_000), (usize::MAX, usize::MAX)] {
            assert_eq!(machine(page, ticks), own, "{page} {ticks}");
        }
    }

    #[test]
    fn words_are_numbers_or_not() {
        for (word, number) in [("0", Some(0)), ("18446744073709551615", Some(u64::MAX)), ("007", Some(7))] {
            assert_eq!(whole_number(word.as_bytes()), number, "{word}");
        }
        for word in ["", "-1", "+1", "1.5", "1e3", "0x1", "1,", "1\0", "18446744073709551616", "x", "\u{663}"] {
            assert_eq!(whole_number(word.as_bytes()), None, "{word:?}");
        }
        assert_eq!((decimal_number(b"0.15"), decimal_number(b"3425")), (Some(0.15), Some(3425.0)));
        for word in ["", ".", "-1.5", "+1.5", "1.5.2", "1e3", "nan", "inf", "0,15", "1.5x"] {
            assert_eq!(decimal_number(word.as_bytes()), None, "{word:?}");
        }
        assert_eq!(split_word(b"  12\r\n 3"), (&b"12"[..], &b"\r\n 3"[..]));
        assert_eq!(split_word(b" \t"), (&b""[..], &b""[..]));
        for key in ["cpu0", "Active(file)", "", " ", "\r"] {
            assert!(is_key(key.as_bytes()), "{key:?}");
        }
        for key in ["12", "\0\0\0", "-x", "\u{fffd}"] {
            assert!(!is_key(key.as_bytes()), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn leading_numbers_are_parsed(number in any::<u64>(), space in " {0,3}", rest in "[a-z ]{0,3}") {
            prop_assert_eq!(leading_number(format!("{space}{number}{rest}").as_bytes()), Some(number));
        }

        #[test]
        fn arbitrary_bytes_have_a_key_per_line(
            bytes in prop_oneof![any::<Vec<u8>>(), "([a ]{0,2}[:\t ]?[0-9]{0,21}\n?){0,6}".prop_map(String::into_bytes)],
        ) {
            fuzz(&bytes);
            let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            let lines = text.split(|&byte| byte == b'\n').take(if bytes.is_empty() { 0 } else { usize::MAX });
            let expected = lines.map(|line| line.split(|byte| b": \t".contains(byte)).next().unwrap_or_default());
            prop_assert!(keyed_lines(&bytes).map(|(key, _)| key).eq(expected));
        }
    }
}
