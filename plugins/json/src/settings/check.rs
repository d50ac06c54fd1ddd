//! Checks the settings beyond their types, and makes sources and metrics of them.

use gauged_plugin::Error;
use gauged_plugin::descriptor::{Described as _, FoundMetric, MAX_NAME_BYTES};
use gauged_plugin::json::Query;
use gauged_plugin::service::{Service, check_no_user};

use super::{DocumentSettings, Fetch, Kind, MetricSettings, Settings};
use crate::metric::{Metric, Name};
use crate::source::Source;

/// The most sources: with the longest timeout of a call, 60 s, each still has half a second if none responds.
const MAX_SOURCES: usize = 100;

/// The most metrics in the settings; each is looked for at each tick.
const MAX_METRICS: usize = 1_000;

/// The longest URL or path, which is a label value.
const MAX_SOURCE_BYTES: usize = 1024;

/// The longest unit and description that the agent takes.
const MAX_UNIT_BYTES: usize = 64;
const MAX_DESCRIPTION_BYTES: usize = 1024;

/// An invalid key within a document or metric.
type Invalid = (&'static str, String);

impl Settings {
    /// The metrics of each document, and all sources.
    pub(crate) fn validate(self) -> Result<(Vec<Vec<Metric>>, Vec<Source>), Error> {
        if self.documents.is_empty() {
            let example = r#"documents = [{ sources = ["http://localhost:9200/_cluster/health"], metrics = [{ path = "number_of_nodes" }] }]"#;
            return Err(Error::invalid("documents", ["list at least one: ", example].concat()));
        }
        let (mut metrics, mut sources) = (Vec::new(), Vec::<Source>::new());
        for (number, document) in self.documents.into_iter().enumerate() {
            let within = |key: &str| format!("documents[{number}].{key}");
            let fetch = document.fetch().map_err(|(key, why)| Error::invalid(&within(key), why))?;
            for (at, source) in document.sources.iter().enumerate() {
                let key = within(&format!("sources[{at}]"));
                let known = sources.iter().map(|known| known.service.name());
                let is_url = check_source(source, known).map_err(|why| Error::invalid(&key, why))?;
                let service = Service::new(source).with_key(key);
                sources.push(Source { service, document: number, fetch: is_url.then(|| fetch.clone()) });
            }
            let module = &document.module;
            let made = document.metrics.iter().enumerate().map(|(at, metric)| {
                let key = |key: &str| within(&format!("metrics[{at}].{key}"));
                metric.make(module).map_err(|(name, why)| Error::invalid(&key(name), why))
            });
            let made = made.collect::<Result<Vec<_>, _>>()?;
            metrics.push(made);
        }
        if sources.len() > MAX_SOURCES {
            return Err(Error::invalid(
                "documents",
                format!("have more than {MAX_SOURCES} sources; read some from another host"),
            ));
        }
        if metrics.iter().map(Vec::len).sum::<usize>() > MAX_METRICS {
            return Err(Error::invalid(
                "documents",
                format!("have more than {MAX_METRICS} metrics; use paths with stars"),
            ));
        }
        check_descriptions(&metrics)?;
        Ok((metrics, sources))
    }
}

/// Checks a URL or path; returns whether it is a URL.
fn check_source<'a>(source: &str, mut known: impl Iterator<Item = &'a str>) -> Result<bool, String> {
    let is_url = source.starts_with("http://") || source.starts_with("https://");
    if !is_url && !source.starts_with('/') {
        return Err("must begin with http://, https:// or /".to_owned());
    }
    if is_url {
        check_no_user(source, "write them into `user` and `password`")?;
    }
    if source.len() > MAX_SOURCE_BYTES {
        return Err("has more than 1024 bytes".to_owned());
    }
    if known.any(|known| known == source) {
        return Err("is listed twice; write all metrics of a source into one document".to_owned());
    }
    Ok(is_url)
}

/// Metrics of one name have one description, so that their sinks have one kind and unit for them.
fn check_descriptions(metrics: &[Vec<Metric>]) -> Result<(), Error> {
    let mut known: Vec<&FoundMetric> = Vec::new();
    for (number, document) in metrics.iter().enumerate() {
        for (at, metric) in document.iter().enumerate() {
            let Some(described) = metric.described() else { continue };
            let same =
                known.iter().find(|known| known.name() == described.name() && known.module() == described.module());
            match same {
                Some(same) if *same != described => {
                    let why = "is another metric already, with another kind, unit, description or labels; choose another name";
                    return Err(Error::invalid(&format!("documents[{number}].metrics[{at}].name"), why));
                }
                Some(_) => {}
                None => known.push(described),
            }
        }
    }
    Ok(())
}

