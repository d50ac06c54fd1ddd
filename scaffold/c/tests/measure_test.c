// Tests of measure.c and settings.c, for a compiler of this machine.
#undef NDEBUG
#include "../src/measure.h"
#include "../src/settings.h"

#include <assert.h>
#include <string.h>

static bool parse(const char *text, struct numbers *numbers) {
  return measure(text, strlen(text), numbers);
}

// A copy of a JSON text, in which the last settings are.
static char json[256];
static struct settings settings;
static struct wrong wrong;

static bool configure(const char *text) {
  memcpy(json, text, strlen(text) + 1);
  return read_settings(json, strlen(json), &settings, &wrong);
}

static bool is(struct text text, const char *expected) {
  return text.length == strlen(expected) && memcmp(text.at, expected, text.length) == 0;
}

static bool is_wrong(const char *text, const char *key, const char *message) {
  return !configure(text) && is(wrong.key, key) && strcmp(wrong.message, message) == 0;
}

int main(void) {
  struct numbers numbers;

  // Numbers are found among other lines.
  assert(parse("cpu 1 2 3\nctxt 9\nprocesses 1500\nprocs_running 3\nprocs_blocked 1\n", &numbers));
  assert(numbers.is_there[FORKS] && numbers.value[FORKS] == 1500);
  assert(numbers.is_there[RUNNING] && numbers.value[RUNNING] == 3);
  assert(numbers.is_there[BLOCKED] && numbers.value[BLOCKED] == 1);

  // Missing numbers are left out, and the end is respected.
  assert(parse("", &numbers) && !numbers.is_there[FORKS] && !numbers.is_there[RUNNING] && !numbers.is_there[BLOCKED]);
  assert(parse("procs_running_or_not 1\nprocs_runn", &numbers) && !numbers.is_there[RUNNING]);
  assert(measure("processes 15", 11, &numbers) && numbers.value[FORKS] == 1);

  // Values that are not numbers, or too large, fail.
  assert(!parse("processes many\n", &numbers));
  assert(!parse("processes \n", &numbers));
  assert(!parse("processes 18446744073709551616\n", &numbers));
  assert(parse("processes 18446744073709551615\n", &numbers) && numbers.value[FORKS] == UINT64_MAX);

  // The rate needs two ticks, and survives a reset.
  struct rate rate = {.has_last = false};
  double value;
  assert(!per_second(&rate, 100, 1000000000, &value));
  assert(per_second(&rate, 110, 3000000000, &value) && value == 5.0);
  assert(!per_second(&rate, 7, 4000000000, &value));
  assert(per_second(&rate, 8, 5000000000, &value) && value == 1.0);

  // Settings have defaults, and a wrong key is rejected.
  assert(configure("{}") && is(settings.file, DEFAULT_FILE));
  assert(configure(" { \"file\" : \"/srv/\\u00e4\\ud83d\\ude00\\n\" } ") && is(settings.file, "/srv/\u00e4\U0001F600\n"));
  const char *const unknown = "unknown key; remove it, or use one of file";
  assert(is_wrong("{\"path\":[{\"a\":\"}\"}],\"file\":\"/x\"}", "path", unknown));
  assert(is_wrong("{\"pa\\\"th\":1}", "pa\"th", unknown));
  assert(is_wrong("{\"file\":5}", "file", "write a path"));
  assert(is_wrong("{\"file\":\"\"}", "file", "write a path"));
  const char *const malformed[] = {"", "[]", "{\"file\":", "{\"file\"}", "{\"file\":\"a}", "{} x", "{\"a\":]}", "{\"a\": }",
                                   "{\"file\":\"\\u12\"}", "{\"file\":\"\\ud83d\"}", "{\"file\":\"\\"};
  for (size_t at = 0; at < sizeof malformed / sizeof *malformed; at++) {
    assert(is_wrong(malformed[at], "", "write a JSON object"));
  }
  return 0;
}
