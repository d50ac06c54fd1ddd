#include "measure.h"

const struct metric metrics[METRICS] = {
    {"processes", "forks_total", true, "{process}", "Processes and threads started since boot."},
    {"procs_running", "running", false, "{process}", "Runnable processes."},
    {"procs_blocked", "blocked", false, "{process}", "Processes blocked by a disk or another device."},
};

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

bool measure(const char *text, size_t length, struct found *found) {
  const char *const end = text + length;
  for (size_t at = 0; at < METRICS; at++) found->is_there[at] = false;
  while (text < end) {
    const char *line_end = text;
    while (line_end < end && *line_end != '\n') line_end++;
    for (size_t at = 0; at < METRICS; at++) {
      const char *value = after(metrics[at].key, text, line_end);
      if (value == NULL) continue;
      if (!read_number(value, line_end, &found->number[at])) return false;
      found->is_there[at] = true;
    }
    text = line_end < end ? line_end + 1 : end;
  }
  return true;
}
