#pragma once
#include "bytes.hpp"

/*
 * Reads the venue's JSON where it lies, as the fixed shape that the venue is known to send, eight bytes at a time.
 * Whatever departs from the shape is refused. A buffer of messages ends with READ_AHEAD zeros, which end every scan.
 */
constexpr int READ_AHEAD = 64;
constexpr int64_t LARGEST_EXACT = (int64_t{1} << 53) - 1;

constexpr uint64_t ONES = 0x0101010101010101;
constexpr uint64_t HIGHS = 0x8080808080808080;

/// The high bit of each zero byte, exact for the lowest one.
inline uint64_t zeroBytes(uint64_t word) { return (word - ONES) & ~word & HIGHS; }

/// The high bit of each byte that is no digit, exact for the lowest one: carries come from such bytes only.
inline uint64_t nonDigits(uint64_t word) {
  return ((word + 0x46 * ONES) | (word - 0x30 * ONES)) & HIGHS;
}

inline int bytesBelow(uint64_t bits) { return __builtin_ctzll(bits) >> 3; }

/// The number that eight ASCII digits make: pairs, pairs of pairs, both halves.
inline uint64_t valueOfEight(uint64_t word) {
  word = ((word & 0x0F * ONES) * 2561) >> 8;
  word = ((word & 0x00FF00FF00FF00FF) * 6553601) >> 16;
  return ((word & 0x0000FFFF0000FFFF) * 42949672960001) >> 32;
}

/// The number that the first `count` bytes make, 0 to 7 of them: as many zeros go before them as are missing.
inline uint64_t valueOfFew(uint64_t word, int count) { return valueOfEight(word << (8 * (7 - count)) << 8); }

constexpr uint64_t WHOLE_POWERS[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

/// A place in a message that moves on with what was read.
struct Scanner {
  const char* at;

  template <size_t N>
  bool literal(const char (&text)[N]) {
    if (std::memcmp(at, text, N - 1) != 0) return false;
    at += N - 1;
    return true;
  }

  /// Goes to the quote that ends a text without escapes.
  bool text() {
    for (;;) {
      const auto word = load<uint64_t>(at);
      const uint64_t controls = (word - 0x20 * ONES) & ~word & HIGHS;
      const uint64_t ends = zeroBytes(word ^ '"' * ONES) | zeroBytes(word ^ '\\' * ONES) | controls;
      if (ends != 0) {
        at += bytesBelow(ends);
        return *at == '"';
      }
      at += 8;
    }
  }

  /// An unsigned integer as JSON writes it, of at most 16 digits and below 2^53.
  bool integer(int64_t& value) {
    const char* from = at;
    auto word = load<uint64_t>(at);
    uint64_t ends = nonDigits(word);
    uint64_t number = 0;
    if (ends == 0) {
      number = valueOfEight(word);
      at += 8;
      word = load<uint64_t>(at);
      ends = nonDigits(word);
    }
    if (ends == 0) {
      number = number * WHOLE_POWERS[8] + valueOfEight(word);
      at += 8;
      if (*at >= '0' && *at <= '9') return false;
    } else {
      const int few = bytesBelow(ends);
      number = number * WHOLE_POWERS[few] + valueOfFew(word, few);
      at += few;
    }
    value = static_cast<int64_t>(number);
    if (at == from || (*from == '0' && at - from > 1)) return false;
    return number <= static_cast<uint64_t>(LARGEST_EXACT);
  }

  /// true or false, at random: the word is looked up, because a branch would be mispredicted every second time.
  bool boolean(bool& value) {
    static constexpr char FIRST[] = {'f', 't'};
    static constexpr char LAST[][5] = {"alse", "true"};
    // Bit 1 is set in the f and not in the t.
    const int yes = ~(*at >> 1) & 1;
    const char* last = at + 1 - yes;
    if (*at != FIRST[yes] || load<uint32_t>(last) != load<uint32_t>(LAST[yes])) return false;
    at = last + 4;
    value = yes == 1;
    return true;
  }

  /// A decimal up to its closing quote: the double nearest to the text, because both numbers of the quotient are exact.
  bool decimal(double& value) {
    const auto word = load<uint64_t>(at);
    const uint64_t ends = nonDigits(word);
    if (ends != 0) {
      const int digits = bytesBelow(ends);
      const auto fraction = load<uint64_t>(at + digits + 1);
      if (digits > 0 && at[digits] == '.' && nonDigits(fraction) == 0 && at[digits + 9] == '"') {
        const uint64_t mantissa = valueOfFew(word, digits) * WHOLE_POWERS[8] + valueOfEight(fraction);
        value = static_cast<double>(static_cast<int64_t>(mantissa)) / 1e8;
        at += digits + 9;
        return true;
      }
    }
    return anyDecimal(value);
  }

 private:
  /// Any other decimal of at most 15 significant digits.
  __attribute__((noinline)) bool anyDecimal(double& value) {
    static constexpr double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char* from = at;
    const char* point = nullptr;
    double mantissa = 0;
    int significant = 0;
    int zeros = 0;
    for (; *at != '"'; at += 1) {
      if (*at == '.') {
        if (point != nullptr || at == from) return false;
        point = at;
      } else if (*at < '0' || *at > '9') {
        return false;
      } else if (*at == '0') {
        if (significant > 0) zeros += 1;
      } else {
        significant += zeros + 1;
        if (significant > 15) return false;
        mantissa = mantissa * POWERS[zeros + 1] + (*at - '0');
        zeros = 0;
      }
    }
    if (at == from || point == at - 1) return false;
    const int64_t exponent = zeros - (point == nullptr ? 0 : at - 1 - point);
    if (exponent > 22 || exponent < -22) return false;
    value = exponent < 0 ? mantissa / POWERS[-exponent] : mantissa * POWERS[exponent];
    return true;
  }
};
