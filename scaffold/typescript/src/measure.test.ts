// Tests of measure.ts, for Node.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Rate, parse } from "./measure";

test("numbers are found among other lines", () => {
  const text = "cpu 1 2 3\nctxt 9\nprocesses 1500\nprocs_running 3\nprocs_blocked 1\nprocs_running_or_not 1";
  assert.deepEqual([...parse(text, ["processes", "procs_running", "missing"])], [["processes", 1500n], ["procs_running", 3n]]);
});

test("a value that is not a number fails", () => {
  for (const text of ["processes many\n", "processes \n", "processes"]) {
    assert.throws(() => parse(text, ["processes"]), SyntaxError, text);
  }
});

test("the rate needs two ticks and survives a reset", () => {
  const rate = new Rate();
  assert.equal(rate.perSecond(100n, 1_000_000_000n), undefined);
  assert.equal(rate.perSecond(110n, 3_000_000_000n), 5);
  assert.equal(rate.perSecond(7n, 4_000_000_000n), undefined);
  assert.equal(rate.perSecond(8n, 5_000_000_000n), 1);
});
