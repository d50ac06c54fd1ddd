#include "measure.h"

#include <charconv>
#include <utility>

std::optional<Numbers> measure(std::string_view text) {
  Numbers numbers;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(line.size() < text.size() ? line.size() + 1 : line.size());
    const std::string_view key = line.substr(0, line.find(' '));
    std::optional<std::uint64_t> *number = nullptr;
    if (key == "processes") number = &numbers.forks;
    if (key == "procs_running") number = &numbers.running;
    if (key == "procs_blocked") number = &numbers.blocked;
    if (number == nullptr) continue;
    const std::string_view word = key.size() < line.size() ? line.substr(key.size() + 1) : "";
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
    *number = value;
  }
  return numbers;
}

std::optional<double> Rate::per_second(std::uint64_t count, std::uint64_t monotonic_ns) {
  const auto before = std::exchange(last_, Reading{count, monotonic_ns});
  if (!before || count < before->count || monotonic_ns <= before->ns) return std::nullopt;
  return static_cast<double>(count - before->count) * 1e9 / static_cast<double>(monotonic_ns - before->ns);
}
