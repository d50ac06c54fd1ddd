//! Units: those of UCUM in which collectors measure, and the base units of Prometheus in which our naming has them.

/// The base unit of everything that is measured in one of several units.
struct Dimension {
    /// The base unit, as the end of a name.
    suffix: &'static str,
    /// The base unit over a second.
    rate: &'static str,
    /// The codes of UCUM, each with the number of base units in one.
    codes: &'static [(&'static str, f64)],
    /// The words in names that stand for one of the units.
    words: &'static [&'static str],
    /// The words that stand for one of the units over a second.
    rate_words: &'static [&'static str],
}

const DIMENSIONS: [Dimension; 12] = [
    Dimension {
        suffix: "bytes",
        rate: "bytes_per_second",
        codes: &[
            ("By", 1.0),
            ("kBy", 1e3),
            ("MBy", 1e6),
            ("GBy", 1e9),
            ("TBy", 1e12),
            ("KiBy", 1024.0),
            ("MiBy", 1_048_576.0),
            ("GiBy", 1_073_741_824.0),
            ("TiBy", 1_099_511_627_776.0),
            ("bit", 0.125),
            ("kbit", 125.0),
            ("Mbit", 125e3),
            ("Gbit", 125e6),
        ],
        words: &[
            "bytes",
            "byte",
            "b",
            "kb",
            "mb",
            "gb",
            "tb",
            "pb",
            "kib",
            "mib",
            "gib",
            "tib",
            "kilobytes",
            "megabytes",
            "gigabytes",
            "terabytes",
            "kibibytes",
            "mebibytes",
            "gibibytes",
            "tebibytes",
            "bits",
            "bit",
            "kbit",
            "mbit",
            "gbit",
            "kilobits",
            "megabits",
            "gigabits",
        ],
        rate_words: &["bps", "kbps", "mbps", "gbps"],
    },
    Dimension {
        suffix: "seconds",
        rate: "seconds_per_second",
        codes: &[
            ("s", 1.0),
            ("ms", 1e-3),
            ("us", 1e-6),
            ("ns", 1e-9),
            ("min", 60.0),
            ("h", 3600.0),
            ("d", 86400.0),
            ("wk", 604_800.0),
        ],
        // Not `min`, which is a minimum mostly.
        words: &[
            "seconds",
            "second",
            "secs",
            "sec",
            "s",
            "ms",
            "msec",
            "msecs",
            "millis",
            "milliseconds",
            "us",
            "usec",
            "usecs",
            "micros",
            "microseconds",
            "ns",
            "nsec",
            "nsecs",
            "nanos",
            "nanoseconds",
            "minutes",
            "hours",
            "h",
            "days",
            "d",
            "weeks",
        ],
        rate_words: &[],
    },
    Dimension {
        suffix: "ratio",
        rate: "ratio_per_second",
        codes: &[("%", 0.01), ("[ppth]", 1e-3), ("[ppm]", 1e-6)],
        words: &["ratio", "percent", "percents", "percentage", "pct", "ppm"],
        rate_words: &[],
    },
    Dimension {
        suffix: "hertz",
        rate: "hertz_per_second",
        codes: &[("Hz", 1.0), ("kHz", 1e3), ("MHz", 1e6), ("GHz", 1e9)],
        words: &["hertz", "hz", "khz", "mhz", "ghz", "kilohertz", "megahertz", "gigahertz"],
        rate_words: &[],
    },
    Dimension {
        suffix: "celsius",
        rate: "celsius_per_second",
        codes: &[("Cel", 1.0), ("mCel", 1e-3)],
        words: &["celsius", "degc", "millicelsius"],
        rate_words: &[],
    },
    Dimension {
        suffix: "kelvin",
        rate: "kelvin_per_second",
        codes: &[("K", 1.0)],
        words: &["kelvin", "kelvins"],
        rate_words: &[],
    },
    Dimension {
        suffix: "volts",
        rate: "volts_per_second",
        codes: &[("V", 1.0), ("mV", 1e-3), ("uV", 1e-6), ("kV", 1e3)],
        words: &["volts", "volt", "millivolts", "mv"],
        rate_words: &[],
    },
    Dimension {
        suffix: "amperes",
        rate: "amperes_per_second",
        codes: &[("A", 1.0), ("mA", 1e-3), ("uA", 1e-6)],
        words: &["amperes", "amps", "milliamperes", "milliamps"],
        rate_words: &[],
    },
    Dimension {
        suffix: "watts",
        rate: "watts_per_second",
        codes: &[("W", 1.0), ("mW", 1e-3), ("uW", 1e-6), ("kW", 1e3)],
        words: &["watts", "watt", "milliwatts", "microwatts", "kilowatts"],
        rate_words: &[],
    },
    Dimension {
        suffix: "joules",
        rate: "joules_per_second",
        codes: &[("J", 1.0), ("mJ", 1e-3), ("uJ", 1e-6), ("kJ", 1e3), ("W.h", 3600.0), ("kW.h", 3.6e6)],
        words: &["joules", "joule", "millijoules", "microjoules", "kwh"],
        rate_words: &[],
    },
    Dimension {
        suffix: "meters",
        rate: "meters_per_second",
        codes: &[("m", 1.0), ("mm", 1e-3), ("cm", 1e-2), ("km", 1e3)],
        words: &["meters", "metres", "m", "mm", "millimeters", "centimeters", "kilometers"],
        rate_words: &[],
    },
    Dimension {
        suffix: "grams",
        rate: "grams_per_second",
        codes: &[("g", 1.0), ("mg", 1e-3), ("kg", 1e3)],
        words: &["grams", "gram", "milligrams", "kilograms", "kg"],
        rate_words: &[],
    },
];

