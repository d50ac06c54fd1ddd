// The plugin PLUGIN_NAME: the functions that the agent calls. The parser and the settings are in files of their own, with tests.
//
// bindings/plugin.c frees returned values after the call: make strings by plugin_string_dup or set_text, lists by make_list.
// Received values are freed here.

#include "../bindings/plugin.h"
#include "measure.h"
#include "settings.h"

#include <stdlib.h>
#include <string.h>

#define MODULE "PLUGIN_MODULE"
#define VERSION "0.1.0"
#define DESCRIPTION "Started, runnable and blocked processes."

// The types of the WIT that are used often.
typedef exports_gauged_plugin_collector_error_t error_t;
typedef exports_gauged_plugin_collector_need_t need_t;
typedef gauged_plugin_metrics_descriptor_t descriptor_t;
typedef gauged_plugin_metrics_metric_t metric_t;

// Kept from tick to tick, until the plugin fails or is replaced.
static struct settings settings;
static struct rate fork_rate;

// Allocates a list. Without memory the plugin aborts: the agent counts a fault and restarts it.
static void *make_list(size_t count, size_t size) {
  void *list = malloc(count * size);
  if (list == NULL) abort();
  memset(list, 0, count * size);
  return list;
}

// Makes a string of a text and what follows it.
static void set_text(plugin_string_t *string, struct text text, const char *more) {
  const size_t length = strlen(more);
  string->len = text.length + length;
  string->ptr = make_list(string->len, 1);
  memcpy(string->ptr, text.at, text.length);
  memcpy(string->ptr + text.length, more, length);
}

static void write_log(gauged_plugin_log_level_t level, const char *message) {
  plugin_string_t text;
  plugin_string_set(&text, message);
  gauged_plugin_log_log(level, &text);
}

// The grant that the plugin needs, with a reason.
static void set_need(need_t *need) {
  plugin_string_dup(&need->capability.kind, "read");
  set_text(&need->capability.target, settings.file, "");
  plugin_string_dup(&need->reason, "count processes");
}

static void set_descriptor(descriptor_t *descriptor, const char *name, gauged_plugin_metrics_kind_t kind,
                           const char *unit, const char *description) {
  plugin_string_dup(&descriptor->module, MODULE);
  plugin_string_dup(&descriptor->name, name);
  descriptor->kind = kind;
  // The kernel's counters are zero at boot.
  descriptor->counts_from =
      kind == GAUGED_PLUGIN_METRICS_KIND_COUNTER ? GAUGED_PLUGIN_METRICS_ORIGIN_BOOT : GAUGED_PLUGIN_METRICS_ORIGIN_UNKNOWN;
  plugin_string_dup(&descriptor->unit, unit);
  plugin_string_dup(&descriptor->description, description);
}

void exports_gauged_plugin_collector_describe(exports_gauged_plugin_collector_about_t *ret) {
  plugin_string_dup(&ret->version, VERSION);
  plugin_string_dup(&ret->description, DESCRIPTION);

  ret->settings.len = 1;
  ret->settings.ptr = make_list(1, sizeof *ret->settings.ptr);
  exports_gauged_plugin_collector_setting_t *setting = &ret->settings.ptr[0];
  plugin_string_dup(&setting->key, "file");
  plugin_string_dup(&setting->value_type, "text");
  setting->default_value.is_some = true;
  plugin_string_dup(&setting->default_value.val, "\"" DEFAULT_FILE "\"");
  plugin_string_dup(&setting->meaning, "Path of the file to read.");

  ret->metrics.len = 3;
  ret->metrics.ptr = make_list(3, sizeof *ret->metrics.ptr);
  set_descriptor(&ret->metrics.ptr[0], "forks_total", GAUGED_PLUGIN_METRICS_KIND_COUNTER, "{process}",
                 "Processes and threads started since boot.");
  set_descriptor(&ret->metrics.ptr[1], "forks_per_second", GAUGED_PLUGIN_METRICS_KIND_GAUGE, "{process}/s",
                 "Processes and threads started per second since the last tick.");
  descriptor_t *processes = &ret->metrics.ptr[2];
  set_descriptor(processes, "processes", GAUGED_PLUGIN_METRICS_KIND_GAUGE, "{process}",
                 "Processes that are runnable, or blocked by a disk or another device.");
  processes->labels.len = 1;
  processes->labels.ptr = make_list(1, sizeof *processes->labels.ptr);
  plugin_string_dup(&processes->labels.ptr[0].name, "state");
  plugin_string_dup(&processes->labels.ptr[0].meaning, "State of the processes: running or blocked");
}

