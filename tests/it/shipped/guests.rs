//! The sources of the components in `tests/fixtures/components`: guests that together use every import and return every type
//! of value and every error. Their configuration names the servers to use, since they outlive the test that made them.

mod net;

use crate::guest::{
    COLLECT_RESULT, CONFIGURE_RESULT, DESCRIBE_RESULT, Guest, HOST_RESULT, METRIC_BYTES, METRICS, metric_of,
    module_words,
};

/// The place of the configuration's one text: address and length.
const TOLD: u32 = 896;

/// The guests, by the name of their file, each with a module of that name.
pub fn all() -> [(&'static str, Guest); 12] {
    [
        ("asks", asks()),
        ("datagrams", net::datagrams()),
        ("encrypts", net::encrypts()),
        ("errors", errors()),
        ("fetches", fetches()),
        ("files", files()),
        ("keeps", keeps()),
        ("logs", logs()),
        ("needs", needs()),
        ("talks", net::talks()),
        ("ticks", ticks()),
        ("values", values()),
    ]
}

/// Every query of the kernel: sockets, with and without the grant, the clock, and interfaces that are and are not there.
fn asks() -> Guest {
    let (mut guest, [state, count, listeners, port, tick, up, missing, driver]) =
        measuring("asks", ["state", "count", "listeners", "port", "tick", "up", "missing", "driver"]);
    let interface = "gauged:plugin/system";
    for function in ["count-sockets", "list-listeners"] {
        guest = guest.import(interface, function, &format!("(func ${function} (param i32 i32))"));
    }
    guest = guest.import(interface, "read-clock", "(func $read-clock (param i32))");
    for function in ["query-link", "query-driver"] {
        guest = guest.import(interface, function, &format!("(func ${function} (param i32 i32 i32))"));
    }
    let [lo, none] = ["lo", "none-such"].map(|name| guest.text(name));
    let sockets =
        |function: &str, table: u32| format!("(call ${function} (i32.const {table}) (i32.const {HOST_RESULT}))");
    let query = |function: &str, (at, length): (u32, u32)| {
        format!("(call ${function} (i32.const {at}) (i32.const {length}) (i32.const {HOST_RESULT}))")
    };
    let fine = format!("(if (i32.load8_u (i32.const {HOST_RESULT})) (then unreachable))");
    let error = |at: u32| {
        format!(
            "(i64.extend_i32_u (select (i32.load8_u (i32.const {})) (i32.const 255)
                (i32.load8_u (i32.const {HOST_RESULT}))))",
            HOST_RESULT + at
        )
    };
    let first = |offset: u32| format!("(i32.add (i32.load (i32.const {})) (i32.const {offset}))", HOST_RESULT + 4);
    let steps = [
        sockets("count-sockets", 0) + &fine,
        // The first state: its name, and its number.
        format!("(i64.store (i32.const {TOLD}) (i64.load {}))", first(0)),
        text(state, TOLD),
        number(count, &format!("(i64.load {})", first(8))),
        // UDP is not granted.
        sockets("list-listeners", 2) + &number(listeners, &error(4)),
        sockets("list-listeners", 0) + &fine + &number(port, &format!("(i64.load16_u {})", first(8))),
        format!("(call $read-clock (i32.const {HOST_RESULT})) {fine}"),
        number(tick, &format!("(i64.load (i32.const {}))", HOST_RESULT + 64)),
        // Whether it is known, and that it is up.
        query("query-link", lo) + &fine + &number(up, &format!("(i64.load16_u (i32.const {}))", HOST_RESULT + 8)),
        query("query-link", none) + &number(missing, &error(8)),
        query("query-driver", lo) + &number(driver, &error(4)),
    ];
    guest.before_collect(&steps.concat())
}