/// The end of the name of a rate of something that is counted.
pub(super) const PER_SECOND: &str = "per_second";

/// The words after `per` that stand for a second.
const SECONDS: [&str; 4] = ["second", "seconds", "sec", "s"];

/// A unit, as far as names have it.
pub(super) enum Unit {
    /// None, or one of which nothing is known.
    None,
    /// So many of something that is counted, over a second.
    CountRate,
    /// A unit with a base unit.
    Known(KnownUnit),
}

/// A unit with a base unit.
pub(super) struct KnownUnit {
    dimension: &'static Dimension,
    is_rate: bool,
    /// The number of base units in one; none where it is the base unit.
    pub(super) factor: Option<f64>,
}

impl Unit {
    /// The unit of this code in UCUM. Annotations do not matter: `{request}/s` is `1/s`.
    pub(super) fn new(code: &str) -> Self {
        let plain = without_annotations(code);
        let (numerator, is_rate) = match plain.split_once('/') {
            Some((numerator, "s")) => (numerator, true),
            Some((numerator, "")) => (numerator, false),
            Some(_) => return Self::None,
            None => (&*plain, false),
        };
        if matches!(numerator, "" | "1") {
            return if is_rate { Self::CountRate } else { Self::None };
        }
        let known = DIMENSIONS.iter().find_map(|dimension| {
            let (_, factor) = dimension.codes.iter().find(|(code, _)| *code == numerator)?;
            Some(KnownUnit { dimension, is_rate, factor: Some(*factor).filter(|&factor| factor != 1.0) })
        });
        known.map_or(Self::None, Self::Known)
    }

    /// The code of the base unit in UCUM; none without one.
    pub(super) fn base_code(&self) -> Option<String> {
        match self {
            Self::Known(unit) => Some(unit.base_code()),
            Self::None | Self::CountRate => None,
        }
    }

    /// Takes the unit out of a metric's words, abbreviated or not. Returns the base unit that the name ends with in its place; empty
    /// without one.
    pub(super) fn take(&self, words: &mut Vec<String>) -> &'static str {
        match self {
            Self::None => "",
            Self::CountRate => {
                pop_per_second(words);
                PER_SECOND
            }
            Self::Known(unit) => unit.take(words),
        }
    }
}

