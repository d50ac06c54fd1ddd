#include "settings.h"

#include <stdint.h>
#include <string.h>

// The rest of a JSON text.
struct json {
  char *at;
  char *end;
};

static void skip_white(struct json *json) {
  while (json->at < json->end && (*json->at == ' ' || *json->at == '\n' || *json->at == '\r' || *json->at == '\t')) json->at++;
}

// Takes a character and the white space before it.
static bool take(struct json *json, char character) {
  skip_white(json);
  if (json->at == json->end || *json->at != character) return false;
  json->at++;
  return true;
}

// Takes four hexadecimal digits.
static bool take_code(struct json *json, uint32_t *code) {
  *code = 0;
  for (int digits = 0; digits < 4; digits++, json->at++) {
    if (json->at == json->end) return false;
    const char digit = *json->at;
    *code *= 16;
    if (digit >= '0' && digit <= '9') {
      *code += (uint32_t)(digit - '0');
    } else if ((digit | 32) >= 'a' && (digit | 32) <= 'f') {
      *code += (uint32_t)((digit | 32) - 'a') + 10;
    } else {
      return false;
    }
  }
  return true;
}

static char *add_utf8(char *to, uint32_t code) {
  const int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  static const uint8_t first[] = {0, 0xC0, 0xE0, 0xF0};
  *to++ = (char)(first[more] | code >> (6 * more));
  for (int at = more - 1; at >= 0; at--) *to++ = (char)(0x80 | (code >> (6 * at) & 0x3F));
  return to;
}

// Takes an escape sequence after its backslash, and adds its character.
static bool take_escape(struct json *json, char **to) {
  static const char letters[] = "\"\\/bfnrt", characters[] = "\"\\/\b\f\n\r\t";
  if (json->at == json->end) return false;
  const char letter = *json->at++;
  for (size_t at = 0; letters[at] != '\0'; at++) {
    if (letters[at] != letter) continue;
    *(*to)++ = characters[at];
    return true;
  }
  uint32_t code;
  if (letter != 'u' || !take_code(json, &code)) return false;
  if (code >= 0xD800 && code < 0xDC00) {
    uint32_t low;
    if (json->end - json->at < 2 || json->at[0] != '\\' || json->at[1] != 'u') return false;
    json->at += 2;
    if (!take_code(json, &low)) return false;
    code = 0x10000 + ((code - 0xD800) << 10) + ((low - 0xDC00) & 0x3FF);
  }
  *to = add_utf8(*to, code);
  return true;
}

// Takes a string.
static bool take_text(struct json *json, struct text *text) {
  if (!take(json, '"')) return false;
  char *to = json->at;
  text->at = to;
  while (json->at < json->end) {
    const char character = *json->at++;
    if (character == '"') {
      text->length = (size_t)(to - text->at);
      return true;
    }
    if (character != '\\') {
      *to++ = character;
    } else if (!take_escape(json, &to)) {
      return false;
    }
  }
  return false;
}

// Takes any value but a string, with all that is in it.
static bool skip_value(struct json *json) {
  size_t depth = 0;
  for (size_t taken = 0;; taken++) {
    skip_white(json);
    if (json->at == json->end) return false;
    const char character = *json->at;
    if (depth == 0 && taken > 0 && (character == ',' || character == '}')) return true;
    struct text text;
    if (character == '"') {
      if (!take_text(json, &text)) return false;
      continue;
    }
    json->at++;
    if (character == '[' || character == '{') depth++;
    if (character == ']' || character == '}') {
      if (depth == 0) return false;
      depth--;
    }
  }
}

static bool is(struct text text, const char *expected) {
  return text.length == strlen(expected) && memcmp(text.at, expected, text.length) == 0;
}

bool read_settings(char *json, size_t length, struct settings *settings, struct wrong *wrong) {
  struct json rest = {json, json + length};
  *settings = (struct settings){.file = {DEFAULT_FILE, sizeof DEFAULT_FILE - 1}};
  *wrong = (struct wrong){.key = {"", 0}, .message = "write a JSON object"};
  if (!take(&rest, '{')) return false;
  for (bool is_first = true; !take(&rest, '}'); is_first = false) {
    struct text key, value;
    if (!is_first && !take(&rest, ',')) return false;
    if (!take_text(&rest, &key) || !take(&rest, ':')) return false;
    skip_white(&rest);
    const bool is_text = rest.at < rest.end && *rest.at == '"';
    if (!(is_text ? take_text(&rest, &value) : skip_value(&rest))) return false;
    if (!is(key, "file")) {
      *wrong = (struct wrong){.key = key, .message = "unknown key; remove it, or use one of file"};
      return false;
    }
    if (!is_text || value.length == 0) {
      *wrong = (struct wrong){.key = key, .message = "write a path"};
      return false;
    }
    settings->file = value;
  }
  skip_white(&rest);
  return rest.at == rest.end;
}
