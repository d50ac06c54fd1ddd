//! Numbers in the kernel's form: decimal digits, a sign, a point; no exponents, no infinities. A parser for only these
//! is 19 KB smaller than the standard library's.

/// A type of number in files: `u64`, `u32`, `i64` or `f64`.
pub trait Number: Sized {
    #[doc(hidden)]
    const ZERO: Self;

    /// Parses the whole text.
    ///
    /// ```
    /// use gauged_plugin::kernel::Number;
    ///
    /// assert_eq!(f64::parse("350735.47"), Some(350735.47));
    /// assert_eq!(u64::parse("-1"), None);
    /// ```
    #[must_use]
    fn parse(text: &str) -> Option<Self>;

    #[doc(hidden)]
    fn to_f64(self) -> f64;

    /// Whether an unsigned number is a negative one, printed without its sign.
    #[doc(hidden)]
    fn has_top_bit(self) -> bool;
}

macro_rules! integers {
    ($($type:ty),+) => {
        $(impl Number for $type {
            const ZERO: Self = 0;

            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            #[allow(clippy::cast_precision_loss, clippy::cast_lossless, reason = "for a comparison with bounds")]
            fn to_f64(self) -> f64 {
                self as f64
            }

            fn has_top_bit(self) -> bool {
                self > <$type>::MAX / 2 && <$type>::MIN == 0 && <$type>::BITS == u64::BITS
            }
        })+
    };
}

integers!(u32, u64, i64);

impl Number for f64 {
    const ZERO: Self = 0.0;

    /// Exact up to 15 digits.
    #[allow(clippy::cast_precision_loss, reason = "beyond 15 digits, as documented")]
    fn parse(text: &str) -> Option<Self> {
        // Above this another digit would overflow.
        const FULL: u64 = (u64::MAX - 9) / 10;
        let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (mut digits, mut scale, mut has_digit, mut has_point) = (0_u64, 1.0_f64, false, false);
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' => {
                    has_digit = true;
                    if digits <= FULL {
                        digits = digits * 10 + u64::from(byte - b'0');
                        scale *= if has_point { 10.0 } else { 1.0 };
                    } else if !has_point {
                        scale /= 10.0;
                    }
                }
                b'.' if !has_point => has_point = true,
                _ => return None,
            }
        }
        let magnitude = digits as f64 / scale;
        has_digit.then_some(if is_negative { -magnitude } else { magnitude })
    }

    fn to_f64(self) -> f64 {
        self
    }

    fn has_top_bit(self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_match_the_standard_library() {
        for text in ["0", "0.00", "5312.75", "9020.10", "-0.5", "3.", ".5", "123456789.012345", "100000000000000000000"]
        {
            assert_eq!(f64::parse(text), text.parse().ok(), "{text}");
        }
        for text in ["", ".", "-", "1e5", "inf", "NaN", "1.2.3", "+1", "1 ", "0x1"] {
            assert_eq!(f64::parse(text), None, "{text}");
        }
        let long = "123456789012345678901234.5";
        let (ours, exact) = (f64::parse(long).expect("a number"), long.parse::<f64>().expect("a number"));
        assert!((ours / exact - 1.0).abs() < 1e-15);
    }
}
