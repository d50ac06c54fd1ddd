//! The plugin `textfile`, also beside Debian's `node_exporter` on the same directory.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::outputs::canonical;
use crate::first_party::built;
use crate::guest::install;
use crate::harness::{Agent, Setup, plugin_metric, wait_until};
use crate::http_server::peer::{connect, own_address, request};
use crate::node_exporter::exporter::{Exporter, Scrape, Series};
use crate::requirement::{self, Program};

/// A setup whose plugin reads the directory `metrics` in it.
fn reading(rest: &str) -> Setup {
    let setup = Setup::new();
    let directory = setup.path("metrics");
    fs::create_dir(&directory).expect("created");
    let directory = directory.display();
    let toml = format!(
        "interval = \"200ms\"\nsinks.stdout.kind = \"stdout\"\n{rest}\n[plugins.textfile]\n\
         read = [\"{directory}/*.prom\"]\nconfig.directories = [\"{directory}\"]\n"
    );
    fs::write(setup.path("gauged.toml"), toml).expect("written");
    install(&built("textfile"), &setup.plugin("textfile.wasm"));
    setup
}

/// Writes a file and renames it to its name.
fn write(setup: &Setup, name: &str, content: &[u8]) {
    let (new, file) = (setup.path("metrics/new"), setup.path("metrics").join(name));
    fs::write(&new, content).expect("written");
    fs::rename(new, file).expect("renamed");
}

fn mtime(setup: &Setup, name: &str) -> String {
    format!("mtime_seconds{{file=\"{}\"}}", setup.path("metrics").join(name).display())
}

/// Waits until the metrics of files are these.
fn wait_for(agent: &mut Agent, expected: &serde_json::Value) {
    agent.wait(|sample| sample.get("textfile_metrics").is_some_and(|metrics| json!(metrics) == *expected));
}

#[test]
fn files_are_read_replaced_and_removed() {
    let setup = reading("");
    write(&setup, "a.prom", b"# TYPE jobs counter\njobs{of=\"a\"} 1\nodd\n");
    write(
        &setup,
        "b.prom",
        b"jobs_last 2\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\n",
    );
    fs::write(setup.path("metrics/half.prom.tmp"), "half 1\n").expect("written");
    let mut agent = setup.start(&[]);
    let of_b = json!({
        "jobs_last": 2.0, "h_bucket{le=\"1\"}": 1, "h_bucket{le=\"+Inf\"}": 3, "h_sum": 4.0, "h_count": 3,
    });
    let mut all = of_b.clone();
    all["jobs{of=\"a\"}"] = json!(1.0);
    wait_for(&mut agent, &all);
    let sample = agent.next();
    assert_eq!(sample["textfile"]["scrape_error"], true, "a line is odd");
    let written = fs::metadata(setup.path("metrics/a.prom")).expect("it is there").modified().expect("known");
    let written = written.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let measured = sample["textfile"][&mtime(&setup, "a.prom")].as_f64().expect("a number");
    assert!((measured - written).abs() < 1e-3, "{measured} {written}");
    agent.wait_log("left_out=odd");

    write(&setup, "a.prom", b"# TYPE jobs counter\njobs{of=\"a\"} 5\n");
    all["jobs{of=\"a\"}"] = json!(5.0);
    wait_for(&mut agent, &all);
    let sample = agent.wait(|sample| sample["textfile"]["scrape_error"] == false);
    assert!(sample["textfile"].contains_key(&mtime(&setup, "a.prom")));
    fs::remove_file(setup.path("metrics/a.prom")).expect("removed");
    wait_for(&mut agent, &of_b);
    let sample = agent.wait(|sample| !sample["textfile"].contains_key(&mtime(&setup, "a.prom")));
    assert_eq!(plugin_metric(&sample, "plugin_up", "textfile"), Some(1.0));
    fs::remove_dir_all(setup.path("metrics")).expect("removed");
    agent.wait(|sample| sample["textfile"]["scrape_error"] == true && !sample.contains_key("textfile_metrics"));
    agent.wait_log("does not exist; its files are read when it does");
}

#[test]
fn series_of_two_files_is_kept_once() {
    let setup = reading("");
    write(&setup, "a.prom", b"x 1\n");
    write(&setup, "b.prom", b"x 2\ny 3\n");
    let mut agent = setup.start(&[]);
    wait_for(&mut agent, &json!({"x": 1.0, "y": 3.0}));
    let sample = agent.wait(|sample| plugin_metric(sample, "plugin_dropped_metrics_total", "textfile") > Some(0.0));
    assert_eq!(plugin_metric(&sample, "plugin_up", "textfile"), Some(1.0));
}

