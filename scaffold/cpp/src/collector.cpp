// The plugin PLUGIN_NAME: the functions that the agent calls. The parser and the settings are in files of their own, with tests.
//
// The bindings free what these functions return: make strings by plugin::string, lists by plugin::list.

#include "../bindings/plugin.hpp"
#include "measure.h"
#include "settings.h"

#include <optional>
#include <string>

// The types of the WIT that are used here.
using About = exports_gauged_plugin_collector_about_t;
using Configured = exports_gauged_plugin_collector_configured_t;
using Error = exports_gauged_plugin_collector_error_t;
using Invalid = exports_gauged_plugin_collector_invalid_t;
using Need = exports_gauged_plugin_collector_need_t;
using Setting = exports_gauged_plugin_collector_setting_t;
using Tick = exports_gauged_plugin_collector_tick_t;
using Descriptor = gauged_plugin_metrics_descriptor_t;
using Label = gauged_plugin_metrics_label_t;
using Metric = gauged_plugin_metrics_metric_t;
using Module = gauged_plugin_metrics_module_t;
using Value = gauged_plugin_metrics_value_t;
using Modules = exports_gauged_plugin_collector_list_module_t;

namespace {

constexpr std::string_view VERSION = "0.1.0";
constexpr std::string_view MODULE = "PLUGIN_MODULE";

// Kept from tick to tick, until the plugin fails or is replaced.
Settings settings;
Rate fork_rate;

// The grant that the plugin needs, with a reason.
Need need() {
  return {
      .capability = {.kind = plugin::string("read"), .target = plugin::string(settings.file)},
      .reason = plugin::string("count processes"),
  };
}

Descriptor descriptor(std::string_view name, gauged_plugin_metrics_kind_t kind, std::string_view unit,
                      std::string_view description, decltype(Descriptor::labels) labels = {}) {
  const bool is_counter = kind == GAUGED_PLUGIN_METRICS_KIND_COUNTER;
  return {
      .module = plugin::string(MODULE),
      .name = plugin::string(name),
      .kind = kind,
      // The kernel's counters are zero at boot.
      .counts_from = static_cast<gauged_plugin_metrics_origin_t>(
          is_counter ? GAUGED_PLUGIN_METRICS_ORIGIN_BOOT : GAUGED_PLUGIN_METRICS_ORIGIN_UNKNOWN),
      .unit = plugin::string(unit),
      .description = plugin::string(description),
      .labels = labels,
  };
}

Value natural(std::uint64_t number) { return {.tag = GAUGED_PLUGIN_METRICS_VALUE_NATURAL, .val = {.natural = number}}; }

Value real(double number) { return {.tag = GAUGED_PLUGIN_METRICS_VALUE_NUMBER, .val = {.number = number}}; }

Metric metric(std::string_view name, Value value, const std::vector<Label> &labels = {}) {
  return {.name = plugin::string(name), .labels = plugin::list<decltype(Metric::labels)>(labels), .value = value};
}

Label state(std::string_view name) { return {.name = plugin::string("state"), .value = plugin::string(name)}; }

// Makes a failure of the host an error that defines the agent's next step.
Error read_error(const gauged_plugin_files_error_t &failure) {
  if (failure.tag == GAUGED_PLUGIN_FILES_ERROR_DENIED) {
    return {.tag = EXPORTS_GAUGED_PLUGIN_COLLECTOR_ERROR_DENIED, .val = {.denied = need()}};
  }
  const bool is_missing = failure.tag == GAUGED_PLUGIN_FILES_ERROR_NOT_FOUND;
  const std::string why = settings.file + (is_missing ? " does not exist" : " cannot be read");
  return {.tag = EXPORTS_GAUGED_PLUGIN_COLLECTOR_ERROR_UNAVAILABLE, .val = {.unavailable = plugin::string(why)}};
}

std::expected<Configured, Error> configure(std::string_view config) {
  auto read = read_settings(config);
  if (!read) {
    std::vector<Invalid> wrong;
    for (const auto &[key, message] : read.error()) wrong.push_back({plugin::string(key), plugin::string(message)});
    Error error = {.tag = EXPORTS_GAUGED_PLUGIN_COLLECTOR_ERROR_INVALID_CONFIG, .val = {}};
    error.val.invalid_config = plugin::list<decltype(error.val.invalid_config)>(wrong);
    return std::unexpected(error);
  }
  settings = std::move(*read);
  plugin::log(GAUGED_PLUGIN_LOG_LEVEL_DEBUG, "reads " + settings.file);
  return Configured{.needs = plugin::list<decltype(Configured::needs)>({need()}), .metrics = {}};
}

std::expected<std::vector<Module>, Error> collect(const Tick &tick) {
  const auto content = plugin::read(settings.file);
  if (!content) return std::unexpected(read_error(*content.error()));
  const auto numbers = measure(plugin::view(**content));
  if (!numbers) {
    const auto why = plugin::string(settings.file + " has an invalid number");
    return std::unexpected(Error{.tag = EXPORTS_GAUGED_PLUGIN_COLLECTOR_ERROR_FAILED, .val = {.failed = why}});
  }
  std::vector<Metric> metrics;
  if (numbers->forks) {
    metrics.push_back(metric("forks_total", natural(*numbers->forks)));
    const auto rate = fork_rate.per_second(*numbers->forks, tick.monotonic_ns);
    if (rate) metrics.push_back(metric("forks_per_second", real(*rate)));
  }
  if (numbers->running) metrics.push_back(metric("processes", natural(*numbers->running), {state("running")}));
  if (numbers->blocked) metrics.push_back(metric("processes", natural(*numbers->blocked), {state("blocked")}));
  if (metrics.empty()) {
    // A file without these lines will not have them later.
    const auto why = plugin::string(settings.file + " has no process counts");
    return std::unexpected(Error{.tag = EXPORTS_GAUGED_PLUGIN_COLLECTOR_ERROR_UNSUPPORTED, .val = {.unsupported = why}});
  }
  return std::vector{Module{
      .name = plugin::string(MODULE),
      .unix_ms = {},
      .verbatim = false,
      .metrics = plugin::list<decltype(Module::metrics)>(metrics),
      .descriptors = {},
  }};
}

// Passes a value or an error on to the bindings.
template <class T, class Result> bool pass(const std::expected<T, Error> &result, Result &&set, Error *error) {
  if (result) {
    set(*result);
  } else {
    *error = result.error();
  }
  return result.has_value();
}

} // namespace

