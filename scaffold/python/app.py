"""The plugin PLUGIN_NAME: the functions that the agent calls. The parser is in measure.py, with its own tests."""

import functools
import json
import traceback

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import collector
from wit_world.imports import files, log, metrics, types

import measure

MODULE = "PLUGIN_MODULE"
VERSION = "0.1.0"
KINDS = {"gauge": metrics.Kind.GAUGE, "counter": metrics.Kind.COUNTER}
SETTINGS = [
    collector.Setting(
        key="file",
        value_type="text",
        default_value=json.dumps(measure.FILE),
        meaning="Path of the file to read.",
        required=False,
        secret=False,
    )
]


def reported(call):
    """Makes an exception an error of the call, and logs its traceback. The plugin is called again at the next tick."""

    @functools.wraps(call)
    def wrapped(*arguments):
        try:
            return call(*arguments)
        except Err:
            raise
        except Exception as exception:
            lines = "".join(traceback.format_exception(exception)).splitlines()
            for line in lines:
                log.log(log.Level.ERROR, line)
            raise Err(collector.Error_Failed(lines[-1])) from exception

    return wrapped


class Collector(exports.Collector):
    """Created for each call: keep state in the class, not in the instance."""

    file = measure.FILE
    fork_rate = measure.Rate()

    def describe(self) -> collector.About:
        descriptors = [
            metrics.Descriptor(
                module=MODULE,
                name=metric.name,
                kind=KINDS[metric.kind],
                # The kernel's counters are zero at boot.
                counts_from=metrics.Origin.BOOT if metric.kind == "counter" else metrics.Origin.UNKNOWN,
                unit=metric.unit,
                description=metric.description,
                labels=[metrics.Dimension(name, meaning) for name, meaning in metric.labels.items()],
            )
            for metric in measure.METRICS
        ]
        return collector.About(VERSION, "Started, runnable and blocked processes.", SETTINGS, descriptors)

    @reported
    def configure(self, config: str) -> collector.Configured:
        settings = json.loads(config)
        unknown = [key for key in settings if key != "file"]
        if unknown:
            message = "unknown key; remove it, or use one of file"
            raise Err(collector.Error_InvalidConfig([collector.Invalid(key, message) for key in unknown]))
        file = settings.get("file", measure.FILE)
        if not isinstance(file, str) or not file:
            raise Err(collector.Error_InvalidConfig([collector.Invalid("file", "write a path")]))
        Collector.file = file
        log.log(log.Level.DEBUG, f"reads {self.file}")
        return collector.Configured(needs=[self.need()], metrics=[])

    @reported
    def collect(self, tick: collector.Tick) -> list[metrics.Module]:
        found = measure.parse(self.read(), "processes", "procs_running", "procs_blocked")
        measured = []
        if (forks := found.get("processes")) is not None:
            measured.append(metrics.Metric("forks_total", [], metrics.Value_Natural(forks)))
            rate = self.fork_rate.per_second(forks, tick.monotonic_ns)
            if rate is not None:
                measured.append(metrics.Metric("forks_per_second", [], metrics.Value_Number(rate)))
        for state in ["running", "blocked"]:
            if (number := found.get(f"procs_{state}")) is not None:
                labels = [metrics.Label("state", state)]
                measured.append(metrics.Metric("processes", labels, metrics.Value_Natural(number)))
        # A file without these lines will not have them later.
        if not measured:
            raise Err(collector.Error_Unsupported(f"{self.file} has no process counts"))
        return [metrics.Module(MODULE, unix_ms=None, verbatim=False, metrics=measured, descriptors=[])]

    def read(self) -> str:
        """Reads the file. A failure becomes an error that defines the agent's next step."""
        try:
            return files.read(self.file).decode(errors="replace")
        except Err as failure:
            if isinstance(failure.value, files.Error_Denied):
                raise Err(collector.Error_Denied(self.need())) from failure
            raise Err(collector.Error_Unavailable(f"{self.file} cannot be read: {failure.value}")) from failure

    def need(self) -> collector.Need:
        return collector.Need(types.Capability("read", self.file), "count processes")
