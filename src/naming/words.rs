//! The words of names: `TcpExt_ListenOverflows` is `tcp ext listen overflows`. Some words have a meaning in Prometheus that a name
//! from elsewhere does not intend; `promtool check metrics` complains of them.

/// Units of Prometheus that are not base units, with any [`PREFIXES`] before them.
const OTHER_UNITS: [&str; 14] = [
    "minutes",
    "hours",
    "days",
    "weeks",
    "kelvins",
    "fahrenheit",
    "rankine",
    "inches",
    "yards",
    "miles",
    "bits",
    "calories",
    "pounds",
    "ounces",
];

/// Base units of Prometheus, which are none with a prefix.
const BASE_UNITS: [&str; 10] =
    ["amperes", "bytes", "celsius", "grams", "joules", "kelvin", "meters", "metres", "seconds", "volts"];

const PREFIXES: [&str; 18] = [
    "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega", "mibi", "giga", "gibi",
    "tera", "tebi", "peta", "pebi",
];

const ABBREVIATIONS: [&str; 14] = ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];

/// The kinds of metrics, which a name does not repeat.
const KINDS: [(&str, &str); 4] =
    [("counter", "counters"), ("gauge", "gauges"), ("histogram", "histograms"), ("summary", "summaries")];

/// The last words that only counters, histograms and summaries have, and those that stand in for them.
const ENDS: [(&str, &str); 4] = [("total", "overall"), ("count", "number"), ("sum", "amount"), ("bucket", "buckets")];

/// The words of a name in lower case. A word begins with an upper-case letter after a small letter or digit; of several upper-case
/// letters the last one begins a word if a small letter follows, unless that is the plural's (`OKs`) or a version's (`IPv6`).
pub(super) fn split(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    for part in name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|part| !part.is_empty()) {
        let letters = part.as_bytes();
        let is = |at: usize, class: fn(&u8) -> bool| letters.get(at).is_some_and(class);
        let ends = |at: usize| {
            (is(at, |&letter| letter == b's') && !is(at + 1, u8::is_ascii_lowercase))
                || (is(at, |&letter| letter == b'v') && is(at + 1, u8::is_ascii_digit))
        };
        let begins = |at: usize| {
            is(at, u8::is_ascii_uppercase)
                && (!is(at - 1, u8::is_ascii_uppercase) || (is(at + 1, u8::is_ascii_lowercase) && !ends(at + 1)))
        };
        let mut start = 0;
        for at in (1..letters.len()).filter(|&at| begins(at)).chain([letters.len()]) {
            words.push(part[start..at].to_ascii_lowercase());
            start = at;
        }
    }
    words
}

/// The word before a module whose name looks like a unit.
const MODULE: &str = "module";

/// Joins each word that looks like a unit, and is none that is known, to the word before: `phase b` is `phaseb`. Before the first one,
/// which is the module, is the word `module`: the module `m` is `modulem`, and apart from its metrics.
pub(super) fn join_lookalikes(words: Vec<String>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::with_capacity(words.len());
    for word in words {
        joined.push(word);
        while let Some(last) = joined.pop_if(|last| looks_like_unit(last)) {
            match joined.last_mut() {
                Some(before) => before.push_str(&last),
                None => joined.push(format!("{MODULE}{last}")),
            }
        }
    }
    joined
}

/// Replaces the words for kinds of metrics.
pub(super) fn replace_kinds(words: &mut [String]) {
    for word in words {
        replace(word, &KINDS);
    }
}

/// Replaces a last word that would make a gauge part of another metric.
pub(super) fn replace_end(words: &mut [String]) {
    if let Some(last) = words.last_mut() {
        replace(last, &ENDS);
    }
}

fn replace(word: &mut String, table: &[(&str, &str)]) {
    if let Some((_, other)) = table.iter().find(|(found, _)| found == word) {
        (*other).clone_into(word);
    }
}

/// Whether Prometheus takes a word for a unit that is no base unit.
fn looks_like_unit(word: &str) -> bool {
    let is_scaled = |prefix: &&str| {
        word.strip_prefix(*prefix).is_some_and(|unit| OTHER_UNITS.contains(&unit) || BASE_UNITS.contains(&unit))
    };
    ABBREVIATIONS.contains(&word) || OTHER_UNITS.contains(&word) || PREFIXES.iter().any(is_scaled)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_split_into_words() {
        for (name, words) in [
            ("TcpExt_ListenOverflows", "tcp ext listen overflows"),
            ("Icmp6_OutType133", "icmp6 out type133"),
            ("TcpExt_TCPTimeouts", "tcp ext tcp timeouts"),
            ("Ip_ReasmOKs", "ip reasm oks"),
            ("TCPMD5NotFound", "tcpmd5 not found"),
            ("DSSNoMatchTCP", "dss no match tcp"),
            ("IDsOfTCPs", "ids of tcps"),
            ("IPv6_addrs", "ipv6 addrs"),
            ("1min", "1min"),
            ("free__bytes_", "free bytes"),
            ("a.b-c", "a b c"),
            ("HTTP", "http"),
            ("_", ""),
        ] {
            assert_eq!(split(name).join(" "), words, "{name}");
        }
    }

    #[test]
    fn unknown_units_are_joined() {
        let joined = |words: &str| join_lookalikes(split(words)).join("_");
        assert_eq!(joined("phase_b"), "phaseb");
        assert_eq!(joined("busy_last_5_minutes"), "busy_last_5minutes");
        assert_eq!(joined("b_first"), "moduleb_first");
        assert_eq!(joined("h"), "moduleh");
        assert_eq!(joined("k_b"), "modulekb");
        assert_eq!(joined("a_kilobytes_seconds"), "akilobytes_seconds");
        assert_eq!(joined(""), "");
    }

    proptest! {
        #[test]
        fn no_word_looks_like_a_unit(words in prop::collection::vec("[a-z]{1,3}|[bhkms]|minutes|kilo|bytes|bits", 0..6)) {
            let joined = join_lookalikes(words.clone());
            prop_assert!(!joined.iter().any(|word| looks_like_unit(word)), "{:?}", joined);
            prop_assert!(joined.concat().ends_with(&words.concat()), "{:?}", joined);
        }
    }
}
