#pragma once
#include "due-bars.hpp"
#include "frames.hpp"
#include "instrument.hpp"

/**
 * Bars of every timeframe and their indicators. A trade is counted once, in the narrowest timeframe; a bar that closes
 * is added to that of the next wider one, because each timeframe divides the next. Two bars of a series may be
 * unclosed, for an allowance after the older one's interval ended. Everything closes on the venue's clock.
 */
class Bars {
 public:
  uint64_t closed = 0;
  uint64_t late = 0;
  uint64_t corrected = 0;
  uint64_t tooOld = 0;

  Bars(std::vector<Instrument>& instruments, FrameWriter& frames)
      : instruments(instruments), frames(frames), timeframes(instruments.size() * layout::TIMEFRAMES) {}

  Series& series(uint32_t index, int timeframe) { return of(index, timeframe).closed; }

  void trade(uint32_t index, const Trade& trade, int64_t time) {
    Instrument& instrument = instruments[index];
    if (instrument.afterGap || !instrument.building.addNewest(trade, time)) place(index, trade, time);
  }

  /// The unclosed bars say that the venue lost trades, and so will those that the next trade opens.
  void gap(uint32_t index) {
    for (int timeframe = 0; timeframe < layout::TIMEFRAMES; timeframe += 1) {
      building(index, timeframe).flags |= ACROSS_GAP;
      of(index, timeframe).previous.flags |= ACROSS_GAP;
    }
    instruments[index].afterGap = true;
  }

  /// Advances the clock and closes what is due, by close time, then by instrument and timeframe.
  void closeDue(int64_t time) {
    clock = std::max(clock, time);
    while (due.next + layout::LATENESS <= clock) closeNext();
  }

 private:
  TimeframeBars& of(uint32_t index, int timeframe) { return timeframes[index * layout::TIMEFRAMES + timeframe]; }

  Bar& building(uint32_t index, int timeframe) {
    return timeframe == 0 ? instruments[index].building : of(index, timeframe).building;
  }

  static int64_t openTime(int64_t time, int timeframe) { return time - time % layout::WIDTH[timeframe]; }

  int64_t partialFlag(uint32_t index, int64_t opens) const {
    return opens < instruments[index].wholeFrom ? PARTIAL : 0;
  }

  /// Takes a trade that is not simply the newest of the building bar.
  __attribute__((noinline)) void place(uint32_t index, const Trade& trade, int64_t time) {
    Instrument& instrument = instruments[index];
    if (time > clock) closeDue(time);
    const int64_t gapFlag = instrument.afterGap ? ACROSS_GAP : 0;
    instrument.afterGap = false;
    // The first trade says nothing of those before it: even a bar that it opens to the microsecond is partial.
    if (instrument.wholeFrom == Instrument::UNKNOWN) instrument.wholeFrom = time + 1;
    bool isLate = false;
    for (int timeframe = 0; timeframe < layout::TIMEFRAMES; timeframe += 1) {
      const int64_t closes = openTime(time, timeframe) + layout::WIDTH[timeframe];
      if (closes + layout::LATENESS > clock) {
        Bar& bar = holder(index, timeframe, time);
        bar.add(trade, time);
        bar.flags |= gapFlag;
        break;
      }
      amend(index, timeframe, trade, time, gapFlag);
      isLate = true;
    }
    late += isLate;
  }

  /// The bar of the interval that `time` lies in; it is begun when it is not there.
  Bar& holder(uint32_t index, int timeframe, int64_t time) {
    Bar& current = building(index, timeframe);
    Bar& previous = of(index, timeframe).previous;
    const int64_t opens = openTime(time, timeframe);
    Bar& bar = opens < current.openTime ? previous : current;
    if (opens > current.openTime && current.openTime != 0) previous = current;
    if (bar.openTime != opens) {
      bar.begin(opens, layout::WIDTH[timeframe], partialFlag(index, opens));
      due.add(index, timeframe, bar.closeTime);
    }
    return bar;
  }

