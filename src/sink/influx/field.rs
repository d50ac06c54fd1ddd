//! The name of a series as measurement and field. Put together again with the separator, which `VictoriaMetrics` does with an
//! underscore, they are the series' name.

use crate::naming::Naming;

/// A name that `InfluxDB` keeps for itself: it refuses a point with a tag of that name, and drops a field.
pub(super) const TIME: &str = "time";

/// The field of a series whose name has no separator.
pub(super) const VALUE: &str = "value";

/// The character between measurement and field.
pub(super) fn separator(naming: Naming) -> char {
    // The others have names of words with dots between them.
    if matches!(naming, Naming::Gauged | Naming::NodeExporter) { '_' } else { '.' }
}

/// Splits a name. Names that are ours have the measurement `<prefix>_<module>`; of others it is the part before the first underscore,
/// or the last dot. No field is called `time`.
pub(super) fn split<'a>(name: &'a str, prefix: &str, module: &str, separator: char) -> (&'a str, &'a str) {
    let at = |position: usize| name.split_at_checked(position).map(|(measurement, rest)| (measurement, &rest[1..]));
    let is_possible =
        |(measurement, field): &(&str, &str)| !measurement.is_empty() && !field.is_empty() && *field != TIME;
    let ours = (separator == '_')
        .then(|| name.strip_prefix(prefix.trim_end_matches('_'))?.strip_prefix('_')?.strip_prefix(module))
        .flatten()
        .filter(|rest| rest.starts_with('_'))
        .and_then(|rest| at(name.len() - rest.len()));
    let mut others = name.match_indices(separator).filter_map(|(position, _)| at(position));
    ours.filter(is_possible)
        .or_else(|| if separator == '_' { others.find(is_possible) } else { others.rfind(is_possible) })
        .unwrap_or((name, VALUE))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_split_after_the_module() {
        for (name, module, expected) in [
            ("gauged_cpu_user_seconds_total", "cpu", ("gauged_cpu", "user_seconds_total")),
            ("gauged_up_time", "up", ("gauged", "up_time")),
            ("gauged_time", "time", ("gauged_time", "value")),
            ("gauged_modulem_level", "m", ("gauged", "modulem_level")),
            ("gauged_cpus", "cpu", ("gauged", "cpus")),
            ("node_load1", "load", ("node", "load1")),
            ("_1m_level", "scraped", ("_1m", "level")),
            ("up", "scraped", ("up", "value")),
            ("x_", "scraped", ("x_", "value")),
            ("", "scraped", ("", "value")),
        ] {
            assert_eq!(split(name, "gauged_", module, '_'), expected, "{name}");
        }
        assert_eq!(split("cpu_user", "", "cpu", '_'), ("cpu", "user"));
    }

    #[test]
    fn dotted_names_are_split_at_the_last_dot() {
        for (name, expected) in [
            ("system.cpu.load_average.1m", ("system.cpu.load_average", "1m")),
            ("system.cpu.time", ("system", "cpu.time")),
            ("df.bytes.free", ("df.bytes", "free")),
            ("node_load1", ("node_load1", "value")),
        ] {
            assert_eq!(split(name, "gauged", "cpu", '.'), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn parts_make_the_name_again(name in "[a_.é]{0,8}", module in "[a_]{0,3}", prefix in "[a_]{0,3}", separator in "[_.]") {
            let separator = separator.chars().next().expect("one");
            let (measurement, field) = split(&name, &prefix, &module, separator);
            let is_whole = measurement == name && field == VALUE;
            prop_assert!(is_whole || format!("{measurement}{separator}{field}") == name, "{} {}", measurement, field);
            prop_assert!(is_whole || !measurement.is_empty() && !field.is_empty());
        }
    }
}
