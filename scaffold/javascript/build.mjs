// Makes a component of plugin.js: `node build.mjs FILE`. Leaves out features that the WIT does not offer.

import { componentize } from "@bytecodealliance/componentize-js";
import { writeFile } from "node:fs/promises";

const { component } = await componentize({
  sourcePath: "plugin.js",
  witPath: "wit",
  worldName: "plugin",
  // The output of console.log is lines of the log.
  disableFeatures: ["random", "clocks", "http", "fetch-event"],
});
await writeFile(process.argv[2], component);
