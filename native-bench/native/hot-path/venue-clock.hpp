#pragma once
#include <cstdint>

/**
 * A venue's clock: its latest credible time, advanced by the local time elapsed since. A step of more than an hour
 * forward or a day back is believed only once a second message agrees.
 */
class VenueClock {
 public:
  uint64_t wild = 0;

  /// What a message's time, 0 where it has none, is taken for: 0 when nothing credible is known.
  struct Observed {
    int64_t time;
    bool doubtful;
    /// The clock was set back.
    bool wentBack;
  };

  bool known() const { return latest != 0; }
  int64_t at(int64_t now) const { return latest == 0 ? 0 : latest + (now - latestAt); }

  Observed observe(int64_t time, int64_t now) {
    const int64_t expected = latest == 0 ? now : latest + (now - latestAt);
    if (time == 0) return {latest == 0 ? 0 : expected, false, false};
    if (isNear(time, expected)) {
      waiting = 0;
      if (time > latest) {
        latest = time;
        latestAt = now;
      }
      return {time, false, false};
    }
    return doubt(time, expected, now);
  }

 private:
  static constexpr int64_t HOUR_MICROS = 3'600'000'000;
  static constexpr int64_t DAY_MICROS = 24 * HOUR_MICROS;

  static bool isNear(int64_t time, int64_t expected) {
    return time <= expected + HOUR_MICROS && time >= expected - DAY_MICROS;
  }

  Observed doubt(int64_t time, int64_t expected, int64_t now) {
    if (waiting != 0 && isNear(time, waiting)) {
      const bool wentBack = latest != 0 && time < latest;
      latest = time;
      latestAt = now;
      waiting = 0;
      return {time, false, wentBack};
    }
    waiting = time;
    wild += 1;
    return {latest == 0 ? 0 : expected, true, false};
  }

  int64_t latest = 0;
  int64_t latestAt = 0;
  /// The step that waits for a second message.
  int64_t waiting = 0;
};