/// Every kind of value, with and without labels, in two modules, described.
fn values() -> Guest {
    let mut guest = Guest::new("values");
    let [module, more] = ["values", "values_more"].map(|name| guest.text(name));
    let names = ["natural", "integer", "number", "boolean", "text"].map(|name| guest.text(name));
    let [label, label_value] = ["kind", "a \"b\"\n"].map(|text| guest.text(text));
    let labels = guest.list(&[label.0, label.1, label_value.0, label_value.1]);
    let text = guest.text("ok");
    let (minimum, half) = (i64::MIN.cast_unsigned(), 0.5_f64.to_bits());
    let halves = |bits: u64| [bits as u32, (bits >> 32) as u32];
    let payloads = [halves(u64::MAX), halves(minimum), halves(half), [1, 0], [text.0, text.1]];
    let metrics: Vec<u32> = (0..)
        .zip(names.iter().zip(payloads))
        .flat_map(|(case, (name, payload))| metric_of(*name, (0, 0), [case, 0, payload[0], payload[1]]))
        .collect();
    let metrics = guest.list(&metrics);
    let [wait, size] = ["wait_seconds", "size_bytes"].map(|name| guest.text(name));
    let (histogram, summary) = (guest.histogram(&[0.5, 1.0], &[1, 2, 3], 4.5), guest.summary(&[(0.5, 2.0)], 9.0, 3));
    let further = [
        metric_of(names[0], (labels, 1), [0, 0, 7, 0]),
        metric_of(wait, (0, 0), histogram),
        metric_of(size, (0, 0), summary),
    ];
    let further = guest.list(further.as_flattened());
    let modules = guest.list(&[module_words(module, metrics, 5), module_words(more, further, 3)].concat());

    let [unit, meaning, about] = ["By", "What it is.", "Every kind of value."].map(|text| guest.text(text));
    let version = guest.text("1.0.0");
    // Counts from boot, and from an unknown moment.
    let descriptors: Vec<u32> =
        [(module, names[0], 1 | 1 << 8), (module, names[1], 0), (more, wait, 2), (more, size, 3)]
            .iter()
            .flat_map(|(module, name, kind)| {
                [module.0, module.1, name.0, name.1, *kind, unit.0, unit.1, meaning.0, meaning.1, 0, 0]
            })
            .collect();
    let descriptors = guest.list(&descriptors);
    guest
        .patch(COLLECT_RESULT, &[0, modules, 2])
        .patch(DESCRIBE_RESULT, &[version.0, version.1, about.0, about.1, 0, 0, descriptors, 4])
}

/// The arguments of a call, and a count that shows that memory is kept between calls.
fn ticks() -> Guest {
    let (guest, [unix, monotonic, budget, interval, calls]) =
        measuring("ticks", ["unix_ms", "monotonic_ns", "budget_ms", "interval_ms", "calls"]);
    guest.with("(global $calls (mut i64) (i64.const 0))").before_collect(&format!(
        "(global.set $calls (i64.add (global.get $calls) (i64.const 1)))
         {} {} {} {} {}",
        number(unix, "(local.get 0)"),
        number(monotonic, "(local.get 1)"),
        number(budget, "(i64.extend_i32_u (local.get 2))"),
        number(interval, "(local.get 3)"),
        number(calls, "(global.get $calls)"),
    ))
}

/// A message of each level, and a part that is left out.
fn logs() -> Guest {
    let mut guest = Guest::new("logs").import("gauged:plugin/log", "log", "(func $log (param i32 i32 i32))").import(
        "gauged:plugin/log",
        "skip",
        "(func $skip (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32))",
    );
    let [source, word, message, remedy, lost] = ["/proc/stat", "x", "x is odd", "update the kernel", "forks"]
        .map(|text| guest.text(text))
        .map(|(at, length)| format!("(i32.const {at}) (i32.const {length})"));
    let skip = format!("(call $skip {source} (i32.const 3) {word} (i32.const 2) {message} {remedy} {lost})");
    let calls: Vec<String> = (0..)
        .zip(["to the author", "once", "copes", "metrics are missing"])
        .map(|(level, message)| {
            let (at, length) = guest.text(message);
            format!("(call $log (i32.const {level}) (i32.const {at}) (i32.const {length}))")
        })
        .collect();
    guest.before_collect(&(calls.concat() + &skip))
}

/// The size of a result of `read-many`.
const RESULT_BYTES: u32 = 40;

/// The place where `files` keeps the address and length of the second one.
const SECOND_RESULT: u32 = TOLD;

