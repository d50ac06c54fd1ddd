// What the bindings for C need to be used from C++: strings, lists and values that free themselves. The functions and types of the
// WIT are in plugin.h, with their C names.
#pragma once

#include "plugin.h"

#include <algorithm>
#include <cstdlib>
#include <expected>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace plugin {

// Memory for a string or list that the bindings free. Without memory the plugin aborts: the agent counts a fault and restarts it.
template <class T> T *allocate(std::size_t count) {
  static_assert(std::is_trivially_copyable_v<T>, "a type of plugin.h");
  if (count == 0) return nullptr;
  auto *memory = static_cast<T *>(std::calloc(count, sizeof(T)));
  if (memory == nullptr) std::abort();
  return memory;
}

// A string to return to the host, which the bindings free.
inline plugin_string_t string(std::string_view text) {
  auto *bytes = allocate<uint8_t>(text.size());
  std::copy(text.begin(), text.end(), bytes);
  return {bytes, text.size()};
}

// A string for the host to read during a call.
inline plugin_string_t borrowed(std::string_view text) {
  return {reinterpret_cast<uint8_t *>(const_cast<char *>(text.data())), text.size()};
}

// A list to return to the host, which the bindings free, of a list type of plugin.h. Its values are moved into it.
template <class List> List list(const std::vector<std::remove_pointer_t<decltype(List::ptr)>> &values) {
  auto *elements = allocate<std::remove_pointer_t<decltype(List::ptr)>>(values.size());
  std::copy(values.begin(), values.end(), elements);
  return {elements, values.size()};
}

// A value that the host returned, and how the bindings free it.
template <class T, void (*Free)(T *)> class Owned {
public:
  explicit Owned(T value) : value_(value) {}
  Owned(Owned &&other) noexcept : value_(std::exchange(other.value_, T{})) {}
  Owned &operator=(Owned &&other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~Owned() { Free(&value_); }

  const T &operator*() const { return value_; }
  const T *operator->() const { return &value_; }

private:
  T value_;
};

using String = Owned<plugin_string_t, plugin_string_free>;
using Bytes = Owned<plugin_list_u8_t, plugin_list_u8_free>;

// The text of a string or the bytes of a file, as long as they live.
template <class Text> std::string_view view(const Text &text) {
  return {reinterpret_cast<const char *>(text.ptr), text.len};
}

// Writes a line to the log.
inline void log(gauged_plugin_log_level_t level, std::string_view message) {
  auto text = borrowed(message);
  gauged_plugin_log_log(level, &text);
}

using FileError = Owned<gauged_plugin_files_error_t, gauged_plugin_files_error_free>;

// Reads a whole file.
inline std::expected<Bytes, FileError> read(std::string_view path) {
  auto text = borrowed(path);
  plugin_list_u8_t content;
  gauged_plugin_files_error_t error;
  if (!gauged_plugin_files_read(&text, &content, &error)) return std::unexpected(FileError(error));
  return Bytes(content);
}

} // namespace plugin
