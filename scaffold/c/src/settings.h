// The settings: `config = { file = "…" }` under `[plugins.PLUGIN_NAME]`, which the agent gives to the plugin as JSON.
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#define DEFAULT_FILE "/proc/stat"

// A text without a zero at its end.
struct text {
  const char *at;
  size_t length;
};

struct settings {
  // The path of the file to read.
  struct text file;
};

// A wrong key, and the remedy.
struct wrong {
  struct text key;
  const char *message;
};

// Reads the settings of a JSON object; returns false with the first wrong key. The texts stay in the memory of the JSON, where
// their escape sequences are replaced.
bool read_settings(char *json, size_t length, struct settings *settings, struct wrong *wrong);

#endif
