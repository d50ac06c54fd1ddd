"""The plugin PLUGIN_NAME as the agent calls it. What it makes of what it reads is in measure.py, and tested by itself."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import collector
from wit_world.imports import files, log, metrics

import measure

MODULE = "PLUGIN_MODULE"
VERSION = "0.1.0"
KINDS = {"gauge": metrics.Kind.GAUGE, "counter": metrics.Kind.COUNTER}


class Collector(exports.Collector):
    """Made anew for each call: what is to be kept from one tick to the next is kept by the class."""

    file = measure.FILE

    def describe(self) -> collector.About:
        described = [
            metrics.Descriptor(MODULE, metric.name, KINDS[metric.kind], metric.unit, metric.description)
            for metric in measure.METRICS
        ]
        return collector.About(VERSION, "Processes that were started, run and wait.", described)

    def configure(self, config: str) -> list[collector.Need]:
        settings = json.loads(config)
        unknown = [key for key in settings if key != "file"]
        if unknown:
            message = "unknown key; remove it, or use one of file"
            raise Err(collector.Error_InvalidConfig([collector.Invalid(key, message) for key in unknown]))
        file = settings.get("file", measure.FILE)
        if not isinstance(file, str):
            raise Err(collector.Error_InvalidConfig([collector.Invalid("file", "write a path")]))
        Collector.file = file
        log.log(log.Level.DEBUG, f"reads {self.file}")
        return [self.need()]

    def collect(self, tick: collector.Tick) -> list[metrics.Module]:
        found = measure.parse(self.read())
        # A file in which there is nothing of it will not have it later.
        if not found:
            raise Err(collector.Error_Unsupported(f"{self.file} tells of no processes"))
        measured = [metrics.Metric(name, [], metrics.Value_Unsigned(number)) for name, number in found.items()]
        return [metrics.Module(MODULE, measured)]

    def read(self) -> str:
        """Reads the file. What goes wrong becomes an error that says what the agent does next."""
        try:
            return files.read(self.file).decode(errors="replace")
        except Err as failure:
            if isinstance(failure.value, files.Error_Denied):
                raise Err(collector.Error_Denied(self.need())) from failure
            raise Err(collector.Error_Unavailable(f"{self.file} cannot be read: {failure.value}")) from failure

    def need(self) -> collector.Need:
        return collector.Need(collector.Capability_Read(self.file), "count processes")
