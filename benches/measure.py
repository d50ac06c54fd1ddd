#!/usr/bin/env python3
"""Measures what a command costs while it takes samples: processor time, memory and context switches of its whole process
tree, on Linux. Needs Python 3.8 and nothing else. Prints one JSON object on one line.

    cargo build --profile dist && mkdir -p /tmp/no-plugins
    benches/measure.py --seconds 20 --name gauged -- target/dist/gauged --interval 1s --plugins /tmp/no-plugins
    gcc -O2 -static -o /tmp/floor benches/floor.c && benches/measure.py --seconds 20 --name floor -- /tmp/floor
    benches/measure.py --seconds 20 --name psutil -- python3 benches/psutil_agent.py
    benches/measure.py --seconds 20 --name node_exporter --scrape http://127.0.0.1:9100/metrics -- prometheus-node-exporter

Run the floor or the peer right before and after: a shared machine changes by a factor from one minute to the next, and only
the ratios mean something.

The window starts --warmup seconds after the first line of output or, with --scrape, after the first response; the URL is
then read once a second, by this process. Processor time is user and system time, read from
  cpuacct or cgroup2  a control group of the command's own; needs root; exact to nanoseconds or microseconds
  proc                /proc/PID/task/*/schedstat of live threads, and the times of children that have ended, in steps of 10 ms
"""
import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
READY_TIMEOUT_SECONDS = 30
# Reading the memory of a process takes the kernel longer than the agent's own tick.
MEMORY_EVERY_SECONDS = 5


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
    """Sums over processes, and the context switches of each thread, voluntary and involuntary."""
    sums = dict.fromkeys(
        ("running_ns", "children_ticks", "threads", "processes", "descriptors", "rss_kb", "pss_kb", "private_kb"), 0
    )
    switches = {}
    for process in processes:
        try:
            fields = read(f"/proc/{process}/stat").rpartition(")")[2].split()
            sums["children_ticks"] += int(fields[13]) + int(fields[14])
            sums["processes"] += 1
            sums["descriptors"] += len(os.listdir(f"/proc/{process}/fd"))
            for thread in os.listdir(f"/proc/{process}/task"):
                task = f"/proc/{process}/task/{thread}"
                sums["threads"] += 1
                sums["running_ns"] += int(read(f"{task}/schedstat").split()[0])
                counts = re.findall(r"ctxt_switches:\s+(\d+)", read(f"{task}/status"))
                switches[int(thread)] = (int(counts[0]), int(counts[1]))
            if with_memory:
                rollup = read(f"/proc/{process}/smaps_rollup")
                for key, pattern in (("rss_kb", "Rss"), ("pss_kb", "Pss"), ("private_kb", "Private_(?:Clean|Dirty)")):
                    sums[key] += sum(map(int, re.findall(rf"\n{pattern}:\s+(\d+)", rollup)))
        except (OSError, IndexError):
            pass  # It has ended meanwhile.
    return sums, switches


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


def scrape(url):
    """The time after a response of this URL; none where it does not respond."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            response.read()
        return time.monotonic()
    except OSError:
        return None


def measure(options, command, group, output):
    """The window, in steps of a second."""
    start, step = time.monotonic(), 1
    sums, switches = snapshot(group.processes(), True)
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
        for thread, counts in now.items():
            before = switches.get(thread, (0, 0))
            voluntary += counts[0] - before[0]
            involuntary += counts[1] - before[1]
        switches.update(now)
        cpu_of_seconds.append(group.cpu_ms(sums) - cpu)
        cpu += cpu_of_seconds[-1]
        step += 1
    seconds = time.monotonic() - start
    lines = [moment for moment in output.times if moment >= start] if output else []
    gaps = [after - before for before, after in zip(lines, lines[1:])]
    return {
        "still_running": command.poll() is None,
        "window_s": rounded(seconds, 2),
        "cpu_source": group.source,
        "cpu_ms_per_sample": rounded((cpu - first_cpu) / seconds / options.rate, 4),
        "cpu_ms_of_a_second_median": rounded(percentile(cpu_of_seconds, 0.5), 4),
        "cpu_ms_of_a_second_p99": rounded(percentile(cpu_of_seconds, 0.99), 4),
        "rss_kb": memory[-1]["rss_kb"],
        "pss_kb": memory[-1]["pss_kb"],
        "private_kb": memory[-1]["private_kb"],
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="length of the window (60)")
    parser.add_argument("--warmup", type=float, default=2, help="seconds between the first sample and the window (2)")
    parser.add_argument("--name", default="command", help="a name for the result")
    parser.add_argument("--rate", type=float, default=1, help="samples a second that the command takes (1)")
    parser.add_argument("--scrape", metavar="URL", help="a URL to read once a second, for a command that prints nothing")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not words:
        parser.error("no command")

    group = Group()
    start = time.monotonic()
    command = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if options.scrape else subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=group.enter,
    )
    group.root = command.pid
    try:
        output = None if options.scrape else Output(command.stdout)
        first = None
        while first is None and command.poll() is None and time.monotonic() < start + READY_TIMEOUT_SECONDS:
            time.sleep(0.003)
            first = scrape(options.scrape) if options.scrape else next(iter(output.times), None)
        if first is None:
            sys.exit(f"measure: no sample of {' '.join(words)} within {READY_TIMEOUT_SECONDS} s, or it has ended")
        time.sleep(options.warmup)
        result = {"name": options.name, "first_sample_ms": rounded((first - start) * 1e3, 1)}
        print(json.dumps({**result, **measure(options, command, group, output)}))
    finally:
        command.terminate()
        try:
            command.wait(10)
        except subprocess.TimeoutExpired:
            command.kill()
            command.wait()
        group.remove()


if __name__ == "__main__":
    main()
