//! Settings that are rejected, each with its key and the remedy.

use super::*;

/// The error of a document with these settings beside its source and metrics, which a text of its own replaces.
fn error(settings: &str) -> (String, String) {
    match Harness::<Json>::start(Host::new(), settings) {
        Err(Error::InvalidConfig(errors)) => (errors[0].key.clone(), errors[0].message.clone()),
        Err(error) => panic!("{settings}: {error:?}"),
        Ok(_) => panic!("{settings} is accepted"),
    }
}

#[test]
fn invalid_documents_are_rejected() {
    let metrics = r#""metrics": [{"path": "a"}]"#;
    let one = |settings: &str| format!(r#"{{"documents": [{{"sources": ["{URL}"], {settings}}}]}}"#);
    for (settings, key, message) in [
        ("{}".to_owned(), "documents", "list at least one: "),
        (r#"{"documents": [{"sources": []}]}"#.to_owned(), "documents[0].metrics", "is missing"),
        (
            format!(r#"{{"documents": [{{"sources": [], {metrics}}}]}}"#),
            "documents[0].sources",
            "list at least one URL",
        ),
        (one(r#""metrics": []"#), "documents[0].metrics", "list at least one"),
        (one(&format!(r#""module": "a.b", {metrics}"#)), "documents[0].module", "must have 1 to 128 letters"),
        (one(&format!(r#""timeout_ms": 0, {metrics}"#)), "documents[0].timeout_ms", "must be at least 1"),
        (one(&format!(r#""statuses": [], {metrics}"#)), "documents[0].statuses", "list at least one"),
        (
            one(&format!(r#""unix_socket": "app.sock", {metrics}"#)),
            "documents[0].unix_socket",
            "must be an absolute path",
        ),
        (
            format!(r#"{{"documents": [{{"sources": ["/a"], "unix_socket": "/b", {metrics}}}]}}"#),
            "documents[0].unix_socket",
            "is for URLs",
        ),
        (one(&format!(r#""user": "a", {metrics}"#)), "documents[0].password", "is missing"),
        (one(&format!(r#""password": "a", {metrics}"#)), "documents[0].user", "is missing"),
        (
            one(&format!(r#""user": "a:b", "password": "c", {metrics}"#)),
            "documents[0].user",
            "must not contain a colon",
        ),
        (one(&format!(r#""metric": 1, {metrics}"#)), "documents[0].metric", "unknown key; remove it, or use one of "),
        (
            format!(r#"{{"documents": [{{"sources": ["ftp://a"], {metrics}}}]}}"#),
            "documents[0].sources[0]",
            "must begin with http://, https:// or /",
        ),
        (
            format!(r#"{{"documents": [{{"sources": ["/a@b", "http://a/b@c", "http://u:secret@a/b"], {metrics}}}]}}"#),
            "documents[0].sources[2]",
            "must not have a user and a password before the host, where labels and the log show them; write them into `user` and `password`",
        ),
        (
            format!(r#"{{"documents": [{{"sources": ["/a", "/{}"], {metrics}}}]}}"#, "b".repeat(1024)),
            "documents[0].sources[1]",
            "has more than 1024 bytes",
        ),
        (
            format!(r#"{{"documents": [{{"sources": ["/a"], {metrics}}}, {{"sources": ["/a"], {metrics}}}]}}"#),
            "documents[1].sources[0]",
            "is listed twice",
        ),
    ] {
        let (found_key, found) = error(&settings);
        assert!(found_key == key && found.starts_with(message), "{settings}: {found_key} {found}");
    }
    let sources: Vec<String> = (0..101).map(|number| format!("\"/{number}\"")).collect();
    let many = format!(r#"{{"documents": [{{"sources": [{}], {metrics}}}]}}"#, sources.join(","));
    assert_eq!(error(&many).1, "have more than 100 sources; read some from another host");
    let many = vec![r#"{"path": "a"}"#; 1001].join(",");
    assert_eq!(error(&one(&format!(r#""metrics": [{many}]"#))).1, "have more than 1000 metrics; use paths with stars");
}

#[test]
fn invalid_metrics_are_rejected() {
    for (metric, key, message) in [
        (r#"{"path": ""}"#, "path", "is no path"),
        (r#"{"path": "a..b"}"#, "path", "is no path"),
        (r#"{"path": "a[b]"}"#, "path", "is no path"),
        (r#"{"path": "a[0]"}"#, "name", "is missing"),
        (r#"{"path": "a.{b}"}"#, "name", "is missing"),
        (r#"{"path": "ü"}"#, "name", "is missing"),
        (r#"{"path": "a", "name": "b-c"}"#, "name", "must have 1 to 128 letters"),
        (r#"{"path": "a", "name": "up"}"#, "name", "is a metric of the plugin itself"),
        (r#"{"path": "a", "name": "a", "kind": "counter"}"#, "name", "ends in _total if the kind is counter"),
        (r#"{"path": "a", "name": "a_total"}"#, "name", "ends in _total if the kind is counter"),
        (r#"{"path": "a", "name": "a", "kind": "info"}"#, "name", "must end in _info"),
        (r#"{"path": "a", "kind": "histogram"}"#, "kind", "is \"histogram\"; use one of gauge, counter, info, text"),
        (r#"{"path": "a", "kind": "info", "scale": 2}"#, "kind", "of a text has no `scale`"),
        (r#"{"path": "a", "kind": "text", "values": {"a": 1}}"#, "kind", "of a text has no `scale`"),
        (r#"{"path": "a", "unit": ""}"#, "unit", "must have 1 to 64 bytes"),
        (r#"{"path": "a", "description": ""}"#, "description", "must have 1 to 1024 bytes"),
        (r#"{"path": "a", "scale": 0}"#, "scale", "must be above 0"),
        (r#"{"path": "a.*", "name": "b"}"#, "labels", "are missing: values of a path with stars"),
        (r#"{"path": "a.*.*"}"#, "labels", "are missing: values of a path with stars"),
        (r#"{"path": "a.{source}", "name": "b"}"#, "labels", "source cannot be a label here"),
        (r#"{"path": "a.{b}.{b}", "name": "c"}"#, "labels", "b cannot be a label here"),
        (r#"{"path": "a.{b}", "name": "c", "labels": {"b": "d"}}"#, "labels", "b cannot be a label here"),
        (r#"{"path": "a", "labels": {"0": "d"}}"#, "labels", "0 cannot be a label here"),
        (r#"{"path": "a", "kind": "info", "labels": {"value": "d"}}"#, "labels", "value cannot be a label here"),
        (r#"{"path": "a", "labels": {"b": "[c"}}"#, "labels", "b has no path"),
        (r#"{"path": "a", "labels": {"b": "c.*"}}"#, "labels", "the path of b has more stars"),
    ] {
        let settings = format!(r#"{{"documents": [{{"sources": ["{URL}"], "metrics": [{metric}]}}]}}"#);
        let (found_key, found) = error(&settings);
        let key = format!("documents[0].metrics[0].{key}");
        assert!(found_key == key && found.starts_with(message), "{metric}: {found_key} {found}");
    }
}

#[test]
fn metric_of_one_name_has_one_description() {
    let document = |source: &str, metric: &str| format!(r#"{{"sources": ["{source}"], "metrics": [{metric}]}}"#);
    let both = |other: &str| {
        let documents = [document("/a", r#"{"path": "a", "unit": "By"}"#), document("/b", other)];
        format!(r#"{{"documents": [{}]}}"#, documents.join(","))
    };
    let same = Harness::<Json>::start(Host::new(), &both(r#"{"path": "a", "unit": "By"}"#)).expect("the same metric");
    assert_eq!(same.plugin().metrics().len(), 1);
    let (key, message) = error(&both(r#"{"path": "a", "unit": "s"}"#));
    assert_eq!(key, "documents[1].metrics[0].name");
    assert!(message.starts_with("is another metric already"), "{message}");
}
