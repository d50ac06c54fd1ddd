"""The metrics, the parser and the rate. Independent of the agent, so that any Python can test them."""

from typing import NamedTuple

FILE = "/proc/stat"


class Metric(NamedTuple):
    """Static facts about a metric."""

    name: str
    kind: str
    unit: str
    description: str
    labels: dict[str, str] = {}


METRICS = [
    Metric("forks_total", "counter", "{process}", "Processes and threads started since boot."),
    Metric("forks_per_second", "gauge", "{process}/s", "Processes and threads started per second since the last tick."),
    Metric(
        "processes",
        "gauge",
        "{process}",
        "Processes that are runnable, or blocked by a disk or another device.",
        {"state": "State of the processes: running or blocked"},
    ),
]


def parse(text: str, *keys: str) -> dict[str, int]:
    """The numbers in a text by the keys of their lines."""
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key in keys:
            found[key] = int(value)
    return found


class Rate:
    """The rate of a counter from one tick to the next."""

    last: tuple[int, int] | None = None

    def per_second(self, count: int, ns: int) -> float | None:
        """The rate since the last call; none at the first one, and after the counter was reset."""
        last, self.last = self.last, (count, ns)
        if last is None or count < last[0] or ns <= last[1]:
            return None
        return (count - last[0]) * 1e9 / (ns - last[1])
