//! Bounds of buckets and quantiles as texts.

use super::scale::Scale;

/// A bound or quantile in the naming's unit, as OpenMetrics and Prometheus since 3.0 have it: `1.0`, `1e+06`. Older ones store what they
/// get, so that all outputs have the same text.
pub(super) fn canonical(text: &str, scale: Scale) -> String {
    let Some(value) = text.parse().ok().and_then(|value| scale.float(value)) else { return text.to_owned() };
    // As Go's %g, with the shortest digits that give the number back.
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if value != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = value.to_string();
    if plain.contains('.') { plain } else { plain + ".0" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_canonical() {
        for (bound, expected) in [
            ("1", "1.0"),
            ("0", "0.0"),
            ("-2.5", "-2.5"),
            ("0.005", "0.005"),
            ("0.00001", "1e-05"),
            ("123456", "123456.0"),
            ("1000000", "1e+06"),
            ("12345678.5", "1.23456785e+07"),
            ("+Inf", "+Inf"),
        ] {
            assert_eq!(canonical(bound, Scale::Unchanged), expected, "{bound}");
        }
        assert_eq!(canonical("5", Scale::new(Some(1e-3))), "0.005");
        assert_eq!(canonical("+Inf", Scale::new(Some(1e-3))), "+Inf");
    }
}