/// Files, a directory, a link, a file system, and four errors that occur on every machine.
fn files() -> Guest {
    let (
        mut guest,
        [content, piece, many, second, link, inode, names, total, free, read_only, denied, invalid, missing, wrong],
    ) = measuring(
        "files",
        [
            "content",
            "piece",
            "read",
            "second",
            "link",
            "inode",
            "names",
            "total_bytes",
            "free_bytes",
            "read_only",
            "denied",
            "invalid",
            "missing",
            "wrong",
        ],
    );
    for function in ["read", "list", "stat", "read-link", "usage"] {
        let signature = format!("(func ${function} (param i32 i32 i32))");
        guest = guest.import("gauged:plugin/files", function, &signature);
    }
    guest = guest.import("gauged:plugin/files", "read-at", "(func $read_at (param i32 i32 i64 i32 i32))").import(
        "gauged:plugin/files",
        "read-many",
        "(func $read_many (param i32 i32 i32 i32))",
    );
    let paths = ["/proc/filesystems", "/proc/sys/kernel/osrelease"].map(|path| guest.text(path));
    let paths = guest.list(&[paths[0].0, paths[0].1, paths[1].0, paths[1].1]);
    let read_many = format!(
        "(call $read_many (i32.const {paths}) (i32.const 2) (i32.const 4096) (i32.const {HOST_RESULT}))
         (if (i32.load8_u (i32.add (i32.load (i32.const {HOST_RESULT})) (i32.const {RESULT_BYTES}))) (then unreachable))
         (i64.store (i32.const {SECOND_RESULT})
            (i64.load (i32.add (i32.load (i32.const {HOST_RESULT})) (i32.const {}))))",
        RESULT_BYTES + 8,
    );
    let path = guest.text("/proc/filesystems");
    let read_at = format!(
        "(call $read_at (i32.const {}) (i32.const {}) (i64.const 1) (i32.const 4) (i32.const {HOST_RESULT}))",
        path.0, path.1
    );
    let mut call = |function: &str, path: &str| {
        let (at, length) = guest.text(path);
        format!("(call ${function} (i32.const {at}) (i32.const {length}) (i32.const {HOST_RESULT}))")
    };
    let fine = format!("(if (i32.load8_u (i32.const {HOST_RESULT})) (then unreachable))");
    let error = format!(
        "(i64.extend_i32_u (select (i32.load8_u (i32.const {})) (i32.const 255) (i32.load8_u (i32.const {HOST_RESULT}))))",
        HOST_RESULT + 8
    );
    let loaded = |from: u32| format!("(i64.load (i32.const {from}))");
    let steps = [
        call("read", "/proc/sys/kernel/osrelease") + &fine + &text(content, HOST_RESULT + 8),
        read_at + &fine + &text(piece, HOST_RESULT + 8),
        read_many
            + &number(many, &format!("(i64.load32_u (i32.const {}))", HOST_RESULT + 4))
            + &text(second, SECOND_RESULT),
        call("read-link", "/sys/class/net/lo") + &fine + &text(link, HOST_RESULT + 8),
        call("stat", "/proc/stat") + &fine + &number(inode, &loaded(HOST_RESULT + 56)),
        call("list", "/sys/class/net")
            + &fine
            + &number(names, &format!("(i64.load32_u (i32.const {}))", HOST_RESULT + 12)),
        call("usage", "/")
            + &fine
            + &number(total, &loaded(HOST_RESULT + 8))
            + &number(free, &loaded(HOST_RESULT + 16)),
        number(read_only, &format!("(i64.load8_u (i32.const {}))", HOST_RESULT + 48)),
        call("read", "/etc/passwd") + &number(denied, &error),
        call("read", "/proc//stat") + &number(invalid, &error),
        call("read", "/proc/pressure/nothing") + &number(missing, &error),
        call("list", "/proc/stat") + &number(wrong, &error),
    ];
    guest.before_collect(&steps.concat())
}

/// The signature of `fetch`: method, URL, headers, body, and the options: whether there are any, the timeout, the largest body and the
/// unix socket, each with whether it is there.
pub const FETCH: &str = "(func $fetch (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32))";

