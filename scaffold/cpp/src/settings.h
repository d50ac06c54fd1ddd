// The settings: `config = { file = "…" }` under `[plugins.PLUGIN_NAME]`, which the agent gives to the plugin as JSON.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

struct Settings {
  // The path of the file to read.
  std::string file = "/proc/stat";
};

// A wrong key, and the remedy.
struct Wrong {
  std::string key;
  std::string message;
};

// Reads the settings of a JSON object; all wrong keys otherwise.
std::expected<Settings, std::vector<Wrong>> read_settings(std::string_view json);