impl DocumentSettings {
    /// Checks the settings but the metrics.
    fn fetch(&self) -> Result<Fetch, Invalid> {
        let invalid = |key, why: &str| Err((key, why.to_owned()));
        if self.sources.is_empty() {
            return invalid("sources", "list at least one URL or path");
        }
        if self.metrics.is_empty() {
            return invalid("metrics", "list at least one, with its path");
        }
        if !is_name(&self.module) {
            return invalid("module", "must have 1 to 128 letters, digits and underscores");
        }
        if self.timeout_ms == Some(0) {
            return invalid("timeout_ms", "must be at least 1; raise it or remove it");
        }
        if self.statuses.is_empty() {
            return invalid("statuses", "list at least one, such as 200");
        }
        if self.unix_socket.as_deref().is_some_and(|path| !path.starts_with('/')) {
            return invalid("unix_socket", "must be an absolute path, such as /run/app.sock");
        }
        if self.unix_socket.is_some() && self.sources.iter().any(|source| source.starts_with('/')) {
            return invalid("unix_socket", "is for URLs; write the files into another document");
        }
        let login = match (&self.user, &self.password) {
            (None, None) => None,
            (Some(_), None) => return invalid("password", "is missing; a user needs one"),
            (None, Some(_)) => return invalid("user", "is missing; a password needs one"),
            (Some(user), Some(_)) if user.contains(':') => return invalid("user", "must not contain a colon"),
            (Some(user), Some(password)) => Some((user.clone(), password.clone())),
        };
        let (unix_socket, headers, body) = (self.unix_socket.clone(), self.headers.clone(), self.body.clone());
        Ok(Fetch { unix_socket, headers, login, body, statuses: self.statuses.clone(), timeout_ms: self.timeout_ms })
    }
}

impl MetricSettings {
    fn make(&self, module: &str) -> Result<Metric, Invalid> {
        let invalid = |key, why: &str| Err((key, why.to_owned()));
        let Some(query) = Query::parse(&self.path).filter(|_| !self.path.is_empty()) else {
            return invalid("path", "is no path: write keys with points between them, as in nodes.*.jobs[0].age");
        };
        let star_names = query.star_names();
        let is_named_by_star = self.name.is_none() && query.ends_with_star();
        let stars: Vec<_> = star_names.into_iter().map(|name| name.map(str::to_owned)).collect();
        let mut labels = Vec::new();
        for (label, path) in &self.labels {
            let Some(of_label) = Query::parse(path) else {
                return Err(("labels", format!("{label} has no path: {path}")));
            };
            if of_label.star_names().len() > stars.len() {
                return Err(("labels", format!("the path of {label} has more stars than that of the metric")));
            }
            labels.push((label.clone(), of_label));
        }
        let all: Vec<&str> =
            stars.iter().flatten().map(String::as_str).chain(self.labels.keys().map(String::as_str)).collect();
        for (at, label) in all.iter().enumerate() {
            let is_label =
                is_name(label) && !label.starts_with("__") && !label.starts_with(|first: char| first.is_ascii_digit());
            let is_taken = *label == "source" || (self.kind == Kind::Info && *label == "value");
            if !is_label || is_taken || all[..at].contains(label) {
                return Err(("labels", format!("{label} cannot be a label here; choose another name")));
            }
        }
        let told_apart = stars.len() - usize::from(is_named_by_star);
        if told_apart > 0 && all.is_empty() {
            return invalid("labels", "are missing: values of a path with stars are told apart by labels");
        }
        if self.unit.is_empty() || self.unit.len() > MAX_UNIT_BYTES {
            return invalid("unit", "must have 1 to 64 bytes; plain numbers have the unit 1");
        }
        if self.description.as_ref().is_some_and(|text| text.is_empty() || text.len() > MAX_DESCRIPTION_BYTES) {
            return invalid("description", "must have 1 to 1024 bytes");
        }
        if self.scale.is_some_and(|scale| !(scale.is_finite() && scale > 0.0)) {
            return invalid("scale", "must be above 0");
        }
        if matches!(self.kind, Kind::Info | Kind::Text) && (self.scale.is_some() || !self.values.is_empty()) {
            return invalid("kind", "of a text has no `scale` and no `values`");
        }
        let describe = self.describe(module, &all);
        let name = if is_named_by_star {
            Name::OfLastStar(Box::new(move |key| describe(&name_of_key(key))))
        } else {
            let name = match &self.name {
                Some(name) => name.clone(),
                None => self.default_name(&query)?,
            };
            self.check_name(&name, module)?;
            Name::Known(describe(&name))
        };
        let Self { kind, values, scale, optional, .. } = self;
        Ok(Metric {
            query,
            name,
            kind: *kind,
            stars,
            labels,
            values: values.clone(),
            scale: *scale,
            is_optional: *optional,
        })
    }