void exports_gauged_plugin_collector_describe(About *about) {
  const auto states = plugin::list<decltype(Descriptor::labels)>({
      {plugin::string("state"), plugin::string("State of the processes: running or blocked")},
  });
  *about = {
      .version = plugin::string(VERSION),
      .description = plugin::string("Started, runnable and blocked processes."),
      .settings = plugin::list<decltype(About::settings)>({Setting{
          .key = plugin::string("file"),
          .value_type = plugin::string("text"),
          .default_value = {.is_some = true, .val = plugin::string("\"" + Settings().file + "\"")},
          .meaning = plugin::string("Path of the file to read."),
          .required = false,
          .secret = false,
      }}),
      .metrics = plugin::list<decltype(About::metrics)>({
          descriptor("forks_total", GAUGED_PLUGIN_METRICS_KIND_COUNTER, "{process}",
                     "Processes and threads started since boot."),
          descriptor("forks_per_second", GAUGED_PLUGIN_METRICS_KIND_GAUGE, "{process}/s",
                     "Processes and threads started per second since the last tick."),
          descriptor("processes", GAUGED_PLUGIN_METRICS_KIND_GAUGE, "{process}",
                     "Processes that are runnable, or blocked by a disk or another device.", states),
      }),
  };
}

bool exports_gauged_plugin_collector_configure(plugin_string_t *config, Configured *configured, Error *error) {
  const plugin::String owned(*config);
  return pass(configure(plugin::view(*owned)), [configured](const Configured &value) { *configured = value; }, error);
}

bool exports_gauged_plugin_collector_collect(Tick *tick, Modules *modules, Error *error) {
  const auto set = [modules](const std::vector<Module> &values) { *modules = plugin::list<Modules>(values); };
  return pass(collect(*tick), set, error);
}
