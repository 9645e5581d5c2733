#pragma once
#include "series.hpp"

/// What every trade touches of an instrument: three cache lines.
struct alignas(64) Instrument {
  static constexpr int64_t UNKNOWN = std::numeric_limits<int64_t>::min();

  uint32_t id = 0;
  bool open = false;
  /// Something of it came since it was asked for.
  bool started = false;
  bool live = false;
  /// The venue lost trades before the next one.
  bool afterGap = false;
  /// The number of the last trade, 0 before the first, and the sequence of the trades' stream.
  int64_t lastTrade = 0;
  uint64_t tradeSequence = 0;
  /// Since when its bars are whole.
  int64_t wholeFrom = UNKNOWN;
  /// The narrowest timeframe's bar, in which a trade is counted.
  Bar building;

  uint32_t stream(int slot) const { return id << layout::SLOT_BITS | static_cast<uint32_t>(slot); }
};

/// What is touched of a timeframe when its bars open or close.
struct TimeframeBars {
  Bar previous;
  /// Not the narrowest timeframe's, which lies with the instrument.
  Bar building;
  uint64_t barSequence = 0;
  uint64_t indicatorSequence = 0;
  Series closed;
};
