#!/usr/bin/env python3
"""Measures what it costs to push 500 series: gauged by each of its protocols, beside gauged without a network sink, and beside
vmagent that scrapes the real node_exporter and pushes by remote write. All of them in turns, in one run, on Linux.

    cargo build --release && plugins/build.sh && .ci/servers
    benches/push.py target/release/gauged
    benches/push.py --sizes target/debug/gauged

Everything is pushed to this process, which takes it and answers at once; then it is away for --outage seconds. See measure.py
for how the figures are made. gauged measures with the plugins of this repository. `sink` is the processor time of the threads
that only a network sink has, `wakes` how often they wake in a second; memory is in KB, `own` the part of it that is not mapped
from files; `away` is what the outage adds. Prints a table, and with --json each single result as a line before it.

With --sizes it measures how large requests are instead, which no build changes: their bytes a point as they are sent, and before
compression. The points are those that the agent itself counts as delivered. `open_falcon` is Nightingale's; before compression it
is what transfers get, but for some 60 bytes a call.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import measure

PORTS = {"receiver": 19100, "node_exporter": 19101, "vmagent": 19102}
SERIES = 500
# Until plugins are compiled and connections open.
WARM_UP = "5"
# The threads of gauged that work for a network sink.
SINK_THREADS = ("delivery", "spool", "resolve", "certificates")
SINKS = {
    "remote_write": 'kind = "remote_write"\nurl = "{url}/api/v1/write"',
    "otlp": 'kind = "otlp"\nurl = "{url}/v1/metrics"',
    "influx": 'kind = "influx"\nurl = "{url}/write"',
    "open_falcon": 'kind = "open_falcon"\nurl = "{url}/openfalcon/push"',
}
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def servers():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(cache, "gauged/servers")


def program(*names):
    found = next((path for path in map(shutil.which, names) if path), None)
    return found or sys.exit(f"push: there is no {names[-1]}; run .ci/servers")


def write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def gauged(agent, directory, interval, protocol, state):
    """The command that pushes by this protocol; by none, it writes lines."""
    url = f"http://127.0.0.1:{PORTS['receiver']}"
    state_line = f'state_directory = "{directory}/state"\n' if state else ""
    sink = f"[sinks.push]\nmax_series = {SERIES}\n{SINKS[protocol].format(url=url)}\n" if protocol else ""
    text = f'interval = "{interval}ms"\nplugins_directory = "{ROOT}/plugins"\n{state_line}sinks.out.kind = "stdout"\n'
    path = write(directory, f"{protocol or 'plain'}.toml", text + PLUGINS + sink)
    return [agent, "--config", path]


# As on a host that runs what they measure; the others have nothing to do.
PLUGINS = "".join(f"plugins.{name}.enabled = false\n" for name in ("hello", "http_check", "nginx", "ports", "process", "redis"))


def vmagent(directory, interval):
    """vmagent, and the exporter that it scrapes."""
    newest = os.path.join(servers(), "newest/usr/bin/vmagent")
    exporter = program(os.path.join(servers(), "debian/usr/bin/prometheus-node-exporter"), "prometheus-node-exporter")
    agent = program(newest, "vmagent")
    address = f"127.0.0.1:{PORTS['node_exporter']}"
    scrape = write(directory, "scrape.yml", f"""global: {{scrape_interval: {interval}ms}}
