//! The parser for the `stub_status` page of nginx and of servers derived from it. Each number is found by its name, so that
//! a page with other numbers, or with one that is impossible, has the rest.

use gauged_plugin::service::figure;

/// The numbers on the page; `None` for one that is missing or impossible.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) active: Option<u64>,
    pub(crate) accepted: Option<u64>,
    pub(crate) handled: Option<u64>,
    pub(crate) requests: Option<u64>,
    pub(crate) reading: Option<u64>,
    pub(crate) writing: Option<u64>,
    pub(crate) waiting: Option<u64>,
}

impl Status {
    /// The names of the numbers on the page.
    pub(crate) const NAMES: [&'static str; 7] =
        ["active connections", "accepts", "handled", "requests", "Reading", "Writing", "Waiting"];

    /// Parses a page:
    ///
    /// ```text
    /// Active connections: 291
    /// server accepts handled requests
    ///  16630948 16630948 31070465
    /// Reading: 6 Writing: 179 Waiting: 106
    /// ```
    ///
    /// Tengine has a further column `request_time`.
    pub(crate) fn parse(page: &str) -> Self {
        let mut status = Self::default();
        let lines = page.lines().map(|line| words(line).collect::<Vec<_>>()).filter(|words| !words.is_empty());
        let mut lines = lines.peekable();
        while let Some(line) = lines.next() {
            if ["accepts", "handled", "requests"].iter().all(|name| position(&line, name).is_some()) {
                // The next line has the numbers of all columns but the first, `server`, unless it is missing.
                let numbers = lines.next_if(|line| !has_name(line)).unwrap_or_default();
                let first = usize::from(position(&line, "server") == Some(0));
                // With a number more or less than names, nobody knows which is whose.
                let has_all = numbers.len() + first == line.len();
                let column = |name| {
                    if !has_all {
                        return None;
                    }
                    numbers.get(position(&line, name)?.checked_sub(first)?).and_then(|&text| figure::count(text))
                };
                status.accepted = status.accepted.or(column("accepts"));
                status.handled = status.handled.or(column("handled"));
                status.requests = status.requests.or(column("requests"));
                continue;
            }
            let after = |name| line.get(position(&line, name)? + 1).and_then(|&text| figure::open(text));
            if position(&line, "active").is_some() {
                status.active = status.active.or(after("connections"));
            }
            status.reading = status.reading.or(after("reading"));
            status.writing = status.writing.or(after("writing"));
            status.waiting = status.waiting.or(after("waiting"));
        }
        status
    }

    /// The names of the numbers that were not found.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let Self { active, accepted, handled, requests, reading, writing, waiting } = *self;
        let numbers = [active, accepted, handled, requests, reading, writing, waiting];
        Self::NAMES.into_iter().zip(numbers).filter(|(_, number)| number.is_none()).map(|(name, _)| name).collect()
    }
}

/// The words of a line, with colons as spaces.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|separator: char| separator == ':' || separator.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

/// Whether a line has the name of a number, so that it is not one of numbers alone.
fn has_name(line: &[&str]) -> bool {
    ["active", "accepts", "reading", "writing", "waiting"].iter().any(|name| position(line, name).is_some())
}

fn position(words: &[&str], name: &str) -> Option<usize> {
    words.iter().position(|word| word.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "Active connections: 291 \nserver accepts handled requests\n 16630948 16630945 31070465 \n\
                        Reading: 6 Writing: 179 Waiting: 106 \n";

    const WHOLE: Status = Status {
        active: Some(291),
        accepted: Some(16_630_948),
        handled: Some(16_630_945),
        requests: Some(31_070_465),
        reading: Some(6),
        writing: Some(179),
        waiting: Some(106),
    };

    #[test]
    fn pages_of_derived_servers_are_read() {
        for page in [
            PAGE.to_owned(),
            PAGE.replace('\n', "\r\n"),
            // Tengine, with and without a space more.
            PAGE.replace("requests\n", "requests request_time\n").replace("31070465 ", "31070465 75806 "),
            PAGE.replace("connections: ", "connections:  "),
            PAGE.to_lowercase(),
            PAGE.replace(": ", ":"),
            format!("\n{}More: 1\n", PAGE.replace('\n', "\n\n")),
            "Reading: 6 Writing: 179 Waiting: 106\nserver requests accepts handled\n31070465 16630948 16630945\n\
             Active connections: 291"
                .to_owned(),
        ] {
            assert_eq!(Status::parse(&page), WHOLE, "{page:?}");
        }
    }

    #[test]
    fn odd_number_costs_only_itself() {
        for odd in ["18446744073709551615", "-1", "many", "1e999", "", "99999999999999999999"] {
            let page = PAGE.replace("179", odd).replace("16630945", "-3");
            let expected = Status { writing: None, handled: None, ..WHOLE };
            assert_eq!(Status::parse(&page), expected, "{odd}");
        }
        // A counter that wrapped in 32 bits is a large one; connections that are open are not that many.
        let expected = Status { active: None, requests: Some(4_294_967_295), ..WHOLE };
        assert_eq!(Status::parse(&PAGE.replace("291", "4294967295").replace("31070465", "4294967295")), expected);
        assert_eq!(expected.missing(), ["active connections"]);
    }

    #[test]
    fn columns_without_all_numbers_are_left_out() {
        let expected = Status { accepted: None, handled: None, requests: None, ..WHOLE };
        for numbers in ["16630948 31070465", "16630948", "16630948 16630945 31070465 7"] {
            assert_eq!(Status::parse(&PAGE.replace("16630948 16630945 31070465", numbers)), expected, "{numbers}");
        }
        // Tengine without its last number.
        assert_eq!(Status::parse(&PAGE.replace("requests\n", "requests request_time\n")), expected);
        assert_eq!(expected.missing(), ["accepts", "handled", "requests"]);
    }

    #[test]
    fn truncated_page_has_no_wrong_number() {
        for end in 0..PAGE.len() {
            let status = Status::parse(&PAGE[..end]);
            let is_whole_before =
                |name: &str, number: &str| PAGE.find(name).is_some_and(|at| at < end) && !number.is_empty();
            assert!(status.active.is_none() || is_whole_before("Active", "291"), "{end}");
            assert!(status.requests.is_none_or(|requests| "31070465".starts_with(&requests.to_string())), "{end}");
        }
        for page in
            ["", "\0\u{ff}", ":::", "accepts handled requests", "server accepts handled requests\n\n\n", "active"]
        {
            assert_eq!(Status::parse(page), Status::default(), "{page:?}");
        }
    }
}
