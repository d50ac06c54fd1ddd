// The plugin PLUGIN_NAME as the agent calls it. What it makes of what it reads is in measure.js, and tested by itself.

import { read } from "gauged:plugin/files@0.1.0";
import { log } from "gauged:plugin/log@0.1.0";
import { FILE, METRICS, parse } from "./measure.js";

const MODULE = "PLUGIN_MODULE";
const VERSION = "0.1.0";

// Kept from one tick to the next, until the plugin fails or is replaced.
let file = FILE;

const need = () => ({ capability: { tag: "read", val: file }, reason: "count processes" });

// Reads the file. What goes wrong becomes an error that says what the agent does next.
function text() {
  try {
    return new TextDecoder().decode(read(file));
  } catch (failure) {
    const { tag, val } = failure.payload ?? {};
    if (tag === "denied") {
      throw { tag: "denied", val: need() };
    }
    throw { tag: "unavailable", val: `${file} cannot be read: ${tag} ${val ?? ""}` };
  }
}

export const collector = {
  describe() {
    const metrics = METRICS.map(({ name, kind, unit, description }) => ({ module: MODULE, name, kind, unit, description }));
    return { version: VERSION, description: "Processes that were started, run and wait.", metrics };
  },

  configure(config) {
    const settings = JSON.parse(config);
    const unknown = Object.keys(settings).filter((key) => key !== "file");
    if (unknown.length > 0) {
      const message = "unknown key; remove it, or use one of file";
      throw { tag: "invalid-config", val: unknown.map((key) => ({ key, message })) };
    }
    file = settings.file ?? FILE;
    if (typeof file !== "string") {
      throw { tag: "invalid-config", val: [{ key: "file", message: "write a path" }] };
    }
    log("debug", `reads ${file}`);
    return [need()];
  },

  collect(_tick) {
    const found = parse(text());
    // A file in which there is nothing of it will not have it later.
    if (found.size === 0) {
      throw { tag: "unsupported", val: `${file} tells of no processes` };
    }
    const metrics = [...found].map(([name, val]) => ({ name, labels: [], value: { tag: "unsigned", val } }));
    return [{ name: MODULE, metrics }];
  },
};