/// A request to the configured origin, which is granted, and one to another.
fn fetches() -> Guest {
    let (mut guest, [status, header, body, ordered, resolved, handshake, remote, encrypted, denied]) = measuring(
        "fetches",
        ["status", "header", "body", "ordered", "resolved", "handshake", "remote", "encrypted", "denied"],
    );
    guest = guest.import("gauged:plugin/http", "fetch", FETCH);
    let [method, sent, name, value, other] =
        ["POST", "a body", "x-kept", "for ever", "http://192.0.2.1/"].map(|text| guest.text(text));
    let headers = guest.list(&[name.0, name.1, value.0, value.1]);
    let fetch = |url: &str| {
        format!(
            "(call $fetch (i32.const {}) (i32.const {}) {url} (i32.const {headers}) (i32.const 1)
                (i32.const {}) (i32.const {}) (i32.const 1) (i32.const 1) (i32.const 1500) (i32.const 1) (i32.const 100)
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const {HOST_RESULT}))",
            method.0, method.1, sent.0, sent.1
        )
    };
    let told = format!("(i32.load (i32.const {TOLD})) (i32.load (i32.const {}))", TOLD + 4);
    let elsewhere = format!("(i32.const {}) (i32.const {})", other.0, other.1);
    let time = |at: u32| format!("(i64.load (i32.const {}))", HOST_RESULT + at);
    let flag = |at: u32| format!("(i64.load8_u (i32.const {}))", HOST_RESULT + at);
    let steps = [
        fetch(&told),
        format!("(if (i32.load8_u (i32.const {HOST_RESULT})) (then unreachable))"),
        number(status, &format!("(i64.load16_u (i32.const {}))", HOST_RESULT + 8)),
        // The first header's value.
        format!(
            "(i32.store (i32.const {TOLD_HEADER}) (i32.add (i32.load (i32.const {})) (i32.const 8)))",
            HOST_RESULT + 12
        ),
        format!("(i64.store (i32.const {}) (i64.load (i32.load (i32.const {TOLD_HEADER}))))", TOLD_HEADER + 8),
        text(header, TOLD_HEADER + 8),
        text(body, HOST_RESULT + 20),
        number(
            ordered,
            &format!(
                "(i64.extend_i32_u (i64.le_u (i64.add {connect} {first}) {total}))",
                connect = time(48),
                first = time(72),
                total = time(80)
            ),
        ),
        number(resolved, &flag(32)),
        number(handshake, &flag(56)),
        text(remote, HOST_RESULT + 88),
        number(encrypted, &flag(96)),
        fetch(&elsewhere),
        number(
            denied,
            &format!(
                "(i64.extend_i32_u (select (i32.load8_u (i32.const {})) (i32.const 255)
                    (i32.load8_u (i32.const {HOST_RESULT}))))",
                HOST_RESULT + 8
            ),
        ),
    ];
    guest.configure(&storing_text()).before_collect(&steps.concat())
}

/// The place where `fetches` keeps a header.
const TOLD_HEADER: u32 = TOLD + 16;

/// A state that is loaded, saved and loaded again, and one that is too large.
fn keeps() -> Guest {
    let (mut guest, [before, after, large, limit]) = measuring("keeps", ["before", "after", "large", "limit"]);
    guest = guest.import("gauged:plugin/state", "load", "(func $load (param i32))").import(
        "gauged:plugin/state",
        "save",
        "(func $save (param i32 i32 i32))",
    );
    let (kept, length) = guest.text("kept");
    let load = format!("(call $load (i32.const {HOST_RESULT}))");
    let save = |bytes: u32| format!("(call $save (i32.const {kept}) (i32.const {bytes}) (i32.const {HOST_RESULT}))");
    let fine = format!("(if (i32.load8_u (i32.const {HOST_RESULT})) (then unreachable))");
    let steps = [
        format!("{load} {fine}"),
        number(before, &format!("(i64.load8_u (i32.const {}))", HOST_RESULT + 8)),
        save(length) + &fine,
        format!("{load} {fine}"),
        text(after, HOST_RESULT + 12),
        save(65537),
        number(large, &format!("(i64.load8_u (i32.const {}))", HOST_RESULT + 8)),
        number(limit, &format!("(i64.load (i32.const {}))", HOST_RESULT + 16)),
    ];
    guest.before_collect(&steps.concat())
}

