#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "hot-path-layout.hpp"

/**
 * Which instruments have unclosed bars, by the time that these close at. Per timeframe two lists, for intervals of even
 * and of odd number: no more are unclosed at once, because the allowance is no longer than the narrowest bar.
 */
class DueBars {
 public:
  static constexpr int64_t NEVER = std::numeric_limits<int64_t>::max() / 2;

  /// The earliest close time of all.
  int64_t next = NEVER;

  void add(uint32_t instrument, int timeframe, int64_t closeTime) {
    List& list = lists[timeframe][closeTime / layout::WIDTH[timeframe] & 1];
    list.closeTime = closeTime;
    list.instruments.push_back(instrument);
    next = std::min(next, closeTime);
  }

  /// Takes the instruments whose bars close at the earliest close time, in order, some perhaps twice.
  const std::vector<uint32_t>& take() {
    const int64_t due = next;
    next = NEVER;
    taken.clear();
    for (auto& pair : lists) {
      for (List& list : pair) {
        if (list.closeTime == due) {
          taken.insert(taken.end(), list.instruments.begin(), list.instruments.end());
          list.instruments.clear();
          list.closeTime = NEVER;
        }
        next = std::min(next, list.closeTime);
      }
    }
    std::sort(taken.begin(), taken.end());
    return taken;
  }

 private:
  struct List {
    int64_t closeTime = NEVER;
    std::vector<uint32_t> instruments;
  };

  List lists[layout::TIMEFRAMES][2];
  std::vector<uint32_t> taken;
};
