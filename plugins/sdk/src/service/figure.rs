//! Figures in the responses of services. Programs of a family write them in many forms, and some write impossible ones: a
//! difference that wrapped, a time in place of an age. Here are the bounds for all of them; `None` is a figure that is not
//! understood or impossible, which is left out and says nothing about the service.

use crate::kernel::Number as _;

/// The largest count: nothing that a service counts reaches half of 64 bits, but a small negative number that was written
/// as an unsigned one is above it.
const MAX_COUNT: u64 = u64::MAX >> 1;

/// The most clients, connections or replicas at a time: half of 32 bits, because some services count these in 32 bits.
const MAX_OPEN: u64 = (u32::MAX >> 1) as u64;

/// The longest age and duration, 31 years: Unix time has been above it since 2001, so that "now" less a time that was
/// never set is recognised.
const MAX_SECONDS: u64 = 1_000_000_000;

/// The longest word: a host name has at most 255 bytes.
const MAX_WORD_BYTES: usize = 255;

/// The largest exponent of a number, which `f64` can hold.
const MAX_EXPONENT: i32 = 300;

/// A count, a size or a time. A fraction is cut off.
///
/// ```
/// use gauged_plugin::service::figure;
///
/// assert_eq!(figure::count(" 1048576"), Some(1_048_576));
/// assert_eq!(figure::count("1.2e+06"), Some(1_200_000));
/// assert_eq!(figure::count("1048576.00"), Some(1_048_576));
/// assert_eq!(figure::count("18446744073623858012"), None, "a difference that wrapped");
/// assert_eq!(figure::count("-12"), None);
/// assert_eq!(figure::count("55332M"), None);
/// ```
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the bounds of a count")]
pub fn count(text: &str) -> Option<u64> {
    let text = text.trim_ascii();
    let whole = u64::parse(text);
    // The conversion of larger floats saturates.
    whole.or_else(|| Some(decimal(text)? as u64)).filter(|&count| count <= MAX_COUNT)
}

/// A number of clients, connections or replicas that are there now.
///
/// ```
/// use gauged_plugin::service::figure;
///
/// assert_eq!(figure::open("10"), Some(10));
/// assert_eq!(figure::open("4294967295"), None, "-1 in 32 bits");
/// ```
#[must_use]
pub fn open(text: &str) -> Option<u64> {
    count(text).filter(|&count| count <= MAX_OPEN)
}

/// An age or a duration in seconds.
///
/// ```
/// use gauged_plugin::service::figure;
///
/// assert_eq!(figure::seconds("86400"), Some(86_400));
/// assert_eq!(figure::seconds("1584362701"), None, "a time, not an age");
/// assert_eq!(figure::seconds("-2"), None);
/// ```
#[must_use]
pub fn seconds(text: &str) -> Option<u64> {
    count(text).filter(|&seconds| seconds <= MAX_SECONDS)
}

/// A finite number that is not negative, with or without an exponent.
///
/// ```
/// use gauged_plugin::service::figure;
///
/// assert_eq!(figure::decimal("1.08"), Some(1.08));
/// assert_eq!(figure::decimal("1.2e-05"), Some(1.2e-05));
/// assert!(["-nan", "inf", "N/A", "", "-1", "1,08", "1e999"].iter().all(|text| figure::decimal(text).is_none()));
/// ```
#[must_use]
pub fn decimal(text: &str) -> Option<f64> {
    let text = text.trim_ascii();
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse().ok()?),
        None => (text, 0),
    };
    let number = f64::parse(digits).filter(|number| number.is_sign_positive())?;
    let scaled = match exponent {
        0 => number,
        // Dividing by a power of ten that is exact is more precise than multiplying by one that is not.
        exponent if (-MAX_EXPONENT..0).contains(&exponent) => number / 10_f64.powi(-exponent),
        exponent if (1..=MAX_EXPONENT).contains(&exponent) => number * 10_f64.powi(exponent),
        _ => return None,
    };
    Some(scaled).filter(|scaled| scaled.is_finite())
}

/// A word, such as a version or a state: short, and without control characters.
///
/// ```
/// use gauged_plugin::service::figure;
///
/// assert_eq!(figure::word(" 7.0.15"), Some("7.0.15"));
/// assert_eq!(figure::word(""), None);
/// ```
#[must_use]
pub fn word(text: &str) -> Option<&str> {
    let text = text.trim();
    let is_word = (1..=MAX_WORD_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
    is_word.then_some(text)
}

/// Whether a text stands for a figure that the service does not have: it is left out without a report.
///
/// ```
/// use gauged_plugin::service::figure;
///
/// assert!(figure::is_absent("N/A") && figure::is_absent("-1") && figure::is_absent("-nan"));
/// assert!(!figure::is_absent("55332M"));
/// ```
#[must_use]
pub fn is_absent(text: &str) -> bool {
    let text = text.trim_ascii();
    ["", "-", "-1", "n/a", "nan", "-nan", "inf", "-inf"].iter().any(|absent| text.eq_ignore_ascii_case(absent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_figures_are_left_out() {
        for text in [
            "",
            " ",
            "-",
            "+",
            "N/A",
            "-nan",
            "nan",
            "inf",
            "-inf",
            "infinity",
            "1,5",
            "1 5",
            "55332M",
            "0x10",
            "e5",
            "1e",
            "1e+",
            "1e1e1",
            "1e-99999999999",
            "1e301",
            "12 KB",
            "100%",
            "--1",
            "ü",
            "\0",
            "1\u{0}",
            "true",
        ] {
            assert_eq!((count(text), decimal(text)), (None, None), "{text:?}");
        }
        for text in ["-1", "-0.5", "-9223372036854775808", "99999999999999999999", "1e19", "9223372036854775808"] {
            assert_eq!(count(text), None, "{text}");
        }
        assert_eq!(count("9223372036854775807"), Some(MAX_COUNT));
        assert_eq!((open("2147483647"), open("2147483648")), (Some(MAX_OPEN), None));
        assert_eq!((seconds("1000000000"), seconds("1000000001")), (Some(MAX_SECONDS), None));
    }

    #[test]
    fn exponents_match_the_standard_library() {
        for text in ["1.2e+06", "1.2e-05", "5e0", "1E3", "12.345e2", "1e22", "7.25e-1", "0e5"] {
            let (ours, exact): (f64, f64) = (decimal(text).expect(text), text.parse().expect(text));
            assert!((ours - exact).abs() <= exact * 1e-15, "{text}: {ours}");
        }
        assert_eq!(
            (count("12.9"), count("1.5e3"), count("00012"), count("+7")),
            (Some(12), Some(1500), Some(12), Some(7))
        );
    }

    #[test]
    fn words_are_short_and_printable() {
        assert_eq!(word("active-replica"), Some("active-replica"));
        assert_eq!(word("ü x"), Some("ü x"));
        for text in ["", " \t", "a\nb", "a\0", &"x".repeat(256)] {
            assert_eq!(word(text), None, "{text:?}");
        }
    }
}