    /// Makes the description of a metric with this name.
    fn describe(&self, module: &str, labels: &[&str]) -> impl Fn(&str) -> FoundMetric + use<> {
        let (kind, unit, module) = (self.kind, self.unit.clone(), module.to_owned());
        let description = self.description.clone().unwrap_or_else(|| format!("Value at `{}`.", self.path));
        let labels: Vec<(String, String)> = self.label_meanings(labels);
        move |name| {
            let metric = match kind {
                Kind::Counter => {
                    let suffix = if name.ends_with("_total") { "" } else { "_total" };
                    FoundMetric::counter(&module, &[name, suffix].concat(), &unit, &description)
                }
                Kind::Info => {
                    let suffix = if name.ends_with("_info") { "" } else { "_info" };
                    FoundMetric::gauge(&module, &[name, suffix].concat(), &unit, &description)
                }
                Kind::Gauge | Kind::Text => {
                    FoundMetric::gauge(&module, name.trim_end_matches("_total"), &unit, &description)
                }
            };
            labels.iter().fold(metric, |metric, (label, meaning)| metric.with_label(label, meaning))
        }
    }

    fn label_meanings(&self, labels: &[&str]) -> Vec<(String, String)> {
        let mut meanings = vec![("source".to_owned(), "URL or path of the document".to_owned())];
        meanings.extend(labels.iter().map(|label| {
            let path = self.labels.get(*label).unwrap_or(&self.path);
            ((*label).to_owned(), format!("Value at `{path}`"))
        }));
        if self.kind == Kind::Info {
            meanings.push(("value".to_owned(), format!("Text at `{}`", self.path)));
        }
        meanings
    }

    /// The name that is made of the last key of the path.
    fn default_name(&self, query: &Query) -> Result<String, Invalid> {
        let name = query.last_key().map(name_of_key).unwrap_or_default();
        if !is_name(&name) {
            return Err(("name", "is missing: the path has no last key to make a name of".to_owned()));
        }
        Ok(match self.kind {
            Kind::Counter if !name.ends_with("_total") => name + "_total",
            Kind::Info if !name.ends_with("_info") => name + "_info",
            _ => name,
        })
    }

    fn check_name(&self, name: &str, module: &str) -> Result<(), Invalid> {
        let invalid = |why: &str| Err(("name", why.to_owned()));
        if !is_name(name) {
            return invalid("must have 1 to 128 letters, digits and underscores");
        }
        if (self.kind == Kind::Counter) != name.ends_with("_total") {
            return invalid("ends in _total if the kind is counter, and only then");
        }
        if self.kind == Kind::Info && !name.ends_with("_info") {
            return invalid("must end in _info, since the kind is info");
        }
        if crate::METRICS.iter().any(|own| own.module == module && own.name == name) {
            return invalid("is a metric of the plugin itself; choose another name, or a `module`");
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_part)
}

/// A key as a name: `heapInUse` and `heap in-use` are `heap_in_use`.
pub(super) fn name_of_key(key: &str) -> String {
    let mut name = String::new();
    let mut before = '_';
    for letter in key.chars() {
        let is_part = letter.is_ascii_alphanumeric();
        if letter.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            name.push('_');
        }
        if is_part {
            name.push(letter.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
        before = letter;
    }
    name.truncate(MAX_NAME_BYTES - "_total".len());
    name.trim_end_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_names() {
        for (key, name) in [
            ("heapInUse", "heap_in_use"),
            ("HeapAlloc", "heap_alloc"),
            ("accepted conn", "accepted_conn"),
            ("max.listen--queue", "max_listen_queue"),
            ("p99", "p99"),
            ("cpu%", "cpu"),
            ("_id", "id"),
            ("ü", ""),
            ("GCSys", "gcsys"),
        ] {
            assert_eq!(name_of_key(key), name, "{key}");
        }
        assert_eq!(name_of_key(&"x".repeat(200)).len(), 122);
    }
}
