"""The metrics and the parser. Independent of the agent, so that any Python can test it."""

from typing import NamedTuple

FILE = "/proc/stat"


class Metric(NamedTuple):
    """Static facts about a metric."""

    key: str
    name: str
    kind: str
    unit: str
    description: str


METRICS = [
    Metric("processes", "forks_total", "counter", "{process}", "Processes and threads started since boot."),
    Metric("procs_running", "running", "gauge", "{process}", "Runnable processes."),
    Metric("procs_blocked", "blocked", "gauge", "{process}", "Processes blocked by a disk or another device."),
]


def parse(text: str) -> dict[str, int]:
    """The numbers in a text by metric name."""
    names = {metric.key: metric.name for metric in METRICS}
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key in names:
            found[names[key]] = int(value)
    return found
