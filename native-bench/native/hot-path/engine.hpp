#pragma once
#include <stdexcept>

#include "bars.hpp"
#include "venue-clock.hpp"

/// A clock that is read as a turn's is, without the event loop: one load.
struct StillClock {
  int64_t micros;
  int64_t now() const { return micros; }
};

/// Takes the trades of one venue: dedupe, the finished frame, the bars.
class Engine {
 public:
  std::vector<Instrument> instruments;
  FrameWriter frames;
  Bars bars;
  VenueClock venue;
  uint64_t unwanted = 0;
  uint64_t duplicates = 0;
  uint64_t holes = 0;

  Engine(size_t count, size_t tickBudget, size_t slowBudget, uint64_t epoch, StillClock clock)
      : instruments(count), frames(tickBudget, slowBudget, epoch), bars(instruments, frames), clock(clock) {
    frames.now = clock.now();
  }

  /// Opens a message: the time is taken, bars that are due close first.
  void begin() {
    const int64_t now = clock.now();
    if (now == frames.now) return;
    frames.now = now;
    if (venue.known()) bars.closeDue(venue.at(now));
  }

  void trade(uint32_t index, const Trade& trade) {
    Instrument& instrument = instruments[index];
    if (!instrument.open) {
      unwanted += 1;
      return;
    }
    const VenueClock::Observed observed = venue.observe(trade.time, frames.now);
    if (observed.wentBack) throw std::runtime_error("the venue's clock went back, which is not followed here");
    if (!observed.doubtful && observed.time != 0) bars.closeDue(observed.time);
    const int64_t last = instrument.lastTrade;
    if (trade.number <= last) {
      duplicates += 1;
      return;
    }
    instrument.lastTrade = trade.number;
    const FrameOf of{instrument.stream(layout::SLOT_TRADES), instrument.id, instrument.tradeSequence};
    if (last != 0 && trade.number != last + 1) {
      holes += 1;
      frames.gap(of, last + 1, trade.number - 1, observed.time);
      bars.gap(index);
    }
    if (!instrument.live) {
      instrument.live = true;
      frames.live(of);
    }
    frames.trade(of, trade, observed.doubtful ? 0 : trade.time, observed.doubtful ? layout::FLAG_INEXACT : 0);
    if (observed.time != 0) bars.trade(index, trade, observed.time);
  }

 private:
  StillClock clock;
};
