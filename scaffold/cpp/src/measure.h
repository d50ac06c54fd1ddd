// The parser and the rate. Independent of the agent, so that any compiler can test them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

// The numbers in the file. A line that is not there has none.
struct Numbers {
  std::optional<std::uint64_t> forks;
  std::optional<std::uint64_t> running;
  std::optional<std::uint64_t> blocked;
};

// Parses the numbers in a text; none if a value is not a number.
std::optional<Numbers> measure(std::string_view text);

// The rate of a counter from one tick to the next.
class Rate {
public:
  // The rate since the last call; none at the first one, and after the counter was reset.
  std::optional<double> per_second(std::uint64_t count, std::uint64_t monotonic_ns);

private:
  struct Reading {
    std::uint64_t count;
    std::uint64_t ns;
  };
  std::optional<Reading> last_;
};
