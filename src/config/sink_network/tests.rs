//! Tests of the keys of network sinks and of `[client]`, as whole files.

use std::time::Duration;

use expect_test::expect;

use super::super::file::{self, FileConfig, Parsed};
use super::super::piece::Piece;
use super::super::proxy::ProxySetting;
use super::super::secret::Secret;
use super::super::sink::SinkKind;
use super::*;

/// The files, and all errors.
fn parsed(text: &str) -> (FileConfig, Vec<String>) {
    let read_secret = |file: &str| match file {
        "/none" => Err("names /none, which cannot be read; write the file, or remove the key".to_owned()),
        "/broken" => Ok(Secret::new("a\nb")),
        _ => Ok(Secret::new("hunter2")),
    };
    let Parsed { written, problems, .. } = file::parse(&[Piece::new("gauged.toml", text)], None, &read_secret);
    (written, problems.iter().map(ToString::to_string).collect())
}

/// The sink `a` of a valid file.
fn sink(text: &str) -> NetworkSettings {
    let (written, problems) = parsed(text);
    assert_eq!(problems, [""; 0], "{text}");
    let SinkKind::Network(settings) = &written.sinks["a"].kind else { panic!("another kind") };
    NetworkSettings::clone(settings)
}

#[test]
fn sinks_have_defaults_by_kind() {
    let url = "url = \"http://h/x\"";
    for (kind, receiver, naming, shown) in [
        ("remote_write", url, Naming::Gauged, "remote_write at http://h/x"),
        ("otlp", url, Naming::Otel, "otlp at http://h/x"),
        ("influx", "url = \"http://h/x?p=secret\"", Naming::Gauged, "influx at http://h/x"),
        ("open_falcon", url, Naming::OpenFalcon, "open_falcon at http://h/x"),
        ("open_falcon", "transfers = [\"A:1\", \"[::1]:2\"]", Naming::OpenFalcon, "open_falcon at a:1, [::1]:2"),
    ] {
        let settings = sink(&format!("[sinks.a]\nkind = \"{kind}\"\n{receiver}"));
        assert_eq!((settings.naming, settings.shown_target().as_str()), (naming, shown));
        assert_eq!((settings.timeout, settings.spool_bytes), (Duration::from_secs(10), 256 << 20));
        assert_eq!(settings.spool_age, Duration::from_secs(7 * 24 * 3600));
        assert_eq!(*settings.connection, ClientSettings::default());
        assert_eq!(settings.protocol.name(), kind);
    }
}

#[test]
fn keys_of_a_sink_are_parsed() {
    let settings = sink(
        "[sinks.a]\nkind = \"remote_write\"\nurl = \"https://h:1/w\"\nnaming = \"node_exporter\"\ntimeout = \"3s\"\n\
         token_file = \"/t\"\nheaders = { \"X-Scope-OrgID\" = \"team\" }\nproxy = \"none\"\nspool_size = \"1GiB\"\n\
         spool_age = \"2h\"\njob = \"node\"\ninstance = \"web-1:9100\"",
    );
    assert_eq!((settings.naming, settings.timeout), (Naming::NodeExporter, Duration::from_secs(3)));
    assert_eq!((settings.spool_bytes, settings.spool_age), (1 << 30, Duration::from_secs(7200)));
    assert_eq!(settings.connection.proxy, ProxySetting::Off);
    assert_eq!(settings.connection.headers["x-scope-orgid"], "team");
    let ProtocolSettings::RemoteWrite { job, instance, .. } = &settings.protocol else { panic!("another protocol") };
    assert_eq!((job.as_deref(), instance.as_deref()), (Some("node"), Some("web-1:9100")));
    assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
}

