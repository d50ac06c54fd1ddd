#include "measure.h"

// The keys of the lines, in the order of the numbers.
static const char *const keys[NUMBERS] = {"processes", "procs_running", "procs_blocked"};

// The text after a key and a space, if the line starts with them.
static const char *after(const char *key, const char *line, const char *end) {
  for (; *key != '\0'; key++, line++) {
    if (line == end || *line != *key) return NULL;
  }
  return line < end && *line == ' ' ? line + 1 : NULL;
}

// Parses a number that fills the text.
static bool read_number(const char *text, const char *end, uint64_t *number) {
  *number = 0;
  if (text == end) return false;
  for (; text < end; text++) {
    if (*text < '0' || *text > '9') return false;
    const uint64_t digit = (uint64_t)(*text - '0');
    if (*number > (UINT64_MAX - digit) / 10) return false;
    *number = *number * 10 + digit;
  }
  return true;
}

bool measure(const char *text, size_t length, struct numbers *numbers) {
  const char *const end = text + length;
  for (size_t at = 0; at < NUMBERS; at++) numbers->is_there[at] = false;
  while (text < end) {
    const char *line_end = text;
    while (line_end < end && *line_end != '\n') line_end++;
    for (size_t at = 0; at < NUMBERS; at++) {
      const char *value = after(keys[at], text, line_end);
      if (value == NULL) continue;
      if (!read_number(value, line_end, &numbers->value[at])) return false;
      numbers->is_there[at] = true;
    }
    text = line_end < end ? line_end + 1 : end;
  }
  return true;
}

bool per_second(struct rate *rate, uint64_t count, uint64_t monotonic_ns, double *value) {
  const struct rate last = *rate;
  *rate = (struct rate){.has_last = true, .count = count, .ns = monotonic_ns};
  if (!last.has_last || count < last.count || monotonic_ns <= last.ns) return false;
  *value = (double)(count - last.count) * 1e9 / (double)(monotonic_ns - last.ns);
  return true;
}
