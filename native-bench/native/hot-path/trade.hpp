#pragma once
#include <cstdint>

enum Side : uint8_t { BUY = 1, SELL = 2 };

/// A trade as a feed hands it over.
struct Trade {
  double price;
  double size;
  /// The venue's time, microseconds; 0 where it is unknown.
  int64_t time;
  /// The venue's id as a number, and as its digits, at most 16, which lie where 16 bytes can be read.
  int64_t number;
  const char* id;
  uint32_t idLength;
  Side side;
};