#[test]
fn files_may_have_times_of_their_own() {
    let setup = reading("");
    let toml = fs::read_to_string(setup.path("gauged.toml")).expect("readable");
    fs::write(setup.path("gauged.toml"), toml + "config.file_times = true\n").expect("written");
    write(&setup, "my-app.prom", b"x 1\n");
    let file = fs::File::options().write(true).open(setup.path("metrics/my-app.prom")).expect("it is there");
    let written = std::time::SystemTime::now() - std::time::Duration::from_secs(600);
    file.set_modified(written).expect("set");
    let (sample, log) = setup.once();
    assert_eq!(json!(sample["textfile_my_app"]), json!({"x": 1.0}), "{log}");
    assert_eq!(plugin_metric(&sample, "plugin_refused_times_total", "textfile"), Some(0.0));
    let is_there = |sample: &std::sync::Arc<gauged::sample::Sample>| {
        crate::results::module(&sample.modules, "textfile_my_app").is_some()
    };
    let samples = crate::results::samples(&setup, |samples| samples.iter().any(is_there));
    let module = samples.iter().find_map(|sample| crate::results::module(&sample.modules, "textfile_my_app"));
    let age = written.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    assert_eq!(module.expect("seen").time.as_millis(), age, "the time of the file");
}

/// Both agents' series of a directory's files, and of the collector itself.
fn both(program: &Program, setup: &Setup) -> [Scrape; 2] {
    let address = own_address();
    let toml = fs::read_to_string(setup.path("gauged.toml")).expect("readable");
    fs::write(
        setup.path("gauged.toml"),
        format!("{toml}[http]\nlisten = [\"{address}\"]\nnaming = \"node_exporter\"\n"),
    )
    .expect("written");
    let mut agent = setup.start(&[]);
    agent.wait(|sample| sample.contains_key("textfile"));
    let directory = format!("--collector.textfile.directory={}", setup.path("metrics").display());
    let options = ["--collector.disable-defaults", "--collector.textfile", &directory];
    let theirs = Exporter::start(program, Path::new("/"), &options).scrape();
    let mut ours = Scrape::default();
    wait_until("the files are scraped", || {
        ours = Scrape::parse(request(&mut connect(address), "/metrics").text());
        ours.names().contains("node_textfile_scrape_error")
    });
    fs::write(setup.path("gauged.toml"), toml).expect("written");
    [ours, theirs]
}

/// Of a scrape the series that are about files.
fn file_series(scrape: &Scrape) -> Vec<(Series, f64)> {
    let is_own = |name: &str| {
        let others = ["gauged_", "go_", "process_", "promhttp_", "node_"];
        name.starts_with("node_textfile_")
            || name == "node_reboot_required"
            || !others.iter().any(|own| name.starts_with(own))
    };
    // Ours has the time in finer steps.
    let rounded = |((name, labels), value): (Series, f64)| {
        let value = if name == "node_textfile_mtime_seconds" { value.floor() } else { value };
        ((name, labels), value)
    };
    canonical(scrape).into_iter().filter(|((name, _), _)| is_own(name)).map(rounded).collect()
}

#[test]
fn files_equal_those_of_node_exporter() {
    let Some(program) = requirement::program("prometheus-node-exporter") else { return };
    let fixture = crate::harness::repository().join("plugins/textfile/fixtures/web-1/var/lib/node_exporter");
    let setup = reading("");
    for entry in fs::read_dir(fixture).expect("readable") {
        let path = entry.expect("readable").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("text");
        fs::write(setup.path("metrics").join(name), fs::read(&path).expect("readable")).expect("written");
    }
    let [ours, theirs] = both(&program, &setup);
    let (our_files, their_files) = (file_series(&ours), file_series(&theirs));
    assert!(their_files.len() > 20, "{their_files:?}");
    assert_eq!(our_files, their_files);
    for (name, kind) in &ours.types {
        // A metric without a type is a gauge here.
        let kind = if name == "smartmon_device_info" { "untyped" } else { kind };
        assert!(theirs.types.get(name).is_none_or(|theirs| theirs == kind), "{name} is {kind}");
    }
}

/// Files of which `node_exporter` has nothing, or not all.
#[test]
fn errors_of_files_equal_those_of_node_exporter() {
    let Some(program) = requirement::program("prometheus-node-exporter") else { return };
    for (files, is_error) in [
        (&[("a.prom", &b"x 1\n"[..])][..], 0.0),
        (&[], 0.0),
        (&[("a.prom", b"x 1 1395066363000\n"), ("b.prom", b"y 1\n")], 1.0),
        (&[("a.prom", b"x one\n"), ("b.prom", b"y 1\n")], 1.0),
        (&[("a.prom", b"x 1"), ("b.prom", b"y 1\n")], 1.0),
    ] {
        let setup = reading("");
        for (name, content) in files {
            write(&setup, name, content);
        }
        let error: Series = ("node_textfile_scrape_error".to_owned(), std::collections::BTreeMap::new());
        let [ours, theirs] = both(&program, &setup);
        assert_eq!([ours.series[&error], theirs.series[&error]], [is_error; 2], "{files:?}");
        // Whole files are the same. Of others node_exporter has nothing.
        let theirs = file_series(&theirs);
        let ours = file_series(&ours);
        let missing: Vec<_> = theirs.iter().filter(|series| !ours.contains(series)).collect();
        assert!(missing.is_empty(), "{files:?}: {missing:?} among {ours:?}");
    }
}
