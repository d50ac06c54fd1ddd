// Makes JavaScript of a file and all that it imports: `node build.mjs SOURCE OUTPUT`. With a third argument, FILE, that JavaScript
// becomes the component FILE, without features that the WIT does not offer.

import { build } from "esbuild";
import { writeFile } from "node:fs/promises";

const [source, output, file] = process.argv.slice(2);
await build({
  entryPoints: [source],
  outfile: output,
  bundle: true,
  format: "esm",
  platform: file === undefined ? "node" : "neutral",
  // What packages have for browsers suits a component, too.
  mainFields: ["module", "main"],
  external: ["gauged:*"],
  // Names of functions are in the stacks of exceptions.
  keepNames: true,
  logLevel: "warning",
});
if (file !== undefined) {
  const { componentize } = await import("@bytecodealliance/componentize-js");
  const { component } = await componentize({
    sourcePath: output,
    witPath: "wit",
    worldName: "plugin",
    // The output of console.log is lines of the log.
    disableFeatures: ["random", "clocks", "http", "fetch-event"],
  });
  await writeFile(file, component);
}
