// The plugin PLUGIN_NAME: the functions that the agent calls. The parser is in measure.c, with its own tests.
//
// bindings/plugin.c frees returned values after the call: make strings by plugin_string_dup, lists by make_list. Received
// values are freed here.

#include "../bindings/plugin.h"
#include "measure.h"

#include <stdlib.h>
#include <string.h>

#define MODULE "PLUGIN_MODULE"
#define VERSION "0.1.0"
#define DESCRIPTION "Started, runnable and blocked processes."
#define FILE_READ "/proc/stat"

// Allocates a list. Without memory the plugin aborts: the agent counts a fault and restarts it.
static void *make_list(size_t count, size_t size) {
  void *list = malloc(count * size);
  if (list == NULL) abort();
  memset(list, 0, count * size);
  return list;
}

static void write_log(gauged_plugin_log_level_t level, const char *message) {
  plugin_string_t text;
  plugin_string_set(&text, message);
  gauged_plugin_log_log(level, &text);
}

// The grant that the plugin needs, with a reason.
static void set_need(exports_gauged_plugin_collector_need_t *need) {
  plugin_string_dup(&need->capability.kind, "read");
  plugin_string_dup(&need->capability.target, FILE_READ);
  plugin_string_dup(&need->reason, "count processes");
}

void exports_gauged_plugin_collector_describe(exports_gauged_plugin_collector_about_t *ret) {
  plugin_string_dup(&ret->version, VERSION);
  plugin_string_dup(&ret->description, DESCRIPTION);
  // The plugin has no settings.
  ret->settings.len = 0;
  ret->settings.ptr = NULL;
  ret->metrics.len = METRICS;
  ret->metrics.ptr = make_list(METRICS, sizeof *ret->metrics.ptr);
  for (size_t at = 0; at < METRICS; at++) {
    exports_gauged_plugin_collector_descriptor_t *descriptor = &ret->metrics.ptr[at];
    plugin_string_dup(&descriptor->module, MODULE);
    plugin_string_dup(&descriptor->name, metrics[at].name);
    descriptor->kind =
        metrics[at].is_counter ? GAUGED_PLUGIN_METRICS_KIND_COUNTER : GAUGED_PLUGIN_METRICS_KIND_GAUGE;
    // The kernel's counters are zero at boot.
    descriptor->counts_from = GAUGED_PLUGIN_METRICS_ORIGIN_BOOT;
    plugin_string_dup(&descriptor->unit, metrics[at].unit);
    plugin_string_dup(&descriptor->description, metrics[at].description);
  }
}

// The plugin has no settings: the configuration must be an empty JSON object.
static bool is_empty_object(const plugin_string_t *config) {
  const char *expected = "{}";
  for (size_t at = 0; at < config->len; at++) {
    const char character = (char)config->ptr[at];
    if (character == ' ' || character == '\n' || character == '\t' || character == '\r') continue;
    if (*expected == '\0' || *expected != character) return false;
    expected++;
  }
  return *expected == '\0';
}

bool exports_gauged_plugin_collector_configure(plugin_string_t *config,
                                               exports_gauged_plugin_collector_configured_t *ret,
                                               exports_gauged_plugin_collector_error_t *err) {
  const bool is_empty = is_empty_object(config);
  plugin_string_free(config);
  if (!is_empty) {
    err->tag = EXPORTS_GAUGED_PLUGIN_COLLECTOR_ERROR_INVALID_CONFIG;
    err->val.invalid_config.len = 1;
    err->val.invalid_config.ptr = make_list(1, sizeof *err->val.invalid_config.ptr);
    plugin_string_dup(&err->val.invalid_config.ptr[0].key, "");
    plugin_string_dup(&err->val.invalid_config.ptr[0].message, "this plugin has no configuration; remove `config`");
    return false;
  }
  write_log(GAUGED_PLUGIN_LOG_LEVEL_DEBUG, "reads " FILE_READ);
  ret->needs.len = 1;
  ret->needs.ptr = make_list(1, sizeof *ret->needs.ptr);
  set_need(&ret->needs.ptr[0]);
  ret->metrics.len = 0;
  ret->metrics.ptr = NULL;
  return true;
}

// Reads the file. A failure becomes an error that defines the agent's next step.
static bool read_file(plugin_list_u8_t *content, exports_gauged_plugin_collector_error_t *err) {
  plugin_string_t path;
  plugin_string_set(&path, FILE_READ);
  gauged_plugin_files_error_t failure;
  if (gauged_plugin_files_read(&path, content, &failure)) return true;
  if (failure.tag == GAUGED_PLUGIN_FILES_ERROR_DENIED) {
    err->tag = EXPORTS_GAUGED_PLUGIN_COLLECTOR_ERROR_DENIED;
    set_need(&err->val.denied);
  } else {
    err->tag = EXPORTS_GAUGED_PLUGIN_COLLECTOR_ERROR_UNAVAILABLE;
    plugin_string_dup(&err->val.unavailable, FILE_READ " cannot be read");
  }
  gauged_plugin_files_error_free(&failure);
  return false;
}

bool exports_gauged_plugin_collector_collect(exports_gauged_plugin_collector_tick_t *tick,
                                             exports_gauged_plugin_collector_list_module_t *ret,
                                             exports_gauged_plugin_collector_error_t *err) {
  (void)tick;
  plugin_list_u8_t content;
  if (!read_file(&content, err)) return false;
  struct found found;
  const bool is_understood = measure((const char *)content.ptr, content.len, &found);
  plugin_list_u8_free(&content);
  if (!is_understood) {
    err->tag = EXPORTS_GAUGED_PLUGIN_COLLECTOR_ERROR_FAILED;
    plugin_string_dup(&err->val.failed, FILE_READ " has an invalid number");
    return false;
  }
  size_t count = 0;
  for (size_t at = 0; at < METRICS; at++) count += found.is_there[at];
  if (count == 0) {
    // A file without these lines will not have them later.
    err->tag = EXPORTS_GAUGED_PLUGIN_COLLECTOR_ERROR_UNSUPPORTED;
    plugin_string_dup(&err->val.unsupported, FILE_READ " has no process counts");
    return false;
  }
  gauged_plugin_metrics_metric_t *metric = make_list(count, sizeof *metric);
  ret->len = 1;
  ret->ptr = make_list(1, sizeof *ret->ptr);
  plugin_string_dup(&ret->ptr[0].name, MODULE);
  ret->ptr[0].metrics.len = count;
  ret->ptr[0].metrics.ptr = metric;
  for (size_t at = 0; at < METRICS; at++) {
    if (!found.is_there[at]) continue;
    plugin_string_dup(&metric->name, metrics[at].name);
    metric->value.tag = GAUGED_PLUGIN_METRICS_VALUE_NATURAL;
    metric->value.val.natural = found.number[at];
    metric++;
  }
  return true;
}
