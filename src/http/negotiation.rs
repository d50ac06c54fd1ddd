//! Which format a scraper gets, and whether it is compressed, by its headers `Accept` and `Accept-Encoding` (RFC 9110). Pure.

use crate::exposition::Format;

/// The versions of OpenMetrics that 1.0.0 is an answer to.
const OPEN_METRICS_VERSIONS: [&str; 2] = ["1.0.0", "0.0.1"];

/// The version of the Prometheus text format.
const TEXT_VERSION: &str = "0.0.4";

/// How specific a range of media types is that has this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    Anything,
    Family,
    Exact,
}

/// The format for these values of `Accept`. OpenMetrics only for those who ask for it; the text format for everybody else, also for
/// those who accept neither: they may show it.
pub(super) fn format<'a>(accept: impl Iterator<Item = &'a str>) -> Format {
    let (mut open_metrics, mut text) = (0_u16, None::<(Specificity, u16)>);
    for range in accept.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let (mut quality, mut version) = (1000, None);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim() {
                name if name.eq_ignore_ascii_case("q") => quality = parse_quality(value),
                name if name.eq_ignore_ascii_case("version") => version = Some(value),
                _ => {}
            }
        }
        let is = |name: &str| media_type.eq_ignore_ascii_case(name);
        if is("application/openmetrics-text") {
            if version.is_none_or(|version| OPEN_METRICS_VERSIONS.contains(&version)) {
                open_metrics = open_metrics.max(quality);
            }
            continue;
        }
        let specificity = match () {
            () if is("text/plain") && version.is_none_or(|version| version == TEXT_VERSION) => Specificity::Exact,
            () if is("text/*") => Specificity::Family,
            () if is("*/*") => Specificity::Anything,
            () => continue,
        };
        text = text.max(Some((specificity, quality)));
    }
    let is_preferred = match text {
        None => true,
        Some((Specificity::Exact, quality)) => open_metrics > quality,
        // It was named, and the other was not.
        Some((_, quality)) => open_metrics >= quality,
    };
    if open_metrics > 0 && is_preferred { Format::OpenMetrics } else { Format::Text }
}

/// Whether a response may be compressed with gzip, for these values of `Accept-Encoding`.
pub(super) fn accepts_gzip<'a>(accept_encoding: impl Iterator<Item = &'a str>) -> bool {
    let (mut gzip, mut anything) = (None, None);
    for coding in accept_encoding.flat_map(|value| value.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| parse_quality(value.trim()))
        });
        let quality = quality.unwrap_or(1000);
        match name {
            "*" => anything = Some(quality),
            _ if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => gzip = Some(quality),
            _ => {}
        }
    }
    gzip.or(anything).is_some_and(|quality| quality > 0)
}

/// A weight in thousandths; nothing for one that is none.
fn parse_quality(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths = format!("{fraction:0<3}").parse().unwrap_or(0);
    match whole {
        "1" if is_number && thousandths == 0 => 1000,
        "0" if is_number => thousandths,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Prometheus 3.5 sends.
    const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                                application/openmetrics-text;version=0.0.1;q=0.5,\
                                text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

    /// What Prometheus 2.42 sends.
    const PROMETHEUS_2: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                                text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

    fn is_open_metrics(accept: &str) -> bool {
        format([accept].into_iter()) == Format::OpenMetrics
    }

    #[test]
    fn scrapers_get_their_preferred_format() {
        for accept in [
            PROMETHEUS_3,
            PROMETHEUS_2,
            "application/openmetrics-text",
            "APPLICATION/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.1",
            "application/openmetrics-text,*/*",
            "text/plain;q=0.5,application/openmetrics-text;q=0.51",
            // The named version of the text format is another.
            "application/openmetrics-text;q=0.5,text/plain;version=1.0.0",
        ] {
            assert!(is_open_metrics(accept), "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/openmetrics-text;version=2.0.0,text/plain;q=0.1",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=2",
            "application/openmetrics-text;q=0.5,text/plain;q=0.5",
            "application/openmetrics-text;q=0.5,*/*",
            "application/json",
        ] {
            assert!(!is_open_metrics(accept), "{accept}");
        }
        assert_eq!(format(["text/plain;q=0.1", "application/openmetrics-text"].into_iter()), Format::OpenMetrics);
    }

    #[test]
    fn gzip_is_for_those_who_accept_it() {
        let accepts = |value: &str| accepts_gzip([value].into_iter());
        for value in ["gzip", "deflate, GZIP;q=0.5", "*", "identity;q=0, *;q=0.1", "x-gzip"] {
            assert!(accepts(value), "{value}");
        }
        for value in ["", "identity", "gzip;q=0", "gzip;q=0, *", "br", "gzipped", "*;q=0.000"] {
            assert!(!accepts(value), "{value}");
        }
        assert!(!accepts_gzip(std::iter::empty()));
    }

    proptest! {
        #[test]
        fn named_value_decides_beside_any_header(
            value in prop_oneof![any::<String>(), "((text/plain|\\*/\\*|gzip|\\*)(;q=[01.]{0,3})?,?){0,3}"],
        ) {
            prop_assert_eq!(format([&*value, "text/plain"].into_iter()), Format::Text);
            let refusing = format!("{value},application/openmetrics-text;q=0");
            prop_assert_eq!(is_open_metrics(&refusing), is_open_metrics(&value));
            prop_assert!(accepts_gzip([&*value, "gzip"].into_iter()));
            prop_assert!(!accepts_gzip([&*value, "gzip;q=0"].into_iter()));
        }

        #[test]
        fn weights_decide(open_metrics in 0_u16..=1000, text in 0_u16..=1000) {
            let weight = |thousandths: u16| format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
            let accept = format!(
                "application/openmetrics-text;q={},text/plain;q={}", weight(open_metrics), weight(text)
            );
            prop_assert_eq!(is_open_metrics(&accept), open_metrics > text);
        }
    }
}
