#pragma once
#include <string>
#include <vector>

#include "scan.hpp"

/// The venue's names, found by their bytes where they lie in a message: an open hash table of eight-byte words.
class Symbols {
 public:
  static constexpr size_t LONGEST = 23;

  explicit Symbols(size_t count) {
    size_t slots = 64;
    while (slots < 2 * count) slots *= 2;
    entries.resize(slots);
    mask = slots - 1;
  }

  /// `instrument` is the index that `scan` gives.
  void add(const std::string& name, uint32_t instrument) {
    Entry entry;
    std::memcpy(entry.words, name.data(), name.size());
    entry.length = static_cast<uint32_t>(name.size());
    entry.instrument = instrument;
    uint64_t hash = 0;
    for (size_t word = 0; word <= name.size() / 8; word += 1) hash = mix(hash, entry.words[word]);
    size_t slot = hash & mask;
    while (entries[slot].length != 0) slot = (slot + 1) & mask;
    entries[slot] = entry;
  }

  /// Reads a name up to its closing quote; false where it is unknown.
  bool scan(Scanner& scanner, uint32_t& instrument) const {
    uint64_t words[WORDS];
    uint64_t hash = 0;
    size_t full = 0;
    uint64_t word = load<uint64_t>(scanner.at);
    uint64_t quote = zeroBytes(word ^ '"' * ONES);
    while (quote == 0) {
      words[full] = word;
      hash = mix(hash, word);
      full += 1;
      if (full == WORDS) return false;
      word = load<uint64_t>(scanner.at + 8 * full);
      quote = zeroBytes(word ^ '"' * ONES);
    }
    const int rest = bytesBelow(quote);
    words[full] = word & ((uint64_t{1} << (8 * rest)) - 1);
    hash = mix(hash, words[full]);
    const size_t length = 8 * full + rest;
    for (size_t slot = hash & mask;; slot = (slot + 1) & mask) {
      const Entry& entry = entries[slot];
      if (entry.length == 0) return false;
      if (entry.length != length) continue;
      size_t same = 0;
      while (same <= full && entry.words[same] == words[same]) same += 1;
      if (same <= full) continue;
      instrument = entry.instrument;
      scanner.at += length;
      return true;
    }
  }

 private:
  static constexpr size_t WORDS = 3;

  /// Half a cache line; a length of 0 is a free one.
  struct alignas(32) Entry {
    uint64_t words[WORDS] = {};
    uint32_t length = 0;
    uint32_t instrument = 0;
  };

  static uint64_t mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9E3779B97F4A7C15;
    return hash ^ (hash >> 32);
  }

  std::vector<Entry> entries;
  size_t mask;
};
