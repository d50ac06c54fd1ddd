// Tests of measure.c, for a compiler of this machine.
#include "../src/measure.h"

#include <assert.h>
#include <string.h>

static bool parse(const char *text, struct found *found) {
  return measure(text, strlen(text), found);
}

int main(void) {
  struct found found;

  // Metrics are found among other lines.
  assert(parse("cpu 1 2 3\nctxt 9\nprocesses 1500\nprocs_running 3\nprocs_blocked 1\n", &found));
  assert(found.is_there[0] && found.number[0] == 1500);
  assert(found.is_there[1] && found.number[1] == 3);
  assert(found.is_there[2] && found.number[2] == 1);

  // Missing metrics are left out, and the end is respected.
  assert(parse("", &found) && !found.is_there[0] && !found.is_there[1] && !found.is_there[2]);
  assert(parse("procs_running_or_not 1\nprocs_runn", &found) && !found.is_there[1]);
  assert(measure("processes 15", 11, &found) && found.number[0] == 1);

  // Values that are not numbers, or too large, fail.
  assert(!parse("processes many\n", &found));
  assert(!parse("processes \n", &found));
  assert(!parse("processes 18446744073709551616\n", &found));
  assert(parse("processes 18446744073709551615\n", &found) && found.number[0] == UINT64_MAX);

  // Names of counters end in _total.
  for (size_t at = 0; at < METRICS; at++) {
    const char *const name = metrics[at].name;
    const bool is_total = strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0;
    assert(metrics[at].is_counter == is_total);
  }
  return 0;
}
