// Looks through JSON in place, member by member, without building anything. It follows the structure (strings, escapes,
// nesting) and leaves the inside of values that nobody asks for unchecked.
#pragma once

#include <cstdint>
#include <string_view>

namespace websocket {

// The members of an object, or the elements of an array, in their order.
class JsonScan {
 public:
  // The key of the member that `next` found, as it is written; empty for an element.
  std::string_view key;
  // Its value as it is written: a text with its quotes, an object with its braces.
  std::string_view value;
  // False once the text was found to be no JSON.
  bool isSound = true;

  explicit JsonScan(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {
    skipSpace();
    isObject_ = at_ < end_ && *at_ == '{';
    if (isObject_ || (at_ < end_ && *at_ == '[')) at_ += 1;
    else isSound = false;
  }

  // Goes to the next member; false at the end, and where the text is no JSON.
  bool next() {
    skipSpace();
    if (!isSound || at_ == end_) return fail();
    if (*at_ == (isObject_ ? '}' : ']')) return false;
    if (!isFirst_) {
      if (*at_ != ',') return fail();
      at_ += 1;
      skipSpace();
    }
    isFirst_ = false;
    if (isObject_) {
      const char* from = at_;
      if (!skipText()) return fail();
      key = {from + 1, static_cast<size_t>(at_ - from) - 2};
      skipSpace();
      if (at_ == end_ || *at_ != ':') return fail();
      at_ += 1;
      skipSpace();
    }
    const char* from = at_;
    if (!skipValue() || at_ == from) return fail();
    value = {from, static_cast<size_t>(at_ - from)};
    return true;
  }

 private:
  bool fail() {
    isSound = false;
    return false;
  }

  void skipSpace() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) at_ += 1;
  }

  bool skipText() {
    if (at_ == end_ || *at_ != '"') return false;
    for (at_ += 1; at_ < end_; at_ += 1) {
      if (*at_ == '\\') at_ += 1;
      else if (*at_ == '"') {
        at_ += 1;
        return true;
      }
    }
    at_ = end_;
    return false;
  }

  bool skipValue() {
    if (at_ == end_) return false;
    if (*at_ == '"') return skipText();
    if (*at_ != '{' && *at_ != '[') {
      while (at_ < end_ && isScalar(*at_)) at_ += 1;
      return true;
    }
    int depth = 0;
    while (at_ < end_) {
      const char letter = *at_;
      if (letter == '"') {
        if (!skipText()) return false;
        continue;
      }
      at_ += 1;
      if (letter == '{' || letter == '[') depth += 1;
      else if ((letter == '}' || letter == ']') && --depth == 0) return true;
    }
    return false;
  }

  static bool isScalar(char letter) {
    return (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'z') || letter == '-' || letter == '+' ||
           letter == '.' || letter == 'E';
  }

  const char* at_;
  const char* end_;
  bool isObject_ = false;
  bool isFirst_ = true;
};

// Reads a whole number; false when it is none. `null` is none.
inline bool readInteger(std::string_view value, int64_t& out) {
  const bool isNegative = !value.empty() && value[0] == '-';
  if (isNegative) value.remove_prefix(1);
  if (value.empty() || value.size() > 18) return false;
  int64_t number = 0;
  for (const char letter : value) {
    if (letter < '0' || letter > '9') return false;
    number = 10 * number + (letter - '0');
  }
  out = isNegative ? -number : number;
  return true;
}

// A text without its quotes, escapes as they are written; empty when the value is no text.
inline std::string_view textOf(std::string_view value) {
  if (value.size() < 2 || value[0] != '"') return {};
  return value.substr(1, value.size() - 2);
}

}  // namespace websocket