impl KnownUnit {
    /// The base unit, as the end of a name.
    pub(super) fn suffix(&self) -> &'static str {
        if self.is_rate { self.dimension.rate } else { self.dimension.suffix }
    }

    /// The code of the base unit: that of a share is 1.
    fn base_code(&self) -> String {
        let code = self.dimension.codes.iter().find(|(_, factor)| *factor == 1.0).map_or("1", |(code, _)| code);
        if self.is_rate { format!("{code}/s") } else { code.to_owned() }
    }

    fn take(&self, words: &mut Vec<String>) -> &'static str {
        let Dimension { suffix, words: known, rate_words, .. } = self.dimension;
        if self.is_rate && !pop_per_second(words) {
            words.pop_if(|last| rate_words.contains(&&**last));
        }
        // After a number it is part of a period: `last_5_minutes`.
        let is_unit = |words: &[String], at: usize| {
            let is_period = at > 0 && words[at - 1].bytes().all(|byte| byte.is_ascii_digit());
            known.contains(&&*words[at]) && !is_period
        };
        // In `bytes_per_packet` it stays where it is.
        let mut per = (0..words.len()).filter(|&at| words.get(at + 1).is_some_and(|next| next == "per"));
        if let Some(at) = per.find(|&at| is_unit(words, at)) {
            (*suffix).clone_into(&mut words[at]);
            return "";
        }
        while !words.is_empty() && is_unit(words, words.len() - 1) {
            words.pop();
        }
        // A single letter may stand for anything.
        for at in (0..words.len()).rev() {
            if is_unit(words, at) && words[at].len() > 1 {
                words.remove(at);
            }
        }
        self.suffix()
    }
}

/// Removes `per second` from the end. Returns whether it was there.
fn pop_per_second(words: &mut Vec<String>) -> bool {
    let is_there = matches!(&words[..], [.., per, second] if per == "per" && SECONDS.contains(&&**second));
    if is_there {
        words.truncate(words.len() - 2);
    }
    is_there
}

/// A code of UCUM without its annotations.
pub(super) fn without_annotations(code: &str) -> String {
    let mut depth = 0_usize;
    let mut plain = String::with_capacity(code.len());
    for letter in code.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 => plain.push(letter),
            _ => {}
        }
    }
    plain
}

/// The codes of all units that have a base unit.
#[cfg(test)]
pub(super) fn codes() -> impl Iterator<Item = &'static str> {
    DIMENSIONS.iter().flat_map(|dimension| dimension.codes.iter().map(|(code, _)| *code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_units_match_the_code() {
        let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/prometheus.md"));
        let document = document.expect("readable");
        let title = "| end of the name | units of the metric, in UCUM |\n|---|---|\n";
        let table = document.split(title).nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a table");
        let row = |dimension: &Dimension| {
            let codes: Vec<String> = dimension
                .codes
                .iter()
                .map(|(code, factor)| match factor {
                    1.0 => format!("`{code}`"),
                    factor if *factor < 0.01 => format!("`{code}` × {factor:e}"),
                    factor => format!("`{code}` × {factor}"),
                })
                .collect();
            format!("| `_{}` | {} |", dimension.suffix, codes.join(", "))
        };
        let rows: Vec<String> = DIMENSIONS.iter().map(row).collect();
        assert_eq!(table, rows.join("\n"));
    }

    #[test]
    fn base_units_have_codes() {
        let base = |code: &str| Unit::new(code).base_code();
        for (code, expected) in
            [("KiBy/s", "By/s"), ("%", "1"), ("MHz", "Hz"), ("kW.h", "J"), ("bit", "By"), ("s", "s")]
        {
            assert_eq!(base(code).as_deref(), Some(expected), "{code}");
        }
        assert_eq!((base("{packet}/s"), base("furlong")), (None, None));
    }

    #[test]
    fn units_are_found_by_their_code() {
        let suffix = |code: &str| match Unit::new(code) {
            Unit::Known(unit) => format!("{} × {}", unit.suffix(), unit.factor.unwrap_or(1.0)),
            Unit::CountRate => "a rate".to_owned(),
            Unit::None => "none".to_owned(),
        };
        for (code, expected) in [
            ("By", "bytes × 1"),
            ("KiBy/s", "bytes_per_second × 1024"),
            ("ms/{request}", "seconds × 0.001"),
            ("%{cpu}", "ratio × 0.01"),
            ("{request}/s", "a rate"),
            ("1/s", "a rate"),
            ("/s", "a rate"),
            ("1", "none"),
            ("", "none"),
            ("{task}", "none"),
            ("{revolution}/min", "none"),
            ("By/h", "none"),
            ("furlong", "none"),
        ] {
            assert_eq!(suffix(code), expected, "{code}");
        }
    }
}
