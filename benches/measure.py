#!/usr/bin/env python3
"""Measures what a command costs while it takes samples: processor time, memory and context switches of its whole process
tree, on Linux. Needs Python 3.8 and nothing else. Prints one JSON object on one line.

    cargo build --profile dist && mkdir -p /tmp/no-plugins
    benches/measure.py --seconds 20 --name gauged -- target/dist/gauged --interval 1s --plugins /tmp/no-plugins
    gcc -O2 -static -o /tmp/floor benches/floor.c && benches/measure.py --seconds 20 --name floor -- /tmp/floor
    benches/measure.py --seconds 20 --name psutil -- python3 benches/psutil_agent.py
    benches/measure.py --seconds 20 --name node_exporter --scrape http://127.0.0.1:9100/metrics -- prometheus-node-exporter
    benches/measure.py --seconds 60 --name push --receive 19100 --outage 20 -- target/dist/gauged --config push.toml

Run the floor or the peer right before and after: a shared machine changes by a factor from one minute to the next, and only
the ratios mean something.

The window starts --warmup seconds after the first line of output or, with --scrape, after the first response; the URL is
then read once a second, by this process. With --receive it starts after the first request that is pushed to this port of
127.0.0.1, where this process takes everything and answers as receivers do that have stored it. With --outage it does not
listen for so many seconds after the window. benches/push.py compares commands that push.

Processor time is user and system time, read from
  cpuacct or cgroup2  a control group of the command's own; needs root; exact to nanoseconds or microseconds
  proc                /proc/PID/task/*/schedstat of live threads, and the times of children that have ended, in steps of 10 ms
That of each thread is read from schedstat. Resident memory is that of the last reading before an outage, and by_process has it
for each program.
"""
import argparse
import gzip
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
READY_TIMEOUT_SECONDS = 30
# Reading the memory of a process takes the kernel longer than the agent's own tick.
MEMORY_EVERY_SECONDS = 5
# The lines of smaps_rollup, by what they are called here.
MEMORY = {"rss_kb": "Rss", "pss_kb": "Pss", "private_kb": "Private_(?:Clean|Dirty)", "anonymous_kb": "Anonymous"}


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


class Group:
    """A control group for the command alone; where none can be made, the processes below the command."""

    def __init__(self):
        self.source, self.path, self.root = "proc", None, None
        for source, parent, marker in (
            ("cpuacct", "/sys/fs/cgroup/cpuacct", "cpuacct.usage"),
            ("cgroup2", "/sys/fs/cgroup", "cgroup.controllers"),
        ):
            if not os.path.exists(f"{parent}/{marker}"):
                continue
            path = f"{parent}/measure_{os.getpid()}"
            try:
                os.mkdir(path)
            except OSError as error:
                print(f"measure: no control group: {error}", file=sys.stderr)
                return
            self.source, self.path = source, path
            return

    def enter(self):
        """Runs in the command's process before the command does."""
        if self.path:
            with open(f"{self.path}/cgroup.procs", "w", encoding="ascii") as file:
                file.write("0")

    def processes(self):
        if self.path:
            return [int(line) for line in read(f"{self.path}/cgroup.procs").split()]
        children = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                parent = int(read(f"/proc/{name}/stat").rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
            except OSError:
                pass
        found, open_ = [], [self.root]
        while open_:
            found.append(open_.pop())
            open_ += children.get(found[-1], [])
        return found

    def cpu_ms(self, snapshot):
        if self.source == "cpuacct":
            return int(read(f"{self.path}/cpuacct.usage")) / 1e6
        if self.source == "cgroup2":
            return int(re.search(r"usage_usec (\d+)", read(f"{self.path}/cpu.stat"))[1]) / 1e3
        return snapshot["running_ns"] / 1e6 + snapshot["children_ticks"] * 1e3 / TICKS_PER_SECOND

    def remove(self):
        for _ in range(50 if self.path else 0):
            try:
                return os.rmdir(self.path)
            except OSError:
                time.sleep(0.05)


def snapshot(processes, with_memory):
    """Sums over processes, and of each thread its names, its time, and its context switches, voluntary and involuntary."""
    sums = dict.fromkeys(
        ("running_ns", "children_ticks", "threads", "processes", "descriptors", *MEMORY), 0
    )
    sums["by_process"], threads = {}, {}
    for process in processes:
        try:
            before, _, fields = read(f"/proc/{process}/stat").rpartition(")")
            program, fields = before.partition("(")[2], fields.split()
            sums["children_ticks"] += int(fields[13]) + int(fields[14])
            sums["processes"] += 1
            sums["descriptors"] += len(os.listdir(f"/proc/{process}/fd"))
            for thread in os.listdir(f"/proc/{process}/task"):
                task = f"/proc/{process}/task/{thread}"
                sums["threads"] += 1
                running = int(read(f"{task}/schedstat").split()[0])
                sums["running_ns"] += running
                status = read(f"{task}/status")
                counts = re.findall(r"ctxt_switches:\s+(\d+)", status)
                name = re.match(r"Name:\t(.*)", status)[1]
                threads[int(thread)] = (program, name, running, int(counts[0]), int(counts[1]))
            if with_memory:
                rollup = read(f"/proc/{process}/smaps_rollup")
                own = sums["by_process"].setdefault(program, dict.fromkeys(MEMORY, 0))
                for key, pattern in MEMORY.items():
                    size = sum(map(int, re.findall(rf"\n{pattern}:\s+(\d+)", rollup)))
                    sums[key] += size
                    own[key] += size
        except (OSError, IndexError):
            pass  # It has ended meanwhile.
    return sums, threads


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(part * len(values)))] if values else None


