"""What is measured, and what is made of what was read. Knows nothing of the agent, so that any Python tests it."""

from typing import NamedTuple

FILE = "/proc/stat"


class Metric(NamedTuple):
    """What there is to know of a metric."""

    key: str
    name: str
    kind: str
    unit: str
    description: str


METRICS = [
    Metric("processes", "forks_total", "counter", "{process}", "Processes and threads that were started since boot."),
    Metric("procs_running", "running", "gauge", "{process}", "Processes that run or could."),
    Metric("procs_blocked", "blocked", "gauge", "{process}", "Processes that wait for a disk or another device."),
]


def parse(text: str) -> dict[str, int]:
    """The number behind each key of `METRICS` that is there, by the name of its metric."""
    names = {metric.key: metric.name for metric in METRICS}
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key in names:
            found[names[key]] = int(value)
    return found
