// What is measured, and what is made of what was read. Knows nothing of the agent, so that Node tests it.

export const FILE = "/proc/stat";

export const METRICS = [
  {
    key: "processes",
    name: "forks_total",
    kind: "counter",
    unit: "{process}",
    description: "Processes and threads that were started since boot.",
  },
  {
    key: "procs_running",
    name: "running",
    kind: "gauge",
    unit: "{process}",
    description: "Processes that run or could.",
  },
  {
    key: "procs_blocked",
    name: "blocked",
    kind: "gauge",
    unit: "{process}",
    description: "Processes that wait for a disk or another device.",
  },
];

// The number behind each key of METRICS that is there, by the name of its metric.
export function parse(text) {
  const names = new Map(METRICS.map(({ key, name }) => [key, name]));
  const found = new Map();
  for (const line of text.split("\n")) {
    const [key, value] = line.split(" ");
    if (names.has(key)) {
      // Counters exceed what a number holds exactly.
      found.set(names.get(key), BigInt(value));
    }
  }
  return found;
}