def rounded(value, digits=3):
    return None if value is None else round(value, digits)


class Output:
    """The lines of the command: when each came, and how long the last one is."""

    def __init__(self, pipe):
        self.times, self.length = [], 0
        threading.Thread(target=self.read, args=(pipe,), daemon=True).start()

    def read(self, pipe):
        for line in pipe:
            self.times.append(time.monotonic())
            self.length = len(line)


def plain_size(encoding, body):
    """How many bytes a body has before it is compressed."""
    if encoding == "gzip":
        return len(gzip.decompress(body))
    if encoding == "snappy":  # The block format begins with the size, seven bits a byte, the lowest first.
        size, shift = 0, 0
        for byte in body:
            size, shift = size | (byte & 127) << shift, shift + 7
            if byte < 128:
                return size
    return len(body)


class Receiver:
    """Takes what is pushed to a port of 127.0.0.1, and counts it."""

    def __init__(self, port, counts_plain=False):
        """`counts_plain` is whether bytes before compression are counted, too, which takes time."""
        self.address, self.requests, self.bytes, self.plain_bytes = ("127.0.0.1", port), 0, 0, 0
        self.counts_plain, self.connections = counts_plain, set()
        self.first, self.server = None, None
        self.open()

    def open(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                receiver.connections.add(self.connection)

            def finish(self):
                receiver.connections.discard(self.connection)
                super().finish()

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_HEAD

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                receiver.requests += 1
                receiver.bytes += length
                if receiver.counts_plain:
                    receiver.plain_bytes += plain_size(self.headers["Content-Encoding"], body)
                receiver.first = receiver.first or time.monotonic()
                # Nightingale counts what it takes; the others have nothing to say.
                body = b'{"succ":1,"fail":0,"msg":""}' if "falcon" in self.path else b""
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        server = http.server.ThreadingHTTPServer(self.address, Handler)
        server.daemon_threads = True
        self.server = server
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        if self.server is None:
            return
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It is closed already.
        self.server = None


def scrape(url):
    """The time after a response of this URL; none where it does not respond."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            response.read()
        return time.monotonic()
    except OSError:
        return None


def by_thread(before, after, samples):
    """Processor time a sample and voluntary switches a second of the threads of each name."""
    sums = {}
    for thread, (program, name, *counts) in after.items():
        first = before.get(thread, (program, name, 0, 0, 0))[2:]
        row = sums.setdefault(name if program == name else f"{program}/{name}", [0, 0, 0])
        row[0] += 1
        row[1] += (counts[0] - first[0]) / 1e6 / samples
        row[2] += counts[1] - first[1]
    return sums


def measure(options, command, group, output, receiver):
    """The window, in steps of a second."""
    start, step = time.monotonic(), 1
    sums, first_threads = snapshot(group.processes(), True)
    threads = first_threads
    received = (receiver.requests, receiver.bytes) if receiver else None
    first_cpu = cpu = group.cpu_ms(sums)
    memory, cpu_of_seconds, voluntary, involuntary = [sums], [], 0, 0
    while step <= options.seconds and command.poll() is None:
        time.sleep(max(0, start + step - time.monotonic()))
        if options.scrape:
            scrape(options.scrape)
        with_memory = step % MEMORY_EVERY_SECONDS == 0 or step == options.seconds
        sums, now = snapshot(group.processes(), with_memory)
        if with_memory:
            memory.append(sums)
        for thread, (*_, more, less) in now.items():
            *_, before, before_less = threads.get(thread, (0, 0))
            voluntary += more - before
            involuntary += less - before_less
        threads = {**threads, **now}
        cpu_of_seconds.append(group.cpu_ms(sums) - cpu)
        cpu += cpu_of_seconds[-1]
        step += 1
    seconds = time.monotonic() - start
    samples = seconds * options.rate
    lines = [moment for moment in output.times if moment >= start] if output else []
    gaps = [after - before for before, after in zip(lines, lines[1:])]
    result = {
        "still_running": command.poll() is None,
        "window_s": rounded(seconds, 2),
        "cpu_source": group.source,
        "cpu_ms_per_sample": rounded((cpu - first_cpu) / samples, 4),
        "cpu_ms_of_a_second_median": rounded(percentile(cpu_of_seconds, 0.5), 4),
        "cpu_ms_of_a_second_p99": rounded(percentile(cpu_of_seconds, 0.99), 4),
        **{key: memory[-1][key] for key in MEMORY},
        "pss_growth_kb": memory[-1]["pss_kb"] - memory[0]["pss_kb"],
        "voluntary_switches_per_s": rounded(voluntary / seconds, 2),
        "involuntary_switches_per_s": rounded(involuntary / seconds, 2),
        "threads": sums["threads"],
        "processes": sums["processes"],
        "descriptors": sums["descriptors"],
        "lines": len(lines),
        "line_bytes": output.length if output else None,
        "gap_ms_median": rounded(percentile(gaps, 0.5) and percentile(gaps, 0.5) * 1e3, 2),
        "gap_ms_max": rounded(max(gaps) * 1e3, 2) if gaps else None,
    }
    rows = by_thread(first_threads, threads, samples)
    result["by_thread"] = {
        name: {"threads": count, "cpu_ms_per_sample": rounded(milliseconds, 4), "wakes_per_s": rounded(wakes / seconds, 2)}
        for name, (count, milliseconds, wakes) in sorted(rows.items())
    }
    if len(memory[-1]["by_process"]) > 1:
        result["by_process"] = memory[-1]["by_process"]
    if receiver:
        requests, size = receiver.requests - received[0], receiver.bytes - received[1]
        result["requests"], result["bytes_per_sample"] = requests, rounded(size / samples, 0)
        if options.outage:
            result["outage"] = outage(options, group, receiver)
    return result


def outage(options, group, receiver):
    """The largest memory while nobody listens."""
    receiver.close()
    largest = dict.fromkeys(MEMORY, 0)
    start = time.monotonic()
    sums, first = snapshot(group.processes(), True)
    cpu = group.cpu_ms(sums)
    while time.monotonic() < start + options.outage:
        time.sleep(1)
        sums, threads = snapshot(group.processes(), True)
        largest = {key: max(size, sums[key]) for key, size in largest.items()}
    seconds = time.monotonic() - start
    samples = seconds * options.rate
    rows = by_thread(first, threads, samples)
    return {
        **largest,
        "window_s": rounded(seconds, 2),
        "cpu_ms_per_sample": rounded((group.cpu_ms(sums) - cpu) / samples, 4),
        "by_thread": {name: rounded(milliseconds, 4) for name, (_, milliseconds, _) in sorted(rows.items())},
    }


def run(options, words):
    """Runs a command, and returns its figures."""
    receiver = Receiver(options.receive) if options.receive else None
    group = Group()
    start = time.monotonic()
    command = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if options.scrape or receiver else subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=group.enter,
        start_new_session=True,  # as a service manager starts it
    )
    group.root = command.pid
    try:
        output = None if options.scrape or receiver else Output(command.stdout)
        first = None
        while first is None and command.poll() is None and time.monotonic() < start + READY_TIMEOUT_SECONDS:
            time.sleep(0.003)
            if receiver:
                first = receiver.first
            else:
                first = scrape(options.scrape) if options.scrape else next(iter(output.times), None)
        if first is None:
            sys.exit(f"measure: no sample of {' '.join(words)} within {READY_TIMEOUT_SECONDS} s, or it has ended")
        time.sleep(options.warmup)
        result = {"name": options.name, "first_sample_ms": rounded((first - start) * 1e3, 1)}
        return {**result, **measure(options, command, group, output, receiver)}
    finally:
        # The command, and what it has started and does not wait for.
        for process in group.processes():
            try:
                os.kill(process, signal.SIGTERM)
            except OSError:
                pass  # It has ended meanwhile.
        try:
            command.wait(10)
        except subprocess.TimeoutExpired:
            command.kill()
            command.wait()
        group.remove()
        if receiver:
            receiver.close()


def parser():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=int, default=60, help="length of the window (60)")
    options.add_argument("--warmup", type=float, default=2, help="seconds between the first sample and the window (2)")
    options.add_argument("--name", default="command", help="a name for the result")
    options.add_argument("--rate", type=float, default=1, help="samples a second that the command takes (1)")
    options.add_argument("--scrape", metavar="URL", help="a URL to read once a second, for a command that prints nothing")
    options.add_argument("--receive", metavar="PORT", type=int, help="a port to take requests at, for a command that pushes")
    options.add_argument("--outage", type=int, default=0, help="seconds after the window in which nobody takes them (0)")
    options.add_argument("command", nargs=argparse.REMAINDER)
    return options


def main():
    options = parser().parse_args()
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not words:
        parser().error("no command")
    print(json.dumps(run(options, words)))


if __name__ == "__main__":
    main()
