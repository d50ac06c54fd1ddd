//! Numbers as both formats have them.

/// The largest power of ten that a float has exactly.
const EXACT_POWERS: usize = 22;

const POWERS: [f64; EXACT_POWERS + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// The largest integer up to which a float has all of them.
const EXACT_INTEGERS: u64 = 1 << 53;

/// A decimal number, or `NaN`, `Inf` and `Infinity` in any case.
#[inline]
pub(super) fn float(text: &str) -> Option<f64> {
    match plain(text.as_bytes()) {
        Some(number) => Some(number),
        // Rust's own parser takes neither hexadecimal digits nor blanks.
        None => text.parse().ok(),
    }
}

/// A number whose digits and power of ten are floats, so that one operation gives the nearest float: nearly all numbers.
/// Anything else is none.
#[inline]
fn plain(text: &[u8]) -> Option<f64> {
    let (is_negative, mut rest) = without_sign(text);
    let (mut digits, mut decimals, mut has_digits, mut has_point) = (0_u64, 0_usize, false, false);
    while let [byte, after @ ..] = rest {
        match byte {
            b'0'..=b'9' => {
                digits = digits * 10 + u64::from(byte - b'0');
                // No digit was lost, so that this is before an overflow.
                if digits > EXACT_INTEGERS {
                    return None;
                }
                decimals += usize::from(has_point);
                has_digits = true;
            }
            b'.' if !has_point => has_point = true,
            _ => break,
        }
        rest = after;
    }
    if !has_digits {
        return None;
    }
    let exponent = match rest {
        [] => 0,
        [b'e' | b'E', rest @ ..] => exponent(rest)?,
        _ => return None,
    };
    let power = exponent - i32::try_from(decimals).ok()?;
    let factor = POWERS.get(usize::try_from(power.unsigned_abs()).ok()?)?;
    #[allow(clippy::cast_precision_loss, reason = "at most 53 bits")]
    let digits = digits as f64;
    let number = if power < 0 { digits / factor } else { digits * factor };
    Some(if is_negative { -number } else { number })
}

/// An exponent of few digits.
#[inline]
fn exponent(text: &[u8]) -> Option<i32> {
    let (is_negative, digits) = without_sign(text);
    if !(1..=3).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let exponent = digits.iter().fold(0, |number, digit| number * 10 + i32::from(digit - b'0'));
    Some(if is_negative { -exponent } else { exponent })
}

/// Whether a text begins with a minus, and the text without its sign.
#[inline]
fn without_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    }
}

/// A count of observations: a whole number that a float has exactly.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "within the bounds"
)]
pub(super) fn count(number: f64) -> Option<u64> {
    // Above that, a float is a whole number that may be off by some; it is what the source has.
    let is_count = (0.0..(1_u64 << 63) as f64).contains(&number) && number.fract() == 0.0;
    is_count.then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_and_odd_forms_are_read() {
        for (text, number) in [("+Inf", f64::INFINITY), ("-inf", f64::NEG_INFINITY), ("infinity", f64::INFINITY)] {
            assert_eq!(float(text), Some(number), "{text}");
        }
        assert!(float("NaN").is_some_and(f64::is_nan));
        for (text, number) in [("1.", 1.0), (".5", 0.5), ("+1", 1.0), ("-0", -0.0), ("1E3", 1000.0), ("0x10", f64::NAN)]
        {
            match float(text) {
                Some(read) => assert_eq!(read.to_bits(), number.to_bits(), "{text}"),
                None => assert!(number.is_nan(), "{text}"),
            }
        }
        for text in ["", ".", "-", "1_000", "1e", "e5", "1 ", " 1", "1e+", "--1", "1.2.3", "0b1", "1f"] {
            assert_eq!(float(text), None, "{text:?}");
        }
    }

    #[test]
    fn counts_are_whole() {
        assert_eq!([count(0.0), count(7.0), count(1e18)], [Some(0), Some(7), Some(1_000_000_000_000_000_000)]);
        for number in [-1.0, 0.5, f64::NAN, f64::INFINITY, 1e19] {
            assert_eq!(count(number), None, "{number}");
        }
    }

    proptest! {
        #[test]
        fn numbers_equal_those_of_the_standard_library(text in "[-+]?[0-9]{0,20}(\\.[0-9]{0,20})?([eE][-+]?[0-9]{1,4})?") {
            let expected: Option<f64> = text.parse().ok();
            prop_assert_eq!(float(&text).map(f64::to_bits), expected.map(f64::to_bits));
        }

        #[test]
        fn printed_numbers_are_read_back(bits: u64) {
            let number = f64::from_bits(bits);
            for text in [format!("{number}"), format!("{number:e}")] {
                let read = float(&text).expect("a number");
                prop_assert!(read.to_bits() == bits || number.is_nan() && read.is_nan(), "{}", text);
            }
        }
    }
}
