// The metrics and the parser. Independent of the agent, so that any compiler can test it.
#ifndef MEASURE_H
#define MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A metric, with the key of its line.
struct metric {
  const char *key;
  const char *name;
  bool is_counter;
  const char *unit;
  const char *description;
};

enum { METRICS = 3 };
extern const struct metric metrics[METRICS];

// The parsed numbers, in the order of `metrics`.
struct found {
  bool is_there[METRICS];
  uint64_t number[METRICS];
};

// Parses the metrics in a text. Missing ones are left out; returns false if a value is not a number.
bool measure(const char *text, size_t length, struct found *found);

#endif
