//! The parts of a query in `PromQL` that names are in: selectors with their matchers and functions, and labels to group by. Whether the
//! query is valid is for `promtool` to say.

/// A metric in a query.
#[derive(Debug, PartialEq, Eq)]
pub struct Selector {
    pub metric: String,
    /// The labels of its matchers.
    pub labels: Vec<String>,
    /// The function or aggregation that it is an argument of; empty without one.
    pub function: String,
    /// Whether it has a range, as in `[5m]`.
    pub has_range: bool,
}

/// The metrics and labels of a query.
#[derive(Debug, Default)]
pub struct Query {
    pub selectors: Vec<Selector>,
    /// The labels after `by`, `on` and the like.
    pub grouping: Vec<String>,
}

const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

impl Query {
    pub fn parse(text: &str) -> Self {
        let (mut query, mut rest, mut functions) = (Self::default(), text, Vec::<&str>::new());
        let mut function = "";
        while let Some(first) = rest.chars().next() {
            let is_of_word = |letter: char| letter.is_ascii_alphanumeric() || "_:.".contains(letter);
            let length = rest.find(|letter| !is_of_word(letter)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(length);
            let next = after.trim_start();
            rest = match first {
                '(' => {
                    functions.push(std::mem::take(&mut function));
                    &rest[1..]
                }
                ')' => {
                    functions.pop();
                    &rest[1..]
                }
                '"' => rest[1..].split_once('"').expect("a text ends").1,
                '[' => {
                    query.selectors.last_mut().expect("a range is of a metric").has_range = true;
                    rest.split_once(']').expect("a range ends").1
                }
                '{' => {
                    let selector = query.selectors.last_mut().expect("matchers are of a metric");
                    let (labels, end) = matchers(&rest[1..]);
                    selector.labels = labels;
                    end
                }
                _ if first.is_ascii_digit() || OPERATORS.contains(&word) => after,
                _ if GROUPINGS.contains(&word) => {
                    let (labels, end) = next[1..].split_once(')').expect("labels end");
                    query.grouping.extend(labels.split(',').map(|label| label.trim().to_owned()));
                    // The arguments of an aggregation follow.
                    if end.trim_start().starts_with('(') {
                        function = "aggregation";
                    }
                    end
                }
                _ if !word.is_empty()
                    && (next.starts_with('(') || GROUPINGS.iter().any(|of| next.starts_with(&format!("{of} (")))) =>
                {
                    function = word;
                    after
                }
                _ if !word.is_empty() => {
                    let function = functions.last().copied().unwrap_or_default().to_owned();
                    let selector = Selector { metric: word.to_owned(), labels: Vec::new(), function, has_range: false };
                    query.selectors.push(selector);
                    after
                }
                _ => &rest[first.len_utf8()..],
            };
        }
        query
    }
}

/// The labels of matchers, and what follows the closing brace.
fn matchers(text: &str) -> (Vec<String>, &str) {
    let (mut labels, mut rest) = (Vec::new(), text);
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return (labels, after);
        }
        let end = rest.find(['=', '!']).expect("a matcher");
        labels.push(rest[..end].trim().to_owned());
        rest = rest[end..].split_once('"').expect("a value").1.split_once('"').expect("a value ends").1;
    }
}

#[test]
fn metrics_labels_and_functions_are_found() {
    let query = Query::parse(
        r#"sum by (device, job) (rate(a_total{device!="x(y}",mode=~"a|b"}[5m])) / on(job) b > 0.1 and c{} == 1e3 or vector(0)"#,
    );
    let found: Vec<(&str, Vec<&str>, &str, bool)> = (query.selectors.iter())
        .map(|of| (&*of.metric, of.labels.iter().map(String::as_str).collect(), &*of.function, of.has_range))
        .collect();
    let expected =
        [("a_total", vec!["device", "mode"], "rate", true), ("b", vec![], "", false), ("c", vec![], "", false)];
    assert_eq!(found, expected);
    assert_eq!(query.grouping, ["device", "job", "job"]);
    assert_eq!(Query::parse("max(a and b == 0) or vector(0)").selectors[1].function, "max");
}
