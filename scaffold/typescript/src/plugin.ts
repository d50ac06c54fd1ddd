// The plugin PLUGIN_NAME: the functions that the agent calls. The parser and the settings are in files of their own, with tests.

import type { Collector, Error as CallError, Need, Setting } from "gauged:plugin/collector@0.2.0-rc.4";
import { read, type Error as FileError } from "gauged:plugin/files@0.2.0-rc.4";
import { log } from "gauged:plugin/log@0.2.0-rc.4";
import type { Descriptor, Dimension, Kind, Label, Metric, Value } from "gauged:plugin/metrics@0.2.0-rc.4";

import { version } from "../package.json";
import { Rate, parse } from "./measure";
import { DEFAULT_FILE, readSettings } from "./settings";

const MODULE = "PLUGIN_MODULE";

// Kept from tick to tick, until the plugin fails or is replaced.
let file = DEFAULT_FILE;
const forkRate = new Rate();

const SETTINGS: Setting[] = [
  {
    key: "file",
    valueType: "text",
    defaultValue: JSON.stringify(DEFAULT_FILE),
    meaning: "Path of the file to read.",
    required: false,
    secret: false,
  },
];

const METRICS: Descriptor[] = [
  descriptor("forks_total", "counter", "{process}", "Processes and threads started since boot."),
  descriptor("forks_per_second", "gauge", "{process}/s", "Processes and threads started per second since the last tick."),
  descriptor("processes", "gauge", "{process}", "Processes that are runnable, or blocked by a disk or another device.", [
    { name: "state", meaning: "State of the processes: running or blocked" },
  ]),
];

function descriptor(name: string, kind: Kind, unit: string, description: string, labels: Dimension[] = []): Descriptor {
  // The kernel's counters are zero at boot.
  return { module: MODULE, name, kind, countsFrom: kind === "counter" ? "boot" : "unknown", unit, description, labels };
}

function metric(name: string, value: Value, labels: Label[] = []): Metric {
  return { name, labels, value };
}

// An error of the WIT. To throw it ends the call, and defines the agent's next step.
function callError(error: CallError): CallError {
  return error;
}

// The grant that the plugin needs, with a reason.
const need = (): Need => ({ capability: { kind: "read", target: file }, reason: "count processes" });

function text(): string {
  try {
    return new TextDecoder().decode(read(file));
  } catch (failure) {
    const { payload } = failure as { payload?: FileError };
    if (payload?.tag === "denied") {
      throw callError({ tag: "denied", val: need() });
    }
    throw callError({ tag: "unavailable", val: `${file} cannot be read: ${payload?.tag ?? failure}` });
  }
}

// Makes an exception an error of the call, and logs its stack. The plugin is called again at the next tick.
function reported<Argument, Result>(call: (argument: Argument) => Result): (argument: Argument) => Result {
  return (argument) => {
    try {
      return call(argument);
    } catch (failure) {
      if (!(failure instanceof Error)) {
        throw failure;
      }
      for (const line of [`${failure}`, ...(failure.stack ?? "").split("\n")]) {
        if (line.trim() !== "") {
          log("error", line);
        }
      }
      throw callError({ tag: "failed", val: `${failure}` });
    }
  };
}

export const collector: Collector = {
  describe() {
    return { version, description: "Started, runnable and blocked processes.", settings: SETTINGS, metrics: METRICS };
  },

  configure: reported((config) => {
    const settings = readSettings(config);
    if (Array.isArray(settings)) {
      throw callError({ tag: "invalid-config", val: settings });
    }
    file = settings.file;
    log("debug", `reads ${file}`);
    return { needs: [need()], metrics: [] };
  }),

  collect: reported((tick) => {
    const numbers = parse(text(), ["processes", "procs_running", "procs_blocked"]);
    const metrics: Metric[] = [];
    const forks = numbers.get("processes");
    if (forks !== undefined) {
      metrics.push(metric("forks_total", { tag: "natural", val: forks }));
      const rate = forkRate.perSecond(forks, tick.monotonicNs);
      if (rate !== undefined) {
        metrics.push(metric("forks_per_second", { tag: "number", val: rate }));
      }
    }
    for (const state of ["running", "blocked"]) {
      const number = numbers.get(`procs_${state}`);
      if (number !== undefined) {
        metrics.push(metric("processes", { tag: "natural", val: number }, [{ name: "state", value: state }]));
      }
    }
    // A file without these lines will not have them later.
    if (metrics.length === 0) {
      throw callError({ tag: "unsupported", val: `${file} has no process counts` });
    }
    return [{ name: MODULE, verbatim: false, metrics, descriptors: [] }];
  }),
};
