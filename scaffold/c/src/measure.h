// The parser and the rate. Independent of the agent, so that any compiler can test them.
#ifndef MEASURE_H
#define MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The numbers in the file.
enum { FORKS, RUNNING, BLOCKED, NUMBERS };

struct numbers {
  // Whether the file has its line.
  bool is_there[NUMBERS];
  uint64_t value[NUMBERS];
};

// Parses the numbers in a text. Missing ones are left out; returns false if a value is not a number.
bool measure(const char *text, size_t length, struct numbers *numbers);

// A counter at the last tick; zero before the first one.
struct rate {
  bool has_last;
  uint64_t count;
  uint64_t ns;
};

// The rate since the last tick. Returns false at the first one, and after the counter was reset.
bool per_second(struct rate *rate, uint64_t count, uint64_t monotonic_ns, double *value);

#endif
