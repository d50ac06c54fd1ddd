// What is measured, and what is made of what was read. Knows nothing of the agent, so that any compiler tests it.
#ifndef MEASURE_H
#define MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A metric, and the key of the line that it is found on.
struct metric {
  const char *key;
  const char *name;
  bool is_counter;
  const char *unit;
  const char *description;
};

enum { METRICS = 3 };
extern const struct metric metrics[METRICS];

// The numbers that were found, in the order of `metrics`.
struct found {
  bool is_there[METRICS];
  uint64_t number[METRICS];
};

// Looks for each metric in a text. Answers whether all that is there is a number; what is not there is left out.
bool measure(const char *text, size_t length, struct found *found);

#endif
