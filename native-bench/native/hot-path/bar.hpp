#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>

#include "trade.hpp"

constexpr double NOT_A_NUMBER = std::numeric_limits<double>::quiet_NaN();

/// Not all of the bar's trades were seen; the venue lost trades within it; it was amended after its close.
constexpr int64_t PARTIAL = 1;
constexpr int64_t ACROSS_GAP = 2;
constexpr int64_t AMENDED = 8;
enum BarState : uint8_t { CLOSED = 2, CORRECTED = 3 };

/// Two cache lines. Times in microseconds; an open time of 0 is no bar.
struct alignas(64) Bar {
  int64_t openTime = 0;
  int64_t closeTime = 0;
  double open = 0;
  double high = 0;
  double low = 0;
  double close = 0;
  double volume = 0;
  double quoteVolume = 0;
  /// Filled in when the bar closes.
  double vwap = 0;
  /// By the aggressor's side, BUY first.
  double sideVolumes[2] = {0, 0};
  int64_t tradeCount = 0;
  /// The venue's times of the earliest and of the latest trade.
  int64_t firstTime = 0;
  int64_t lastTime = 0;
  int64_t flags = 0;

  /// Makes it a bar without trades, which any trade beats in everything.
  void begin(int64_t opens, int64_t width, int64_t withFlags) {
    openTime = opens;
    closeTime = opens + width;
    high = -std::numeric_limits<double>::infinity();
    low = std::numeric_limits<double>::infinity();
    volume = 0;
    quoteVolume = 0;
    vwap = NOT_A_NUMBER;
    sideVolumes[0] = 0;
    sideVolumes[1] = 0;
    tradeCount = 0;
    firstTime = std::numeric_limits<int64_t>::max();
    lastTime = std::numeric_limits<int64_t>::min();
    flags = withFlags;
  }

  /// Adds a trade of the bar's interval that is its latest, as nearly all are; false for any other.
  bool addNewest(const Trade& trade, int64_t time) {
    if (!(time >= lastTime && time < closeTime)) return false;
    count(trade);
    close = trade.price;
    lastTime = time;
    return true;
  }

  void add(const Trade& trade, int64_t time) {
    count(trade);
    if (time >= lastTime) {
      lastTime = time;
      close = trade.price;
    }
    if (time < firstTime) {
      firstTime = time;
      open = trade.price;
    }
  }

  /// Adds a narrower bar, its flags aside.
  void fold(const Bar& narrow) {
    high = std::max(high, narrow.high);
    low = std::min(low, narrow.low);
    volume += narrow.volume;
    quoteVolume += narrow.quoteVolume;
    sideVolumes[0] += narrow.sideVolumes[0];
    sideVolumes[1] += narrow.sideVolumes[1];
    tradeCount += narrow.tradeCount;
    if (narrow.lastTime >= lastTime) {
      lastTime = narrow.lastTime;
      close = narrow.close;
    }
    if (narrow.firstTime < firstTime) {
      firstTime = narrow.firstTime;
      open = narrow.open;
    }
  }

  void settle() { vwap = volume == 0 ? NOT_A_NUMBER : quoteVolume / volume; }

 private:
  void count(const Trade& trade) {
    high = std::max(high, trade.price);
    low = std::min(low, trade.price);
    volume += trade.size;
    quoteVolume += trade.price * trade.size;
    sideVolumes[trade.side - BUY] += trade.size;
    tradeCount += 1;
  }
};
static_assert(sizeof(Bar) == 128, "a bar is two cache lines");
