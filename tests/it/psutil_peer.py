"""Prints psutil's readings every 50 ms, one JSON object a line. Its argument is an interval in seconds: at the wall clock's
multiples of it the object has percentages since the multiple before."""
import json
import sys
import time

import psutil

INTERVAL = float(sys.argv[1])
STEP = 0.05


def percentages():
    return {
        "all": {"percent": psutil.cpu_percent(), **psutil.cpu_times_percent()._asdict()},
        "each": [
            {"percent": busy, **times._asdict()}
            for busy, times in zip(psutil.cpu_percent(percpu=True), psutil.cpu_times_percent(percpu=True))
        ],
    }


def sample():
    frequency = psutil.cpu_freq()
    return {
        "cpu": {
            **{mode + "_seconds_total": value for mode, value in psutil.cpu_times()._asdict().items()},
            **{name: value for name, value in psutil.cpu_stats()._asdict().items() if name != "syscalls"},
            "count_logical": psutil.cpu_count(),
            "count_physical": psutil.cpu_count(logical=False),
            "freq_current": frequency and frequency.current,
        },
        "load": dict(zip(("1min", "5min", "15min"), psutil.getloadavg())),
        "memory": psutil.virtual_memory()._asdict(),
        "swap": psutil.swap_memory()._asdict(),
    }


percentages()
due = time.time() // STEP + 1
while True:
    time.sleep(max(0.0, due * STEP - time.time()))
    line = {"from": time.time()}
    tick = due * STEP / INTERVAL
    if abs(tick - round(tick)) < STEP / INTERVAL / 2:
        line["percentages"] = percentages()
        line["late"] = time.time() - due * STEP
    line.update(sample())
    line["to"] = time.time()
    print(json.dumps(line), flush=True)
    due = max(due + 1, time.time() // STEP)
