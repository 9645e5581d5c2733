#pragma once
#include <cmath>
#include <cstring>

#include "bar.hpp"
#include "hot-path-layout.hpp"

/* The indicators of one series, O(1) an update, in the order of their operations exactly as the TypeScript ones. */

struct Macd {
  double value = NOT_A_NUMBER;
  double signal = 0;
  double histogram = NOT_A_NUMBER;
  double change = NOT_A_NUMBER;

  void update(double close) {
    constexpr double FAST = 2.0 / (layout::MACD_FAST + 1);
    constexpr double SLOW = 2.0 / (layout::MACD_SLOW + 1);
    constexpr double SIGNAL = 2.0 / (layout::MACD_SIGNAL + 1);
    if (count == 0) {
      fast = close;
      slow = close;
    }
    fast += FAST * (close - fast);
    slow += SLOW * (close - slow);
    value = fast - slow;
    signal += SIGNAL * (value - signal);
    const double before = histogram;
    histogram = value - signal;
    change = count == 0 ? NOT_A_NUMBER : histogram - before;
    count += 1;
  }

  bool ready() const { return count >= 4 * layout::MACD_SLOW; }

 private:
  double fast = 0;
  double slow = 0;
  int64_t count = 0;
};

/**
 * Hull moving average of weighted averages that are kept as running sums; each time a ring has gone round, its sums are
 * made anew, so that rounding never adds up.
 */
struct Hma {
  double value = NOT_A_NUMBER;
  double change = NOT_A_NUMBER;

  void update(double close) {
    const bool first = count == 0;
    if (first) pad(close);
    const double newWeighted = weighted + (LENGTH * close - sum);
    const double newHalfWeighted = halfWeighted + (HALF * close - halfSum);
    const double difference = newHalfWeighted * HALF_SHARE - newWeighted * SHARE;
    const double newRootWeighted = rootWeighted + (ROOT * difference - rootSum);
    setLanes(close, newRootWeighted * ROOT_SHARE);
    // Padded with itself, the first close is its own average.
    if (first) value = close;
    count += 1;
    moveCloses(close, newWeighted, newHalfWeighted);
    moveDifferences(difference, newRootWeighted);
  }

  bool ready() const { return count >= LENGTH + ROOT; }

 private:
  static constexpr int LENGTH = layout::HMA_LENGTH;
  static constexpr int HALF = LENGTH / 2;
  static constexpr int ROOT = layout::HMA_ROOT;
  /// What the weighted sums are multiplied by: one over the sum of the weights; the half window counts twice.
  static constexpr double SHARE = 2.0 / (LENGTH * (LENGTH + 1));
  static constexpr double HALF_SHARE = 4.0 / (HALF * (HALF + 1));
  static constexpr double ROOT_SHARE = 2.0 / (ROOT * (ROOT + 1));
  /// A change below this share of the price is rounding.
  static constexpr double FLAT = 1e-12;

  void pad(double close) {
    std::fill_n(closes, LENGTH, close);
    std::fill_n(differences, ROOT, close);
    sumCloses();
    sumDifferences();
  }

  void setLanes(double close, double newValue) {
    const double step = newValue - value;
    const double scale = std::max(std::abs(close), std::max(std::abs(newValue), std::abs(value)));
    change = count == 0 ? NOT_A_NUMBER : std::abs(step) <= FLAT * scale ? 0 : step;
    value = newValue;
  }

  void moveCloses(double close, double newWeighted, double newHalfWeighted) {
    const double leaving = closes[next];
    const double leavingHalf = closes[next < HALF ? next + LENGTH - HALF : next - HALF];
    closes[next] = close;
    next += 1;
    if (next == LENGTH) {
      next = 0;
      sumCloses();
      return;
    }
    sum += close - leaving;
    weighted = newWeighted;
    halfSum += close - leavingHalf;
    halfWeighted = newHalfWeighted;
  }

  void moveDifferences(double difference, double newRootWeighted) {
    const double leaving = differences[rootNext];
    differences[rootNext] = difference;
    rootNext += 1;
    if (rootNext == ROOT) {
      rootNext = 0;
      sumDifferences();
      return;
    }
    rootSum += difference - leaving;
    rootWeighted = newRootWeighted;
  }

  void sumCloses() {
    sum = weighted = halfSum = halfWeighted = 0;
    for (int index = 0; index < LENGTH; index += 1) {
      sum += closes[index];
      weighted += (index + 1) * closes[index];
    }
    for (int index = LENGTH - HALF; index < LENGTH; index += 1) {
      halfSum += closes[index];
      halfWeighted += (index + 1 - (LENGTH - HALF)) * closes[index];
    }
  }

  void sumDifferences() {
    rootSum = rootWeighted = 0;
    for (int index = 0; index < ROOT; index += 1) {
      rootSum += differences[index];
      rootWeighted += (index + 1) * differences[index];
    }
  }

  double sum = 0;
  double weighted = 0;
  double halfSum = 0;
  double halfWeighted = 0;
  double rootSum = 0;
  double rootWeighted = 0;
  int64_t count = 0;
  int next = 0;
  int rootNext = 0;
  double closes[LENGTH];
  double differences[ROOT];
};

/// Volume-weighted average price since UTC midnight; ready only while the day is known from its start.
struct Vwap {
  double value = NOT_A_NUMBER;

  void update(const Bar& bar) {
    const bool sameDay = day != NO_DAY && bar.openTime - day < DAY_MICROS;
    const int64_t midnight = bar.openTime - bar.openTime % DAY_MICROS;
    if ((bar.flags & PARTIAL) != 0) covered = false;
    else if (midnight == bar.openTime) covered = true;
    else if (!sameDay) covered = day != NO_DAY;
    quoteVolume = bar.quoteVolume + (sameDay ? quoteVolume : 0);
    volume = bar.volume + (sameDay ? volume : 0);
    value = volume == 0 ? NOT_A_NUMBER : quoteVolume / volume;
    if (!sameDay) day = midnight;
  }

  bool ready() const { return covered && !std::isnan(value); }

 private:
  static constexpr int64_t DAY_MICROS = 86'400'000'000;
  static constexpr int64_t NO_DAY = -1;

  double quoteVolume = 0;
  double volume = 0;
  int64_t day = NO_DAY;
  bool covered = false;
};

struct Indicators {
  Macd macd;
  Hma hma;
  Vwap vwap;

  void update(const Bar& bar) {
    macd.update(bar.close);
    hma.update(bar.close);
    vwap.update(bar);
  }
};

/// What goes out of the indicators after a bar.
struct Row {
  static constexpr int VALUES = 7;
  double values[VALUES];
  bool ready[VALUES];

  explicit Row(const Indicators& from)
      : values{from.macd.value, from.macd.signal, from.macd.histogram, from.macd.change,
               from.hma.value,  from.hma.change,  from.vwap.value} {
    std::fill_n(ready, 4, from.macd.ready());
    std::fill_n(ready + 4, 2, from.hma.ready());
    ready[6] = from.vwap.ready();
  }

  /// Whether all is the same, every NaN as good as another.
  bool operator==(const Row& other) const {
    for (int index = 0; index < VALUES; index += 1) {
      const double one = values[index];
      const double another = other.values[index];
      if (ready[index] != other.ready[index]) return false;
      if (std::isnan(one) ? !std::isnan(another) : std::memcmp(&one, &another, sizeof one) != 0) return false;
    }
    return true;
  }
};
static_assert(Row::VALUES == layout::INDICATOR_VALUES, "the rows have the lanes of the TypeScript ones");
