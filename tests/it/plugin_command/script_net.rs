//! `gauged plugin test --script`: conversations over TLS and unix sockets, and datagrams.

use super::CommandOutput;
use super::script::{golden, test_guest};
use crate::guest::Guest;
use crate::harness::Setup;
use crate::net::tls_server::{POSTGRESQL, tls_guest};
use crate::net::{connecting_guest_as, datagrams};

/// The conversation of `PostgreSQL` up to TLS, with this step after it.
fn postgresql(address: &str, tls: &str) -> String {
    format!(
        "[[run.connection]]\naddress = {address:?}\nsteps = [
            {{ receive-hex = \"00000008 04d2162f\" }}, {{ send = \"S\" }}, {{ start-tls = {tls} }},
            {{ receive = \"none\" }}, {{ send = \"over TLS\" }},
        ]\n"
    )
}

/// The values of `case` and `value` at each run, and the output.
fn outcomes(setup: &Setup, guest: &Guest, script: &str) -> (Vec<[String; 2]>, CommandOutput) {
    let guest = guest.clone().describes(&[("caller", "case", 0), ("caller", "value", 0)]);
    let output = test_guest(setup, &guest, "caller.wasm", script);
    let golden = golden(setup);
    let values = |metric: &str| {
        let prefix = format!("caller.{metric} ");
        golden.lines().filter_map(move |line| line.strip_prefix(&*prefix).map(str::to_owned)).collect::<Vec<_>>()
    };
    let outcomes = values("case").into_iter().zip(values("value")).map(Into::into).collect();
    (outcomes, output)
}

#[test]
fn script_plays_tls_in_a_conversation() {
    let setup = Setup::new();
    let address = "db.example:5432";
    let guest = tls_guest(address, "db.example", &POSTGRESQL);
    let run = |tls: &str| {
        let script = format!("grants = [\"connect={address}\"]\n[[run]]\n{}", postgresql(address, tls));
        outcomes(&setup, &guest, &script)
    };
    let (outcome, output) = run("{ server-name = \"db.example\" }");
    assert_eq!(outcome, [["100", "\"over TLS\""]], "{}", output.stdout);
    assert_eq!(output.code, Some(0), "{}", output.stdout);
    let (outcome, output) = run("{ error = \"expired\" }");
    assert_eq!((&*outcome, output.code), (&[["10".to_owned(), "\"expired\"".to_owned()]][..], Some(0)));
    let (outcome, output) = run("{ server-name = \"other\" }");
    assert_eq!(outcome[0][0], "9", "a reset");
    let why = "the plugin started TLS for \"db.example\" instead of \"other\"";
    assert!(output.code == Some(1) && output.stdout.contains(why), "{}", output.stdout);
    // The bytes of the end point.
    let (outcome, output) = run("{ end-point-hex = \"6e6f6e65\" }");
    assert_eq!((&*outcome[0][1], output.code), ("\"over TLS\"", Some(0)), "{}", output.stdout);

    let injected = "{ send = \"S, and more\" }";
    let script = format!("grants = [\"connect={address}\"]\n[[run]]\n{}", postgresql(address, "{}"));
    let (outcome, _) = outcomes(&setup, &guest, &script.replace("{ send = \"S\" }", injected));
    assert!(outcome[0][1].contains("has sent more in clear than was read"), "{outcome:?}");
    let script = script.replace("{ start-tls = {} },", "{ receive = \"x\" },");
    let (_, output) = outcomes(&setup, &guest, &script);
    assert!(output.stdout.contains("the plugin sent \"s\" instead of \"x\""), "{}", output.stdout);
}

#[test]
fn script_plays_unix_sockets() {
    let setup = Setup::new();
    let address = "unix:/run/postgresql/.s.PGSQL.5432";
    let script = format!(
        "grants = [\"connect={address}\"]\n[[run]]\n{}[[run]]\n[[run]]\n[[run.connection]]\naddress = {address:?}\nerror = \"refused\"\n\
         [[run]]\n[[run.connection]]\naddress = {address:?}\nerror = \"closed\"\n",
        postgresql(address, "{}")
    );
    let (outcome, output) = outcomes(&setup, &tls_guest(address, "localhost", &POSTGRESQL), &script);
    let refused = ["7", "\"Connection refused\""];
    assert_eq!(outcome[..3], [["100", "\"over TLS\""], refused, refused], "{}", output.stdout);
    assert_eq!((outcome.len(), output.code), (4, Some(0)), "{}", output.stdout);
    let script = script.replace("PGSQL.5432", "PGSQL.5433");
    let other = "unix:/run/postgresql/.s.PGSQL.5432";
    let script = script.replacen("connect=unix:/run/postgresql/.s.PGSQL.5433", &format!("connect={other}"), 1);
    let (outcome, _) = outcomes(&setup, &tls_guest(other, "localhost", &POSTGRESQL), &script);
    assert_eq!(outcome[0], ["6", "0"], "no script has it");
}

#[test]
fn script_plays_datagrams() {
    let setup = Setup::new();
    let address = "udp:time.example:123";
    let step = |rest: &str| format!("[[run]]\n[[run.connection]]\naddress = {address:?}\n{rest}\n");
    let script = [
        format!("grants = [\"connect={address}\"]\n"),
        step("steps = [{ receive = \"ping\" }, { send-hex = \"706f6e67\" }]"),
        step("steps = [{ receive = \"ping\" }]"),
        step("error = \"refused\""),
        step("error = \"resolve\""),
        step("error = \"timeout\""),
        "[[run]]\n".to_owned(),
    ]
    .concat();
    let (outcome, output) = outcomes(&setup, &datagrams::ping_guest(address, Some(200)), &script);
    let cases: Vec<&str> = outcome.iter().map(|[case, _]| &**case).collect();
    // The length of the reply, a lost one, and the errors of the interface.
    assert_eq!(cases, ["4", "13", "7", "5", "13", "7"], "{}", output.stdout);
    assert!(outcome[0][1] == "\"pong\"" && !output.stdout.contains("the plugin sent"), "{}", output.stdout);
    let script = script.replacen("receive = \"ping\"", "receive = \"pang\"", 1);
    let (_, output) = outcomes(&setup, &datagrams::ping_guest(address, Some(200)), &script);
    let why = "udp:time.example:123: the plugin sent \"ping\" instead of \"pang\"";
    assert!(output.code == Some(1) && output.stdout.contains(why), "{}", output.stdout);
}

/// What the plugin does last, and what it leaves out, is compared, too.
#[test]
fn end_of_a_conversation_is_compared() {
    let setup = Setup::new();
    for address in ["quit.example:1", "unix:/run/quit"] {
        let run = |steps: &str, close: &str, more: &str| {
            let guest = connecting_guest_as("caller", address, None, "QUTI").before_collect(&format!(
                "(call $connect) (if (call $check) (then (call $write) (drop (call $check)) {close}))"
            ));
            let script = format!(
                "grants = [\"connect={address}\"]\n[[run]]\n[[run.connection]]\naddress = {address:?}\nsteps = [{steps}]\n{more}"
            );
            outcomes(&setup, &guest, &script).1
        };
        for close in ["(call $close (global.get $handle))", ""] {
            let output = run("{ receive = \"QUTI\" }", close, "");
            assert_eq!(output.code, Some(0), "{address} {close}: {}", output.stdout);
            let connection = format!("[[run.connection]]\naddress = {address:?}\nsteps = []\n");
            for (steps, more, why) in [
                ("{ receive = \"QUIT\" }", "", "the plugin sent \"QUTI\" instead of \"QUIT\""),
                ("{ receive = \"QUTI\" }, { receive-hex = \"0a\" }", "", "the plugin ended without sending \"\\n\""),
                ("{ receive = \"QUTI\" }", &*connection, "the plugin left out 1 connection of the script"),
                ("", &*connection.repeat(2), "the plugin left out 2 connections of the script"),
            ] {
                let output = run(steps, close, more);
                let line = format!("{address}: {why}\n");
                assert!(output.code == Some(1) && output.stdout.contains(&line), "{line}{}", output.stdout);
            }
        }
    }
    let address = "udp:time.example:123";
    let run = |steps: &str| {
        let connection = format!("[[run.connection]]\naddress = {address:?}\nsteps = [{steps}]\n");
        let script = format!("grants = [\"connect={address}\"]\n[[run]]\n{connection}");
        outcomes(&setup, &datagrams::ping_guest(address, Some(200)), &script).1
    };
    let output = run("{ receive = \"ping\" }, { send = \"pong\" }, { receive = \"thanks\" }");
    let why = "udp:time.example:123: the plugin ended without sending \"thanks\"\n";
    assert!(output.code == Some(1) && output.stdout.contains(why), "{}", output.stdout);
    let output = run("{ receive = \"ping\" }, { wait = true }");
    assert_eq!(output.code, Some(0), "{}", output.stdout);
}
