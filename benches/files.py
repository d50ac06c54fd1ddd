#!/usr/bin/env python3
"""Measures the plugins `process` and `cgroup` beside C programs that read the same files, by turns: 500 processes in one group,
and 200 control groups. Needs root for the groups, gcc, the built plugins, and benches/measure.py.

    plugins/build.sh && cargo build --release
    benches/files.py target/release/gauged [--seconds N] [--rounds N] [--only process|cgroup]

Prints the processor time of each in milliseconds a tick, and the ratio of the medians.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BENCHES = Path(__file__).resolve().parent
PLUGINS = BENCHES.parent / "plugins"
PROCESSES = 500
GROUPS = 200
# The files of a group that the plugin reads at each tick, of version 2 and 1.
FILES = (
    "cpu.stat memory.current memory.events memory.stat memory.swap.current io.stat pids.current cpuacct.usage cpuacct.stat"
    " memory.usage_in_bytes memory.oom_control blkio.throttle.io_service_bytes_recursive blkio.throttle.io_serviced_recursive"
).split()


def floor(name, directory):
    program = directory / name
    subprocess.run(["gcc", "-O2", "-static", "-o", program, BENCHES / f"{name}.c"], check=True)
    return [str(program)]


def agent(binary, plugin, table, directory):
    """An agent with one plugin, a sample a second."""
    home = directory / plugin
    (home / "plugins").mkdir(parents=True)
    shutil.copy(PLUGINS / f"{plugin}.wasm", home / "plugins")
    (home / "gauged.toml").write_text(f'interval = "1s"\n[plugins.{plugin}]\n{table}\n')
    return [str(Path(binary).resolve()), "--config", str(home / "gauged.toml")]


def measure(name, seconds, command):
    """Milliseconds of processor time a tick."""
    options = ["--seconds", str(seconds), "--warmup", "3", "--name", name, "--"]
    done = subprocess.run([BENCHES / "measure.py", *options, *command], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)["cpu_ms_of_a_second_median"]


def compare(subject, arguments, plugin, least):
    times = {plugin[0]: [], least[0]: []}
    for _ in range(arguments.rounds):
        for name, command in (plugin, least):
            times[name].append(measure(name, arguments.seconds, command))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians[plugin[0]] / medians[least[0]]
    print(json.dumps({"subject": subject, "ms_per_tick": times, "ratio": round(ratio, 2)}), flush=True)


def compare_processes(arguments, directory):
    sleeper = directory / "member"
    shutil.copy(shutil.which("sleep"), sleeper)
    members = [subprocess.Popen([sleeper, "100000"]) for _ in range(PROCESSES)]
    try:
        table = 'read = ["/proc/*/stat", "/proc/*/status", "/proc/*/fd"]\nconfig = { groups = { all = { name = "member" } } }'
        command = agent(arguments.binary, "process", table, directory)
        least = floor("process_floor", directory) + ["member"]
        compare(f"{PROCESSES} processes", arguments, ("process", command), ("process_floor", least))
    finally:
        for member in members:
            member.kill()
            member.wait()


def compare_groups(arguments, directory):
    root = Path("/sys/fs/cgroup")
    is_unified = (root / "cgroup.controllers").exists()
    controllers = [root] if is_unified else [path for name in ("cpu", "cpuacct", "memory", "blkio", "pids") if (path := root / name).is_dir()]
    made = [controller / f"bench-{at}.service" for controller in controllers for at in range(GROUPS)]
    try:
        for group in made:
            group.mkdir(exist_ok=True)
        files = [str(group / name) for group in made for name in FILES if (group / name).exists()]
        command = agent(arguments.binary, "cgroup", "", directory)
        least = floor("cgroup_floor", directory) + files
        compare(f"{GROUPS} groups, {len(files)} files", arguments, ("cgroup", command), ("cgroup_floor", least))
    finally:
        for group in made:
            if group.is_dir():
                group.rmdir()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["process", "cgroup"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        if arguments.only != "cgroup":
            compare_processes(arguments, directory)
        if arguments.only != "process":
            if os.geteuid() != 0:
                sys.exit("control groups need root")
            compare_groups(arguments, directory)


if __name__ == "__main__":
    main()