#[test]
fn sinks_inherit_from_client_wherever_it_is() {
    let text = "[sinks.a]\nkind = \"otlp\"\nurl = \"http://h\"\n[sinks.b]\nkind = \"otlp\"\nurl = \"http://h\"\nproxy = \"none\"\n\
                [client]\nproxy = \"http://p:1\"\n";
    let (written, problems) = parsed(text);
    assert_eq!(problems, [""; 0]);
    let proxy = |name: &str| match &written.sinks[name].kind {
        SinkKind::Network(settings) => settings.connection.proxy.written(),
        _ => None,
    };
    assert_eq!((proxy("a").as_deref(), proxy("b").as_deref()), (Some("http://p:1"), Some("none")));
}

/// A file with every error that there is.
const WRONG: &str = r#"
[client]
proxy = "http://me:hunter2@p:1/x"
ca = 1
certificate = "/none.pem"
[sinks.a]
kind = "remote_write"
[sinks.b]
kind = "otlp"
url = "ftp://h"
job = "x"
transfers = ["h:1"]
timeout = "1ms"
naming = "psutil"
spool_size = "1KiB"
spool_age = "1s"
[sinks.c]
kind = "influx"
url = "http://me:hunter2@h/write"
username = "u:v"
headers = { Authorization = "hunter2", Host = "h", "a b" = "c", x = "a\nb", "X-A" = "1", "x-a" = "2" }
[sinks.d]
kind = "open_falcon"
[sinks.e]
kind = "open_falcon"
url = "http://h"
transfers = ["h:1", "h"]
heartbeat = ["h:1", "H:1"]
[sinks.f]
kind = "open_falcon"
transfers = ["h:1"]
token_file = "/t"
proxy = "none"
[sinks.g]
kind = "influx"
url = "http://h"
token_file = "/t"
username = "u"
ca_file = "/none.pem"
[sinks.h]
kind = "influx"
url = "http://h"
password_file = "/p"
[sinks.i]
kind = "influx"
url = "http://h/#x"
username = "u"
[sinks.j]
kind = "influx"
url = "http://h"
token_file = "/broken"
[sinks.k]
kind = "influx"
url = "http://h"
username = "u"
password_file = "/none"
[sinks.l]
kind = "open_falcon"
transfers = []
[sinks.m]
kind = "file"
path = "/m"
url = "http://h"
"#;