/// A need of each capability.
fn needs() -> Guest {
    let mut guest = Guest::new("needs");
    let reason = guest.text("show that it asks");
    let needs: Vec<u32> = [
        ("read", "/srv/read"),
        ("usage", "/srv/usage"),
        ("connect", "db.example:5432"),
        ("fetch", "http://web.example:80"),
        ("later", "/srv/later"),
    ]
    .iter()
    .flat_map(|(kind, target)| {
        let (kind, target) = (guest.text(kind), guest.text(target));
        [kind.0, kind.1, target.0, target.1, reason.0, reason.1]
    })
    .collect();
    let list = guest.list(&needs);
    guest.patch(CONFIGURE_RESULT, &[0, list, 5])
}

/// Each error, by the configured digit: 0 to 4 from `collect`, 5 to 9 from `configure`, in the order of the WIT.
fn errors() -> Guest {
    let mut guest = Guest::new("errors");
    let [why, key, kind, path, reason] =
        ["as told", "told", "read", "/srv/denied", "show that it asks"].map(|text| guest.text(text));
    let invalid = guest.list(&[key.0, key.1, why.0, why.1]);
    let cases = [
        [1, 0, why.0, why.1, 0, 0, 0, 0],
        [1, 1, invalid, 1, 0, 0, 0, 0],
        [1, 2, kind.0, kind.1, path.0, path.1, reason.0, reason.1],
        [1, 3, why.0, why.1, 0, 0, 0, 0],
        [1, 4, why.0, why.1, 0, 0, 0, 0],
    ];
    let places = cases.map(|case| guest.list(&case));
    let chosen = |from: u32| {
        let case = |(case, place): (u32, u32)| {
            format!(
                "(if (i32.eq (i32.load8_u (i32.load (i32.const {TOLD}))) (i32.const {}))
                    (then (return (i32.const {place}))))",
                u32::from(b'0') + case
            )
        };
        (from..).zip(places).map(case).collect::<String>()
    };
    let configure = storing_text().replace(&format!("i32.const {CONFIGURE_RESULT}"), "");
    guest.configure(&format!("{configure} {} i32.const {CONFIGURE_RESULT}", chosen(5))).before_collect(&chosen(0))
}

/// A guest with metrics of these names, and the addresses of their values. The module has the guest's name.
pub fn measuring<const COUNT: usize>(module: &str, names: [&str; COUNT]) -> (Guest, [u32; COUNT]) {
    let mut guest = Guest::new(module);
    let words: Vec<u32> = names
        .iter()
        .flat_map(|name| {
            let name = guest.text(name);
            metric_of(name, (0, 0), [0; 4])
        })
        .collect();
    let first = guest.list(&words);
    let mut number = 0;
    let values = names.map(|_| {
        number += 1;
        first + (number - 1) * METRIC_BYTES + 16
    });
    (guest.patch(METRICS, &[first, COUNT as u32]), values)
}

/// Makes a number the value at an address.
pub fn number(value: u32, expression: &str) -> String {
    format!("(i32.store (i32.const {value}) (i32.const 0)) (i64.store (i32.const {}) {expression})", value + 8)
}

/// Makes the text that is at an address the value at another.
pub fn text(value: u32, from: u32) -> String {
    format!(
        "(i32.store (i32.const {value}) (i32.const 4)) (i64.store (i32.const {}) (i64.load (i32.const {from})))",
        value + 8
    )
}

/// The body of `configure` that stores the one text of a configuration like `{"told":"…"}`: all between the third and the
/// last quotation mark.
fn storing_text() -> String {
    format!(
        "(local $marks i32) (local $end i32)
         (local.set $end (i32.add (local.get 0) (local.get 1)))
         (block $begins (loop $on
            (br_if $begins (i32.ge_u (local.get 0) (local.get $end)))
            (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 34))
                (then (local.set $marks (i32.add (local.get $marks) (i32.const 1)))))
            (local.set 0 (i32.add (local.get 0) (i32.const 1)))
            (br_if $on (i32.lt_u (local.get $marks) (i32.const 3)))))
         (i32.store (i32.const {TOLD}) (local.get 0))
         (block $ends (loop $on
            (br_if $ends (i32.le_u (local.get $end) (local.get 0)))
            (local.set $end (i32.sub (local.get $end) (i32.const 1)))
            (br_if $on (i32.ne (i32.load8_u (local.get $end)) (i32.const 34)))))
         (i32.store (i32.const {}) (i32.sub (local.get $end) (local.get 0)))
         i32.const {CONFIGURE_RESULT}",
        TOLD + 4
    )
}