  void closeNext() {
    const int64_t closing = due.next;
    bool closes[layout::TIMEFRAMES];
    for (int timeframe = 0; timeframe < layout::TIMEFRAMES; timeframe += 1) {
      closes[timeframe] = closing % layout::WIDTH[timeframe] == 0;
    }
    for (const uint32_t index : due.take()) {
      // A narrow bar's close may begin the wide one that closes with it.
      for (int timeframe = 0; timeframe < layout::TIMEFRAMES; timeframe += 1) {
        if (closes[timeframe]) close(index, timeframe, closing);
      }
    }
  }

  /// Closes the series' bar of this close time, if it has one.
  void close(uint32_t index, int timeframe, int64_t closing) {
    TimeframeBars& own = of(index, timeframe);
    Bar& bar = own.previous.closeTime == closing ? own.previous : building(index, timeframe);
    if (bar.closeTime != closing) return;
    if (timeframe + 1 < layout::TIMEFRAMES) {
      Bar& wide = holder(index, timeframe + 1, bar.openTime);
      wide.fold(bar);
      wide.flags |= bar.flags & ACROSS_GAP;
    }
    bar.settle();
    own.closed.push(bar);
    closed += 1;
    sendBar(index, timeframe, bar, CLOSED);
    sendIndicators(index, timeframe, bar, Row(own.closed.lead), CLOSED);
    bar.openTime = 0;
    bar.closeTime = 0;
  }

  /// Amends the closed bar that a trade belongs to, or creates it where the interval was silent.
  void amend(uint32_t index, int timeframe, const Trade& trade, int64_t time, int64_t gapFlag) {
    Series& series = of(index, timeframe).closed;
    Bar fresh;
    const int64_t opens = openTime(time, timeframe);
    fresh.begin(opens, layout::WIDTH[timeframe], partialFlag(index, opens) | gapFlag);
    int at = series.search(opens);
    const bool isNew = at == series.count() || series.at(at).openTime != opens;
    if (isNew) at = series.makeRoom(at);
    if (at < 0) {
      tooOld += 1;
      return;
    }
    const std::vector<Row> before = series.rows(at);
    if (isNew) series.insert(at, fresh);
    Bar& bar = series.at(at);
    bar.add(trade, time);
    bar.settle();
    bar.flags |= AMENDED;
    corrected += 1;
    const std::vector<Row> after = series.recompute(at);
    sendBar(index, timeframe, bar, CORRECTED);
    for (size_t row = 0; row < after.size(); row += 1) {
      const bool same = isNew ? row > 0 && after[row] == before[row - 1] : after[row] == before[row];
      if (!same) sendIndicators(index, timeframe, series.at(at + static_cast<int>(row)), after[row], CORRECTED);
    }
  }

  void sendBar(uint32_t index, int timeframe, const Bar& bar, BarState state) {
    const Instrument& instrument = instruments[index];
    const uint32_t stream = instrument.stream(layout::SLOT_BARS + layout::TIMEFRAME[timeframe]);
    const FrameOf whose{stream, instrument.id, of(index, timeframe).barSequence};
    frames.introduce(whose, timeframe);
    frames.bar(whose, timeframe, bar, state);
  }

  void sendIndicators(uint32_t index, int timeframe, const Bar& bar, const Row& row, BarState state) {
    const Instrument& instrument = instruments[index];
    const uint32_t stream = instrument.stream(layout::SLOT_INDICATORS + layout::TIMEFRAME[timeframe]);
    const FrameOf whose{stream, instrument.id, of(index, timeframe).indicatorSequence};
    frames.introduce(whose, layout::TIMEFRAMES + timeframe);
    frames.indicators(whose, timeframe, bar, row, state);
  }

  std::vector<Instrument>& instruments;
  FrameWriter& frames;
  /// The timeframes of an instrument lie one after the other.
  std::vector<TimeframeBars> timeframes;
  DueBars due;
  int64_t clock = 0;
};
