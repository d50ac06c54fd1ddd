// The metrics and the parser. Independent of the agent, so that Node can test it.

export const FILE = "/proc/stat";

export const METRICS = [
  {
    key: "processes",
    name: "forks_total",
    kind: "counter",
    unit: "{process}",
    description: "Processes and threads started since boot.",
  },
  {
    key: "procs_running",
    name: "running",
    kind: "gauge",
    unit: "{process}",
    description: "Runnable processes.",
  },
  {
    key: "procs_blocked",
    name: "blocked",
    kind: "gauge",
    unit: "{process}",
    description: "Processes blocked by a disk or another device.",
  },
];

// The numbers in a text by metric name.
export function parse(text) {
  const names = new Map(METRICS.map(({ key, name }) => [key, name]));
  const found = new Map();
  for (const line of text.split("\n")) {
    const [key, value] = line.split(" ");
    if (names.has(key)) {
      // Counters can exceed the exact range of a number.
      found.set(names.get(key), BigInt(value));
    }
  }
  return found;
}
