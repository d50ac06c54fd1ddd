// Tests of measure.js: `node --test`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { METRICS, parse } from "./measure.js";

test("finds what it measures among other lines", () => {
  const text = "cpu 1 2 3\nctxt 9\nprocesses 1500\nprocs_running 3\nprocs_blocked 1\n";
  assert.deepEqual([...parse(text)], [["forks_total", 1500n], ["running", 3n], ["blocked", 1n]]);
});

test("has nothing where there is nothing", () => {
  assert.equal(parse("cpu 1 2 3\n\nprocs_running_or_not 1\n").size, 0);
});

test("fails where there is no number", () => {
  assert.throws(() => parse("processes many\n"), SyntaxError);
});

test("names of counters end in _total", () => {
  for (const { kind, name } of METRICS) {
    assert.equal(kind === "counter", name.endsWith("_total"), name);
  }
});
