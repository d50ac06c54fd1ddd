//! A property of all plugins that poll services: a line of a reply that is damaged costs the metrics that it gives, and neither
//! other metrics nor the state of the service.

use super::SampleMap;
use super::damage::{GARBAGE, ODD_NUMBERS, with_numbers};
use crate::select::Pattern;

/// Damages each line of a service's reply in each way, one at a time, and then the reply as a whole; checks that the service is
/// up, and that the metrics of other lines stay the same.
///
/// `sample` returns the sample for a reply. `given` returns the metrics that a line gives, as patterns for keys without the
/// module: `keys*{*`; of the empty line those of the reply as a whole, such as its size. Only these may change or go, and never
/// the metric `up`, which has to be true.
///
/// ```
/// use gauged_plugin::testing::{Harness, Host, assert_reply_damage_is_contained, response};
/// use gauged_plugin::{About, Error, Need, NoConfig, Plugin, Sample, Tick, http, service::figure};
///
/// gauged_plugin::metrics! {
///     module "queue";
///     /// Whether the server responds.
///     UP: gauge "up" in "1";
///     /// Waiting messages.
///     WAITING: gauge "waiting" in "{message}";
///     /// Delivered messages.
///     DELIVERED: counter "delivered_total" in "{message}";
/// }
///
/// struct Queue;
///
/// impl Plugin for Queue {
///     const ABOUT: About = About { version: "1.0.0", description: "Messages.", settings: &[], metrics: METRICS };
///     type Config = NoConfig;
///
///     fn configure(_: NoConfig) -> Result<Self, Error> {
///         Ok(Self)
///     }
///
///     fn needs(&self) -> Vec<Need> {
///         vec![Need::fetch("http://localhost", "read the status")]
///     }
///
///     fn collect(&mut self, _: Tick, sample: &mut Sample) -> Result<(), Error> {
///         let page = http::get("http://localhost/status")?.text();
///         let figure = |name| figure::count(page.lines().find_map(|line| line.strip_prefix(name))?);
///         sample.set(UP, true);
///         sample.set(WAITING, figure("waiting:"));
///         sample.set(DELIVERED, figure("delivered:"));
///         Ok(())
///     }
/// }
///
/// let sample = |page: &[u8]| {
///     let mut host = Host::new();
///     host.http("http://localhost/status", response(200, page));
///     Harness::<Queue>::start(host, "{}").expect("no settings").tick().expect("a sample")
/// };
/// assert_reply_damage_is_contained(b"waiting: 7\ndelivered: 100\n", sample, |line| {
///     vec![if line.starts_with("waiting") { "waiting" } else { "delivered_total" }.to_owned()]
/// });
/// ```
///
/// # Panics
///
/// The property does not hold: the message names the damage and the metric.
pub fn assert_reply_damage_is_contained(
    reply: &[u8],
    sample: impl Fn(&[u8]) -> SampleMap,
    given: impl Fn(&str) -> Vec<String>,
) {
    let whole = sample(reply);
    let is_state = |key: &str| name(key) == "up" || name(key).starts_with("up{");
    assert!(whole.iter().any(|(key, value)| is_state(key) && *value == true), "the service is not up");
    let check = |damage: &str, reply: &[u8], damaged: &[&[u8]]| {
        let texts = damaged.iter().map(|line| String::from_utf8_lossy(line.trim_ascii()));
        let patterns: Vec<String> = texts.flat_map(|line| given(line.trim_ascii())).collect();
        let patterns: Vec<Pattern> = patterns.iter().map(|text| Pattern::new(text)).collect();
        let sample = sample(reply);
        for (key, value) in whole.iter() {
            let may_change = !is_state(key) && patterns.iter().any(|pattern| pattern.matches(name(key)));
            assert!(may_change || sample.get(key) == Some(value), "{damage}: {key} is {:?}", sample.get(key));
        }
    };

    let lines: Vec<&[u8]> = reply.split_inclusive(|&byte| byte == b'\n').collect();
    for (at, line) in lines.iter().enumerate() {
        for (damage, damaged) in line_damages(line) {
            let damaged = [&lines[..at].concat(), &*damaged, &lines[at + 1..].concat()].concat();
            check(&format!("line {} {damage}: {}", at + 1, String::from_utf8_lossy(line)), &damaged, &[line]);
        }
        // The reply ends here, or in the middle of the line.
        let before = lines[..at].concat();
        check(&format!("ends before line {}", at + 1), &before, &lines[at..]);
        let cut = [&before, &line[..line.len() / 2]].concat();
        check(&format!("ends in line {}", at + 1), &cut, &lines[at..]);
    }
    check("comes twice", &[reply, reply].concat(), &[b""]);
    let unix: Vec<u8> = reply.iter().copied().filter(|&byte| byte != b'\r').collect();
    check("has the line ends of Unix", &unix, &[b""]);
    let mut internet = Vec::with_capacity(unix.len());
    for byte in &unix {
        internet.extend_from_slice(if *byte == b'\n' { b"\r\n" } else { std::slice::from_ref(byte) });
    }
    check("has the line ends of the Internet", &internet, &[b""]);
    check("is empty", b"", &lines);
    check("is of zeros", &vec![0; reply.len()], &lines);
    check("is of bytes that are not UTF-8", &reply.iter().map(|&byte| byte | 0x80).collect::<Vec<_>>(), &lines);
    check("is that of another program", b"<html>\n<body>: = : 1 2 3</body>\n", &lines);
}