scrape_configs: [{{job_name: node, static_configs: [{{targets: ["{address}"]}}]}}]
""")
    push = f"{agent} -promscrape.config={scrape} -httpListenAddr=127.0.0.1:{PORTS['vmagent']}"
    push += f" -remoteWrite.url=http://127.0.0.1:{PORTS['receiver']}/api/v1/write -remoteWrite.forcePromProto"
    push += f" -remoteWrite.tmpDataPath={directory}/vmagent"
    return ["sh", "-c", f"{exporter} --web.listen-address={address} & exec {push}"]


def row(name, result):
    """What the table shows of a result."""
    threads = result["by_thread"].items()
    own = [figures for thread, figures in threads if thread.rpartition("/")[2] in SINK_THREADS]
    outage = result.get("outage", {})
    return {
        "name": name,
        "ms": result["cpu_ms_per_sample"],
        "sink": sum(thread["cpu_ms_per_sample"] for thread in own) if own else None,
        "wakes": sum(thread["wakes_per_s"] for thread in own) if own else None,
        "rss": result["rss_kb"],
        "own": result["anonymous_kb"],
        "away": outage["rss_kb"] - result["rss_kb"] if outage else None,
        "away_own": outage["anonymous_kb"] - result["anonymous_kb"] if outage else None,
        "requests": result.get("requests"),
        "bytes": result.get("bytes_per_sample"),
    }


def sizes(agent, interval, protocol, samples):
    """The bytes a point of requests, and those before compression."""
    receiver = measure.Receiver(PORTS["receiver"], counts_plain=True)
    with tempfile.TemporaryDirectory() as directory:
        words = gauged(os.path.abspath(agent), directory, interval, protocol, True)
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as command:
            try:
                marks = []
                for number, line in enumerate(command.stdout):
                    points = json.loads(line)["agent"].get('sink_delivered_points_total{sink="push"}', 0)
                    # The line has the points of the samples before. Until then all of their requests have come, and none since.
                    if marks:
                        marks[-1]["points"] = points
                    if len(marks) > samples:
                        break
                    if number * interval >= float(WARM_UP) * 1000:
                        time.sleep(interval / 2000)
                        marks.append({"bytes": receiver.bytes, "plain": receiver.plain_bytes})
            finally:
                command.terminate()
    receiver.close()
    first, last = marks[0], marks[-1]
    points = last["points"] - first["points"]
    return {"points": points / samples, **{key: (last[key] - first[key]) / points for key in ("bytes", "plain")}}


def print_sizes(options):
    print(f"{'':14}{'points':>10}{'bytes':>10}{'plain':>10}")
    for protocol in options.only.split(","):
        if protocol in SINKS:
            size = sizes(options.agent, options.interval, protocol, options.seconds)
            print(f"{protocol:14}{size['points']:>10.0f}{size['bytes']:>10.1f}{size['plain']:>10.1f}", flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3, help="how often each has its turn (3)")
    options.add_argument("--interval", type=int, default=1000, metavar="MS", help="of samples and scrapes (1000)")
    options.add_argument("--seconds", type=int, default=30, help="length of a turn (30)")
    options.add_argument("--outage", type=int, default=20, help="seconds without a receiver after it (20)")
    options.add_argument("--only", default="plain,remote_write,otlp,influx,open_falcon,vmagent", help="which of them")
    options.add_argument("--json", action="store_true", help="print each result")
    options.add_argument("--sizes", action="store_true", help="measure how large requests are, over so many --seconds of samples")
    options.add_argument("agent", help="the program gauged")
    options = options.parse_args()
    if options.sizes:
        return print_sizes(options)
    rows = {}
    for _ in range(options.rounds):
        for name in options.only.split(","):
            with tempfile.TemporaryDirectory() as directory:
                if name == "vmagent":
                    command = vmagent(directory, options.interval)
                else:
                    protocol = None if name == "plain" else name
                    command = gauged(os.path.abspath(options.agent), directory, options.interval, protocol, True)
                words = ["--name", name, "--warmup", WARM_UP, "--seconds", str(options.seconds), "--rate", str(1000 / options.interval)]
                if name != "plain":
                    words += ["--receive", str(PORTS["receiver"]), "--outage", str(options.outage)]
                result = measure.run(measure.parser().parse_args(words), command)
                if options.json:
                    print(json.dumps(result), flush=True)
                rows.setdefault(name, []).append(row(name, result))
    columns = ["ms", "sink", "wakes", "rss", "own", "away", "away_own", "bytes"]
    print(f"{'':14}" + "".join(f"{column:>10}" for column in columns))
    for name, results in rows.items():
        cells = []
        for column in columns:
            values = [result[column] for result in results if result[column] is not None]
            cells.append(f"{statistics.median(values):>10.6g}" if values else f"{'':>10}")
        print(f"{name:14}" + "".join(cells))


if __name__ == "__main__":
    main()