bool exports_gauged_plugin_collector_configure(plugin_string_t *config,
                                               exports_gauged_plugin_collector_configured_t *ret, error_t *err) {
  // The settings are in the memory of `config`, which is kept.
  struct wrong wrong;
  if (!read_settings((char *)config->ptr, config->len, &settings, &wrong)) {
    err->tag = EXPORTS_GAUGED_PLUGIN_COLLECTOR_ERROR_INVALID_CONFIG;
    err->val.invalid_config.len = 1;
    err->val.invalid_config.ptr = make_list(1, sizeof *err->val.invalid_config.ptr);
    set_text(&err->val.invalid_config.ptr[0].key, wrong.key, "");
    plugin_string_dup(&err->val.invalid_config.ptr[0].message, wrong.message);
    return false;
  }
  write_log(GAUGED_PLUGIN_LOG_LEVEL_DEBUG, "configured");
  ret->needs.len = 1;
  ret->needs.ptr = make_list(1, sizeof *ret->needs.ptr);
  set_need(&ret->needs.ptr[0]);
  ret->metrics.len = 0;
  ret->metrics.ptr = NULL;
  return true;
}

// Reads the file. A failure becomes an error that defines the agent's next step.
static bool read_file(plugin_list_u8_t *content, error_t *err) {
  plugin_string_t path = {(uint8_t *)settings.file.at, settings.file.length};
  gauged_plugin_files_error_t failure;
  if (gauged_plugin_files_read(&path, content, &failure)) return true;
  if (failure.tag == GAUGED_PLUGIN_FILES_ERROR_DENIED) {
    err->tag = EXPORTS_GAUGED_PLUGIN_COLLECTOR_ERROR_DENIED;
    set_need(&err->val.denied);
  } else {
    const bool is_missing = failure.tag == GAUGED_PLUGIN_FILES_ERROR_NOT_FOUND;
    err->tag = EXPORTS_GAUGED_PLUGIN_COLLECTOR_ERROR_UNAVAILABLE;
    set_text(&err->val.unavailable, settings.file, is_missing ? " does not exist" : " cannot be read");
  }
  gauged_plugin_files_error_free(&failure);
  return false;
}

// Sets a metric, and its label `state` if there is one. Returns the next one.
static metric_t *set_metric(metric_t *metric, const char *name, const char *state, gauged_plugin_metrics_value_t value) {
  plugin_string_dup(&metric->name, name);
  metric->value = value;
  if (state != NULL) {
    metric->labels.len = 1;
    metric->labels.ptr = make_list(1, sizeof *metric->labels.ptr);
    plugin_string_dup(&metric->labels.ptr[0].name, "state");
    plugin_string_dup(&metric->labels.ptr[0].value, state);
  }
  return metric + 1;
}

static gauged_plugin_metrics_value_t natural(uint64_t number) {
  return (gauged_plugin_metrics_value_t){.tag = GAUGED_PLUGIN_METRICS_VALUE_NATURAL, .val.natural = number};
}

bool exports_gauged_plugin_collector_collect(exports_gauged_plugin_collector_tick_t *tick,
                                             exports_gauged_plugin_collector_list_module_t *ret, error_t *err) {
  plugin_list_u8_t content;
  if (!read_file(&content, err)) return false;
  struct numbers numbers;
  const bool is_understood = measure((const char *)content.ptr, content.len, &numbers);
  plugin_list_u8_free(&content);
  if (!is_understood) {
    err->tag = EXPORTS_GAUGED_PLUGIN_COLLECTOR_ERROR_FAILED;
    set_text(&err->val.failed, settings.file, " has an invalid number");
    return false;
  }
  // One for each number, and the rate.
  metric_t *const metrics = make_list(NUMBERS + 1, sizeof *metrics), *next = metrics;
  double rate;
  if (numbers.is_there[FORKS]) {
    next = set_metric(next, "forks_total", NULL, natural(numbers.value[FORKS]));
    if (per_second(&fork_rate, numbers.value[FORKS], tick->monotonic_ns, &rate)) {
      const gauged_plugin_metrics_value_t value = {.tag = GAUGED_PLUGIN_METRICS_VALUE_NUMBER, .val.number = rate};
      next = set_metric(next, "forks_per_second", NULL, value);
    }
  }
  if (numbers.is_there[RUNNING]) next = set_metric(next, "processes", "running", natural(numbers.value[RUNNING]));
  if (numbers.is_there[BLOCKED]) next = set_metric(next, "processes", "blocked", natural(numbers.value[BLOCKED]));
  if (next == metrics) {
    // A file without these lines will not have them later.
    free(metrics);
    err->tag = EXPORTS_GAUGED_PLUGIN_COLLECTOR_ERROR_UNSUPPORTED;
    set_text(&err->val.unsupported, settings.file, " has no process counts");
    return false;
  }
  ret->len = 1;
  ret->ptr = make_list(1, sizeof *ret->ptr);
  plugin_string_dup(&ret->ptr[0].name, MODULE);
  ret->ptr[0].metrics.len = (size_t)(next - metrics);
  ret->ptr[0].metrics.ptr = metrics;
  return true;
}
