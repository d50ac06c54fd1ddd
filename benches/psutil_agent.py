#!/usr/bin/env python3
"""A host agent in Python, as teams write them: the values that gauged measures by itself, by psutil, as one JSON line a
second. SPECIFICATION.md compares the agent's cost with it. Needs psutil, which .ci/servers fetches. To measure it:

    PYTHONPATH=~/.cache/gauged/servers/python benches/measure.py --seconds 20 --name psutil -- python3 benches/psutil_agent.py
"""
import json
import sched
import sys
import time

import psutil

INTERVAL_SECONDS = 1.0


def sample():
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return {
        "ts": time.time(),
        "cpu": psutil.cpu_times_percent(interval=None)._asdict(),
        "cpu_percent": psutil.cpu_percent(interval=None, percpu=True),
        "load": dict(zip(("1m", "5m", "15m"), psutil.getloadavg())),
        "memory": {
            "total": memory.total,
            "available": memory.available,
            "used": memory.used,
            "free": memory.free,
            "buffers": memory.buffers,
            "cached": memory.cached,
            "percent": memory.percent,
        },
        "swap": {"total": swap.total, "used": swap.used, "free": swap.free, "percent": swap.percent},
    }


def tick(scheduler, due):
    try:
        print(json.dumps(sample()), flush=True)
    except BrokenPipeError:
        sys.exit(0)
    following = due + INTERVAL_SECONDS
    scheduler.enterabs(following, 1, tick, (scheduler, following))


def main():
    # The first percentages cover the time since these calls.
    psutil.cpu_percent(interval=None, percpu=True)
    psutil.cpu_times_percent(interval=None)
    scheduler = sched.scheduler(time.monotonic, time.sleep)
    tick(scheduler, time.monotonic())
    scheduler.run()


if __name__ == "__main__":
    main()
