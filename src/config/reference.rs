//! The documents about the keys: the tables of docs/configuration.md, and deploy/gauged.toml. Made of the table of keys, and
//! compared with the files; `UPDATE_EXPECT=1` writes them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use expect_test::expect_file;

use super::key::{
    DefaultValue, Key, PLUGIN_CLIENT_TABLE, PLUGIN_LIMITS_TABLE, PLUGIN_TABLE, Reload, SINK_TABLE, Values,
};
use super::keys::KEYS;
use super::sink_network::rows::is_network_key;

/// The longest line of deploy/gauged.toml.
const WIDTH: usize = 120;

/// Where the example begins a sink of another kind: the first key, a comment, and lines.
const NETWORK_SECTIONS: [(&str, &str, &str); 3] = [
    ("url", "Keys that only sinks have that send numbers over the network.", "#[sinks.vm]\n\n#kind = \"remote_write\""),
    (
        "username",
        "A user with a password, in place of a token.",
        "#[sinks.tsdb]\n\n#kind = \"influx\"\n\n#url = \"http://127.0.0.1:8086/write?db=gauged\"",
    ),
    ("transfers", "Keys that only sinks of kind open_falcon have.", "#[sinks.falcon]\n\n#kind = \"open_falcon\""),
];

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// The rows of the keys that are chosen, named below this table.
fn markdown(table: &str, is_chosen: impl Fn(&Key) -> bool) -> String {
    let mut text = "| key | meaning | values | default | reload |\n|---|---|---|---|---|\n".to_owned();
    for key in KEYS.iter().filter(|key| is_chosen(key)) {
        let path = key.path();
        let name = path.strip_prefix(table).unwrap_or(&path).trim_start_matches('.');
        let default = match key.default {
            DefaultValue::Depends { how, .. } => how.to_owned(),
            default => format!("`{}`", default.toml().unwrap_or_default()),
        };
        let reload = match key.reload {
            Reload::Applied => "yes",
            Reload::Restart => "restart",
        };
        let _ = writeln!(text, "| `{name}` | {} | {} | {default} | {reload} |", key.meaning, key.values);
    }
    text
}

/// A text without the markup of docs/: ``a `b` [c](d)`` is `a b c`.
fn plain(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some((before, link)) = rest.split_once('[') {
        let (label, after) = link
            .split_once("](")
            .and_then(|(label, target)| Some((label, target.split_once(')')?.1)))
            .unwrap_or((link, ""));
        plain.push_str(before);
        plain.push_str(label);
        rest = after;
    }
    plain.push_str(rest);
    plain.replace('`', "")
}

