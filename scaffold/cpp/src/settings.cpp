#include "settings.h"

#include <charconv>
#include <cstdint>
#include <optional>

namespace {

constexpr std::string_view WHITE = " \n\r\t";

// The rest of a JSON text. The agent writes valid JSON; the reader checks what it reads all the same.
class Json {
public:
  explicit Json(std::string_view text) : rest_(text) {}

  // Takes a character and the white space before it.
  bool take(char character) {
    const std::size_t at = rest_.find_first_not_of(WHITE);
    if (at == std::string_view::npos || rest_[at] != character) return false;
    rest_.remove_prefix(at + 1);
    return true;
  }

  bool is_empty() const { return rest_.find_first_not_of(WHITE) == std::string_view::npos; }

  // Takes a string.
  std::optional<std::string> string() {
    if (!take('"')) return std::nullopt;
    std::string text;
    while (!rest_.empty()) {
      const char character = next();
      if (character == '"') return text;
      if (character != '\\') {
        text += character;
      } else if (!escaped(text)) {
        return std::nullopt;
      }
    }
    return std::nullopt;
  }

  // Takes any value but a string, with all that is in it.
  bool skip() {
    std::size_t depth = 0;
    std::size_t taken = 0;
    while (!is_empty()) {
      rest_.remove_prefix(rest_.find_first_not_of(WHITE));
      if (depth == 0 && taken > 0 && (rest_[0] == ',' || rest_[0] == '}')) return true;
      if (rest_[0] == '"') {
        if (!string()) return false;
      } else {
        const char character = next();
        if (character == '[' || character == '{') depth++;
        if (character == ']' || character == '}') {
          if (depth == 0) return false;
          depth--;
        }
      }
      taken++;
    }
    return false;
  }

private:
  char next() {
    const char character = rest_[0];
    rest_.remove_prefix(1);
    return character;
  }

  // Adds the character of an escape sequence, after its backslash.
  bool escaped(std::string &text) {
    static constexpr std::string_view letters = "\"\\/bfnrt", characters = "\"\\/\b\f\n\r\t";
    if (rest_.empty()) return false;
    const char letter = next();
    if (const std::size_t at = letters.find(letter); at != std::string_view::npos) {
      text += characters[at];
      return true;
    }
    if (letter != 'u') return false;
    auto code = hexadecimal();
    if (code && *code >= 0xD800 && *code < 0xDC00) {
      if (!rest_.starts_with("\\u")) return false;
      rest_.remove_prefix(2);
      const auto low = hexadecimal();
      code = low ? std::optional(0x10000 + ((*code - 0xD800) << 10) + ((*low - 0xDC00) & 0x3FF)) : std::nullopt;
    }
    if (!code) return false;
    utf8(*code, text);
    return true;
  }

  std::optional<std::uint32_t> hexadecimal() {
    std::uint32_t code = 0;
    const std::string_view digits = rest_.substr(0, 4);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (error != std::errc() || end != digits.data() + 4) return std::nullopt;
    rest_.remove_prefix(4);
    return code;
  }

  static void utf8(std::uint32_t code, std::string &text) {
    const auto add = [&text](std::uint32_t byte) { text += static_cast<char>(byte); };
    if (code < 0x80) return add(code);
    if (code < 0x800) {
      add(0xC0 | code >> 6);
    } else if (code < 0x10000) {
      add(0xE0 | code >> 12), add(0x80 | (code >> 6 & 0x3F));
    } else {
      add(0xF0 | code >> 18), add(0x80 | (code >> 12 & 0x3F)), add(0x80 | (code >> 6 & 0x3F));
    }
    add(0x80 | (code & 0x3F));
  }

  std::string_view rest_;
};

} // namespace

std::expected<Settings, std::vector<Wrong>> read_settings(std::string_view text) {
  const auto malformed = [] { return std::unexpected(std::vector{Wrong{"", "write a JSON object"}}); };
  Json json(text);
  Settings settings;
  std::vector<Wrong> wrong;
  if (!json.take('{')) return malformed();
  for (bool is_first = true; !json.take('}'); is_first = false) {
    if (!is_first && !json.take(',')) return malformed();
    const auto key = json.string();
    if (!key || !json.take(':')) return malformed();
    const auto value = json.string();
    if (!value && !json.skip()) return malformed();
    if (key != "file") {
      wrong.push_back({*key, "unknown key; remove it, or use one of file"});
    } else if (!value || value->empty()) {
      wrong.push_back({*key, "write a path"});
    } else {
      settings.file = *value;
    }
  }
  if (!json.is_empty()) return malformed();
  if (!wrong.empty()) return std::unexpected(std::move(wrong));
  return settings;
}
