// Tests of settings.ts, for Node.

import assert from "node:assert/strict";
import { test } from "node:test";

import { readSettings } from "./settings";

test("settings have defaults", () => {
  assert.deepEqual(readSettings("{}"), { file: "/proc/stat" });
  assert.deepEqual(readSettings('{"file": "/srv/stat"}'), { file: "/srv/stat" });
});

test("each wrong key is rejected", () => {
  const unknown = "unknown key; remove it, or use one of file";
  assert.deepEqual(readSettings('{"path": {}, "file": 5}'), [
    { key: "path", message: unknown },
    { key: "file", message: "write a path" },
  ]);
  assert.deepEqual(readSettings('{"file": ""}'), [{ key: "file", message: "write a path" }]);
});
