// Tests of measure.js: `node --test`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { METRICS, Rate, parse } from "./measure.js";

test("numbers are found among other lines", () => {
  const text = "cpu 1 2 3\nctxt 9\nprocesses 1500\nprocs_running 3\nprocs_blocked 1\n";
  assert.deepEqual([...parse(text, ["processes", "procs_running", "missing"])], [["processes", 1500n], ["procs_running", 3n]]);
});

test("missing numbers are left out", () => {
  assert.equal(parse("cpu 1 2 3\n\nprocs_running_or_not 1\n", ["procs_running"]).size, 0);
});

test("a value that is not a number fails", () => {
  assert.throws(() => parse("processes many\n", ["processes"]), SyntaxError);
});

test("the rate needs two ticks and survives a reset", () => {
  const rate = new Rate();
  const steps = [[100n, 1n, undefined], [110n, 3n, 5], [7n, 4n, undefined], [8n, 5n, 1]];
  for (const [count, seconds, expected] of steps) {
    assert.equal(rate.perSecond(count, seconds * 1_000_000_000n), expected);
  }
});

test("names of counters end in _total", () => {
  for (const { kind, name } of METRICS) {
    assert.equal(kind === "counter", name.endsWith("_total"), name);
  }
});