/// The key of a metric without the module.
fn name(key: &str) -> &str {
    key.split_once('.').map_or(key, |(_, name)| name)
}

/// The ways in which a line is damaged.
pub(super) fn line_damages(line: &[u8]) -> Vec<(String, Vec<u8>)> {
    let text = line.trim_ascii_end();
    let end = &line[text.len()..];
    let mut damages = vec![
        ("is missing".to_owned(), Vec::new()),
        ("is empty".to_owned(), end.to_vec()),
        ("is garbage".to_owned(), GARBAGE.to_vec()),
        ("comes twice".to_owned(), [line, line].concat()),
        (
            "is of bytes that are not UTF-8".to_owned(),
            [&*text.iter().map(|byte| byte | 0x80).collect::<Vec<_>>(), end].concat(),
        ),
    ];
    for part in 1..4 {
        let cut = &text[..text.len() * part / 4];
        damages.push((format!("is cut to {} bytes", cut.len()), [cut, end].concat()));
    }
    for (name, number) in ODD_NUMBERS {
        damages.push((format!("has numbers that are {name}"), with_numbers(line, number)));
    }
    damages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    /// A service with a metric for each line.
    fn sample(reply: &[u8], is_up: bool) -> SampleMap {
        let mut sample = SampleMap::default();
        sample.0.insert("m.up".to_owned(), Value::Boolean(is_up));
        for line in String::from_utf8_lossy(reply).lines() {
            if let Some((name, Ok(value))) = line.split_once(' ').map(|(name, value)| (name, value.parse())) {
                sample.0.insert(format!("m.{name}"), Value::Natural(value));
            }
        }
        sample
    }

    fn first_word(line: &str) -> Vec<String> {
        vec![line.split(' ').next().unwrap_or_default().to_owned()]
    }

    #[test]
    fn damage_may_cost_what_a_line_gives() {
        assert_reply_damage_is_contained(b"a 1\nb 2\n", |reply| sample(reply, true), first_word);
    }

    #[test]
    #[should_panic(expected = "line 2 is missing: b 2")]
    fn damage_that_spreads_to_other_lines_is_reported() {
        let fragile = |reply: &[u8]| sample(if reply.ends_with(b"b 2\n") { reply } else { b"" }, true);
        assert_reply_damage_is_contained(b"a 1\nb 2\n", fragile, first_word);
    }

    #[test]
    #[should_panic(expected = "m.up is Some(Value::Boolean(false))")]
    fn damage_that_spreads_to_the_state_is_reported() {
        let fragile = |reply: &[u8]| sample(reply, reply.starts_with(b"a 1"));
        assert_reply_damage_is_contained(b"a 1\nb 2\n", fragile, |_| vec!["*".to_owned()]);
    }
}
