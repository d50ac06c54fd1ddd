// Tests of measure.js: `node --test`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { METRICS, parse } from "./measure.js";

test("metrics are found among other lines", () => {
  const text = "cpu 1 2 3\nctxt 9\nprocesses 1500\nprocs_running 3\nprocs_blocked 1\n";
  assert.deepEqual([...parse(text)], [["forks_total", 1500n], ["running", 3n], ["blocked", 1n]]);
});

test("missing metrics are left out", () => {
  assert.equal(parse("cpu 1 2 3\n\nprocs_running_or_not 1\n").size, 0);
});

test("a value that is not a number fails", () => {
  assert.throws(() => parse("processes many\n"), SyntaxError);
});

test("names of counters end in _total", () => {
  for (const { kind, name } of METRICS) {
    assert.equal(kind === "counter", name.endsWith("_total"), name);
  }
});
