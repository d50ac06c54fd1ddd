// Tests of measure.cpp and settings.cpp, for a compiler of this machine.
#undef NDEBUG
#include "../src/measure.h"
#include "../src/settings.h"

#include <cassert>

// The first wrong key of settings, and its message.
static std::string wrong(std::string_view json) {
  const auto settings = read_settings(json);
  return settings ? "none" : settings.error()[0].key + ": " + settings.error()[0].message;
}

int main() {
  // Numbers are found among other lines.
  const auto numbers = measure("cpu 1 2 3\nctxt 9\nprocesses 1500\nprocs_running 3\nprocs_blocked 1\n");
  assert(numbers && numbers->forks == 1500 && numbers->running == 3 && numbers->blocked == 1);

  // Missing numbers are left out.
  const auto none = measure("cpu 1 2 3\n\nprocs_running_or_not 1\n");
  assert(none && !none->forks && !none->running && !none->blocked);

  // Values that are not numbers, or too large, fail.
  for (const auto text : {"processes many\n", "processes \n", "processes", "processes 18446744073709551616\n"}) {
    assert(!measure(text));
  }
  assert(measure("processes 18446744073709551615")->forks == UINT64_MAX);

  // The rate needs two ticks, and survives a reset.
  Rate rate;
  assert(!rate.per_second(100, 1'000'000'000));
  assert(rate.per_second(110, 3'000'000'000) == 5.0);
  assert(!rate.per_second(7, 4'000'000'000));
  assert(rate.per_second(8, 5'000'000'000) == 1.0);

  // Settings have defaults, and each wrong key is rejected.
  assert(read_settings("{}")->file == "/proc/stat");
  assert(read_settings(" { \"file\" : \"/srv/\\u00e4\\ud83d\\ude00\\n\" } ")->file == "/srv/\u00e4\U0001F600\n");
  assert(wrong("{\"path\":[{\"a\":\"}\"}],\"file\":\"/x\"}") == "path: unknown key; remove it, or use one of file");
  assert(wrong("{\"file\":5}") == "file: write a path");
  assert(wrong("{\"file\":\"\"}") == "file: write a path");
  assert(read_settings("{\"a\":1,\"file\":{}}").error().size() == 2);
  for (const auto json : {"", "[]", "{\"file\":", "{\"file\"}", "{\"file\":\"a}", "{} x", "{\"a\":]}", "{\"a\": }",
                          "{\"file\":\"\\u12\"}", "{\"file\":\"\\ud83d\"}", "{\"file\":\"\\"}) {
    assert(wrong(json) == ": write a JSON object");
  }
}
