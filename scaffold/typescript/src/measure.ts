// The parser and the rate. Independent of the agent, so that Node can test them.

/** The numbers in a text by the keys of their lines. */
export function parse(text: string, keys: readonly string[]): Map<string, bigint> {
  const numbers = new Map<string, bigint>();
  for (const line of text.split("\n")) {
    const [key = "", value = ""] = line.split(" ");
    if (keys.includes(key)) {
      if (!/^\d+$/.test(value)) {
        throw new SyntaxError(`${key} is not a number: ${value}`);
      }
      // Counters can exceed the exact range of a number.
      numbers.set(key, BigInt(value));
    }
  }
  return numbers;
}

/** The rate of a counter from one tick to the next. */
export class Rate {
  #last: { count: bigint; ns: bigint } | undefined;

  /** The rate since the last call; none at the first one, and after the counter was reset. */
  perSecond(count: bigint, ns: bigint): number | undefined {
    const last = this.#last;
    this.#last = { count, ns };
    if (last === undefined || count < last.count || ns <= last.ns) {
      return undefined;
    }
    return (Number(count - last.count) * 1e9) / Number(ns - last.ns);
  }
}
