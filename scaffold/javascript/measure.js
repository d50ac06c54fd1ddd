// The metrics, the parser and the rate. Independent of the agent, so that Node can test them.

export const FILE = "/proc/stat";

export const METRICS = [
  {
    name: "forks_total",
    kind: "counter",
    unit: "{process}",
    description: "Processes and threads started since boot.",
    labels: [],
  },
  {
    name: "forks_per_second",
    kind: "gauge",
    unit: "{process}/s",
    description: "Processes and threads started per second since the last tick.",
    labels: [],
  },
  {
    name: "processes",
    kind: "gauge",
    unit: "{process}",
    description: "Processes that are runnable, or blocked by a disk or another device.",
    labels: [{ name: "state", meaning: "State of the processes: running or blocked" }],
  },
];

// The numbers in a text by the keys of their lines.
export function parse(text, keys) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const [key, value] = line.split(" ");
    if (keys.includes(key)) {
      // Counters can exceed the exact range of a number.
      found.set(key, BigInt(value));
    }
  }
  return found;
}

// The rate of a counter from one tick to the next.
export class Rate {
  #last;

  // The rate since the last call; none at the first one, and after the counter was reset.
  perSecond(count, ns) {
    const last = this.#last;
    this.#last = { count, ns };
    if (last === undefined || count < last.count || ns <= last.ns) {
      return undefined;
    }
    return (Number(count - last.count) * 1e9) / Number(ns - last.ns);
  }
}
