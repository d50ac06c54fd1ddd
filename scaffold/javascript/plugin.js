// The plugin PLUGIN_NAME: the functions that the agent calls. The parser is in measure.js, with its own tests.

import { read } from "gauged:plugin/files@0.2.0-rc.4";
import { log } from "gauged:plugin/log@0.2.0-rc.4";
import { FILE, METRICS, Rate, parse } from "./measure.js";

const MODULE = "PLUGIN_MODULE";
const VERSION = "0.1.0";

// Kept from tick to tick, until the plugin fails or is replaced.
let file = FILE;
const forkRate = new Rate();

const need = () => ({ capability: { kind: "read", target: file }, reason: "count processes" });

const SETTINGS = [
  {
    key: "file",
    valueType: "text",
    defaultValue: JSON.stringify(FILE),
    meaning: "Path of the file to read.",
    required: false,
    secret: false,
  },
];

// Reads the file. A failure becomes an error that defines the agent's next step.
function text() {
  try {
    return new TextDecoder().decode(read(file));
  } catch (failure) {
    const { tag, val } = failure.payload ?? {};
    if (tag === "denied") {
      throw { tag: "denied", val: need() };
    }
    throw { tag: "unavailable", val: `${file} cannot be read: ${tag} ${val?.text ?? val ?? ""}` };
  }
}

// Makes an exception an error of the call, and logs its stack. The plugin is called again at the next tick.
const reported = (call) => (argument) => {
  try {
    return call(argument);
  } catch (failure) {
    // An error of the WIT.
    if (failure?.tag !== undefined) {
      throw failure;
    }
    const stack = String(failure?.stack ?? "").split("\n").filter((line) => line.trim() !== "");
    for (const line of [`${failure}`, ...stack]) {
      log("error", line);
    }
    throw { tag: "failed", val: `${failure}` };
  }
};

export const collector = {
  describe() {
    // The kernel's counters are zero at boot.
    const origin = (kind) => (kind === "counter" ? "boot" : "unknown");
    const metrics = METRICS.map((metric) => ({ module: MODULE, countsFrom: origin(metric.kind), ...metric }));
    return { version: VERSION, description: "Started, runnable and blocked processes.", settings: SETTINGS, metrics };
  },

  configure: reported((config) => {
    const settings = JSON.parse(config);
    const unknown = Object.keys(settings).filter((key) => key !== "file");
    if (unknown.length > 0) {
      const message = "unknown key; remove it, or use one of file";
      throw { tag: "invalid-config", val: unknown.map((key) => ({ key, message })) };
    }
    file = settings.file ?? FILE;
    if (typeof file !== "string" || file === "") {
      throw { tag: "invalid-config", val: [{ key: "file", message: "write a path" }] };
    }
    log("debug", `reads ${file}`);
    return { needs: [need()], metrics: [] };
  }),

  collect: reported((tick) => {
    const found = parse(text(), ["processes", "procs_running", "procs_blocked"]);
    const metrics = [];
    const forks = found.get("processes");
    if (forks !== undefined) {
      metrics.push({ name: "forks_total", labels: [], value: { tag: "natural", val: forks } });
      const rate = forkRate.perSecond(forks, tick.monotonicNs);
      if (rate !== undefined) {
        metrics.push({ name: "forks_per_second", labels: [], value: { tag: "number", val: rate } });
      }
    }
    for (const state of ["running", "blocked"]) {
      const number = found.get(`procs_${state}`);
      if (number !== undefined) {
        const labels = [{ name: "state", value: state }];
        metrics.push({ name: "processes", labels, value: { tag: "natural", val: number } });
      }
    }
    // A file without these lines will not have them later.
    if (metrics.length === 0) {
      throw { tag: "unsupported", val: `${file} has no process counts` };
    }
    return [{ name: MODULE, unixMs: undefined, verbatim: false, metrics, descriptors: [] }];
  }),
};