#[test]
fn all_errors_are_found_with_remedies() {
    let (_, problems) = parsed(WRONG);
    assert!(!problems.iter().any(|problem| problem.contains("hunter2")), "{problems:?}");
    expect![[r#"
        gauged.toml:3: client.proxy: has more than scheme, host and port; write it like http://proxy.example.org:3128, or "none"
        gauged.toml:4: client.ca: unknown key; remove it, or use one of ca_file, certificate, key, proxy
        gauged.toml:5: client.certificate: "/none.pem" cannot be read: No such file or directory (os error 2); write the file, or remove the key
        gauged.toml:6: sinks.a.url: is missing; add url = "http://127.0.0.1:8428/api/v1/write"
        gauged.toml:10: sinks.b.url: does not begin with http:// or https://; write a URL like http://127.0.0.1:8428/api/v1/write
        gauged.toml:11: sinks.b.job: is for sinks of kind remote_write, and this one is of kind otlp; remove the key, or set kind = "remote_write"
        gauged.toml:12: sinks.b.transfers: is for sinks of kind open_falcon, and this one is of kind otlp; remove the key, or set kind = "open_falcon"
        gauged.toml:13: sinks.b.timeout: "1ms" is out of bounds; it has to be from 500ms to 5m
        gauged.toml:14: sinks.b.naming: "psutil" is not one of the values; use gauged, node_exporter, otel, open_falcon
        gauged.toml:15: sinks.b.spool_size: "1KiB" is out of bounds; it has to be from 1.0 MiB to 1.0 TiB
        gauged.toml:16: sinks.b.spool_age: "1s" is out of bounds; it has to be from 1m to 30days
        gauged.toml:19: sinks.c.url: has a user before the host; write username and password_file in its place
        gauged.toml:20: sinks.c.username: "u:v" is not a user's name; write 1 to 256 bytes without colons and control characters
        gauged.toml:20: sinks.c.username: is without a password; write password_file, too, or remove it
        gauged.toml:21: sinks.c.headers.Authorization: is a header that the agent sets; write token_file, or username and password_file, in its place
        gauged.toml:21: sinks.c.headers.Host: is a header that the agent sets; remove it
        gauged.toml:21: sinks.c.headers.a b: is not a header's name; use letters, digits and -, as in X-Scope-OrgID
        gauged.toml:21: sinks.c.headers.x: has characters that a header cannot carry; write letters, digits and signs
        gauged.toml:21: sinks.c.headers.x-a: is given twice, in other letters; remove one of the two
        gauged.toml:22: sinks.d: has no receiver; write transfers = ["10.0.0.1:8433"], or url = "http://nightingale:17000/openfalcon/push"
        gauged.toml:27: sinks.e.transfers: "h" has no port; end it with one from :1 to :65535
        gauged.toml:27: sinks.e.transfers: is beside url; samples go to one of the two: remove the other
        gauged.toml:28: sinks.e.heartbeat: has h:1 twice; remove one of the two
        gauged.toml:32: sinks.f.token_file: is for HTTP, which transfers do not speak; remove it
        gauged.toml:33: sinks.f.proxy: is for HTTP, which transfers do not speak; remove it
        gauged.toml:38: sinks.g.username: is beside token_file; a request has one of the two: remove the other
        gauged.toml:39: sinks.g.ca_file: "/none.pem" cannot be read: No such file or directory (os error 2); write the file, or remove the key
        gauged.toml:39: sinks.g.ca_file: is for TLS, and url begins with http://; write https:// there, or remove the key
        gauged.toml:43: sinks.h.password_file: is without a user; write username, too, or remove it
        gauged.toml:46: sinks.i.url: has a fragment, which is not sent; remove # and all after it; write a URL like http://127.0.0.1:8428/api/v1/write
        gauged.toml:47: sinks.i.username: is without a password; write password_file, too, or remove it
        gauged.toml:51: sinks.j.token_file: names a file whose token has characters that a header cannot carry; write the token as one line into it
        gauged.toml:56: sinks.k.password_file: names /none, which cannot be read; write the file, or remove the key
        gauged.toml:59: sinks.l.transfers: is empty; write transfers = ["10.0.0.1:8433"], or a url in its place
        gauged.toml:63: sinks.m.url: is for sinks of kind remote_write, otlp, open_falcon, influx, and this one is of kind file; remove the key, or set another kind"#]].assert_eq(&problems.join("\n"));
}

#[test]
fn secrets_are_in_no_effective_configuration() {
    let text = "[sinks.a]\nkind = \"influx\"\nurl = \"http://h/w?db=x&password=hunter2\"\nusername = \"me\"\npassword_file = \"/p\"\n\
                headers = { X-Api-Key = \"hunter2\", X-Team = \"t\" }\nproxy = \"http://me:hunter2@p:1\"\n";
    let settings = sink(text);
    let inherited = ClientSettings::default();
    let keys = ["url", "username", "password_file", "token_file", "headers", "proxy", "job", "naming", "timeout"];
    let shown: Vec<String> =
        keys.iter().map(|key| format!("{key}: {:?}", settings.written_value(key, &inherited))).collect();
    assert!(!format!("{shown:?} {settings:?}").contains("hunter2"));
    expect![[r#"
        url: Some(String("http://h/w?db=x&password=…"))
        username: Some(String("me"))
        password_file: Some(String("/p"))
        token_file: Some(Null)
        headers: Some(Object {"x-api-key": String("…"), "x-team": String("t")})
        proxy: Some(String("http://…@p:1"))
        job: None
        naming: Some(String("gauged"))
        timeout: Some(String("10s"))"#]]
    .assert_eq(&shown.join("\n"));
}