fn comment(text: &mut String, sentence: &str) {
    let mut line = "#".to_owned();
    for word in sentence.split(' ') {
        if line.len() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{line}");
            "#".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

/// An example of a value that is no default.
fn example(key: &Key) -> String {
    match (key.table, key.name, key.default) {
        ("metrics" | SINK_TABLE, "include" | "exclude", _) => "[\"network.*{device=\\\"veth*\\\"}\"]".to_owned(),
        ("", "tags", _) => "{ dc = \"fra1\", rack = \"b4\" }".to_owned(),
        (PLUGIN_TABLE, "read", _) => "[\"/etc/os-release\", \"/var/lib/app/*/stats\"]".to_owned(),
        (PLUGIN_TABLE, "usage", _) => "[\"/var/lib/app\"]".to_owned(),
        (PLUGIN_TABLE, "connect", _) => {
            "[\"127.0.0.1:6379\", \"db.internal:5432\", \"[::1]:80\", \"unix:/run/redis/redis.sock\"]".to_owned()
        }
        (PLUGIN_TABLE, "fetch", _) => {
            "[\"http://localhost:8080\", \"https://example.org\", \"unix:/run/docker.sock\"]".to_owned()
        }
        (PLUGIN_TABLE, "config", _) => "{ servers = [{ address = \"127.0.0.1:6379\" }] }".to_owned(),
        (PLUGIN_TABLE, "secrets", _) => "{ \"servers.0.password\" = \"/run/credentials/redis\" }".to_owned(),
        (_, _, DefaultValue::Depends { example, .. }) => example.to_owned(),
        (_, _, default) => default.toml().unwrap_or_default(),
    }
}

fn example_file() -> String {
    let mut text = String::new();
    comment(
        &mut text,
        "The configuration of gauged. Every line is optional; a line that begins with # and no space shows a default or an \
         example. Further files are gauged.d/*.toml beside this one. `gauged check --config FILE` reports every error, and \
         docs/configuration.md explains each key.",
    );
    let mut table = "";
    for key in KEYS.iter() {
        if key.table == PLUGIN_LIMITS_TABLE {
            continue;
        }
        text.push('\n');
        if key.table != table {
            table = key.table;
            if table == PLUGIN_TABLE {
                comment(
                    &mut text,
                    "One table for each plugin, named as the plugin is: redis for plugins/redis.wasm. A plugin needs a table only \
                     for settings and grants.",
                );
            }
            if table == SINK_TABLE {
                comment(
                    &mut text,
                    "One table for each output of samples, with a name of its own. Without any table, and without [http], there is one of \
                     kind stdout.",
                );
            }
            if table == PLUGIN_CLIENT_TABLE {
                comment(&mut text, "How the requests of one plugin connect, where that differs from the table client.");
            }
            let name = match table {
                SINK_TABLE => "output",
                PLUGIN_CLIENT_TABLE => "http_check",
                _ => "redis",
            };
            let _ = write!(text, "#[{}]\n\n", table.replace("NAME", name));
        }
        if (key.table, key.name) == (SINK_TABLE, "path") {
            comment(&mut text, "Keys that only sinks of kind file have.");
            text.push_str("#[sinks.archive]\n\n#kind = \"file\"\n\n");
        }
        let section = NETWORK_SECTIONS.iter().find(|(first, ..)| (key.table, key.name) == (SINK_TABLE, *first));
        if let Some((_, sentence, lines)) = section {
            comment(&mut text, sentence);
            let _ = write!(text, "{lines}\n\n");
        }
        if (key.table, key.name) == (PLUGIN_TABLE, "read") {
            comment(&mut text, "Bounds of its results, of what it holds, and of its log lines a minute.");
            let limits = KEYS.iter().filter(|key| key.table == PLUGIN_LIMITS_TABLE);
            let limits: Vec<String> = limits.map(|key| format!("{} = {}", key.name, example(key))).collect();
            let _ = write!(text, "#limits = {{ {} }}\n\n", limits.join(", "));
        }
        let default = match key.default {
            DefaultValue::Depends { how, .. } if how.starts_with("see ") => {
                " The default depends on the host.".to_owned()
            }
            DefaultValue::Depends { how, .. } => format!(" Default: {how}."),
            _ => String::new(),
        };
        let restart = if key.reload == Reload::Restart { " A change needs a restart." } else { "" };
        let values = match key.values {
            Values::Switch | Values::Table(_) => String::new(),
            values => format!(" Values: {values}."),
        };
        let meaning = plain(&format!("{}.{values}{default}{restart}", key.meaning));
        let mut letters = meaning.chars();
        let meaning: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
        comment(&mut text, &meaning);
        let _ = writeln!(text, "#{} = {}", key.name, example(key));
    }
    text
}

/// The document with this text between the two marks of a table.
fn with_table(document: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- keys: {name} -->\n"), "<!-- end of keys -->\n");
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("docs/configuration.md has no {begin}"));
    let (_, after) = rest.split_once(end).expect("an end");
    format!("{before}{begin}{table}{end}{after}")
}

#[test]
fn documented_keys_match_the_table() {
    let mut document = std::fs::read_to_string(path("docs/configuration.md")).expect("readable");
    let is_agents = |key: &Key| !matches!(key.table, "limits" | "http" | "client") && !key.is_of_named_table();
    for (name, table) in [
        ("agent", markdown("", is_agents)),
        ("limits", markdown("limits", |key| key.table == "limits")),
        ("http", markdown("http", |key| key.table == "http")),
        ("client", markdown("client", |key| key.table == "client")),
        ("sinks", markdown(SINK_TABLE, |key| key.table == SINK_TABLE && !is_network_key(key.name))),
        ("sinks.network", markdown(SINK_TABLE, |key| key.table == SINK_TABLE && is_network_key(key.name))),
        ("plugins", markdown(PLUGIN_TABLE, |key| key.table == PLUGIN_TABLE)),
        ("plugins.client", markdown(PLUGIN_CLIENT_TABLE, |key| key.table == PLUGIN_CLIENT_TABLE)),
        ("plugins.limits", markdown(PLUGIN_LIMITS_TABLE, |key| key.table == PLUGIN_LIMITS_TABLE)),
    ] {
        document = with_table(&document, name, &table);
    }
    expect_file![path("docs/configuration.md")].assert_eq(&document);
}

#[test]
fn example_configuration_matches_the_table() {
    expect_file![path("deploy/gauged.toml")].assert_eq(&example_file());
}
