#pragma once
#include <cmath>

#include "indicators.hpp"
#include "ring.hpp"

/// Whose frame it is, and which one of its stream; the sequence grows with each.
struct FrameOf {
  uint32_t stream;
  uint32_t instrument;
  uint64_t& sequence;
};

/// Writes finished frames into the rings: a template is copied, then patched where the TypeScript code says.
class FrameWriter {
 public:
  FrameLog log;
  uint64_t directorySequence = 0;
  /// The time of the turn, microseconds.
  int64_t now = 0;

  FrameWriter(size_t tickBudget, size_t slowBudget, uint64_t epoch) : log(tickBudget, slowBudget), epoch(epoch) {}

  void trade(FrameOf of, const Trade& trade, int64_t time, uint32_t flags) {
    uint8_t* frame = log.ticks.claim(layout::LARGEST_TRADE_BYTES);
    std::memcpy(frame, layout::TRADE, sizeof layout::TRADE);
    store(frame + layout::TRADE_PRICE, trade.price);
    store(frame + layout::TRADE_SIZE, trade.size);
    store(frame + layout::TRADE_SIDE, trade.side);
    uint8_t* id = frame + layout::TRADE_TRADE_ID_DATA;
    store(id - 4, trade.idLength);
    // Sixteen bytes at once, zeros from the id's end on: its terminator, and what fills the frame's last word.
    const int spare = 8 * (16 - static_cast<int>(trade.idLength));
    const uint64_t first = load<uint64_t>(trade.id) & (spare > 64 ? ~uint64_t{0} >> (spare - 64) : ~uint64_t{0});
    const uint64_t second = spare >= 64 ? 0 : load<uint64_t>(trade.id + 8) & (~uint64_t{0} >> spare);
    store(id, first);
    store(id + 8, second);
    store(id + 16, uint32_t{0});
    header(frame, of, time, layout::FLAG_LAST_OF_EVENT | flags);
    commit(log.ticks, (layout::TRADE_TRADE_ID_DATA + trade.idLength + 1 + 7) & ~size_t{7}, of);
  }

  void bar(FrameOf of, int timeframe, const Bar& bar, BarState state) {
    uint8_t* frame = log.slow.claim(layout::LARGEST_FIXED_BYTES);
    std::memcpy(frame, layout::BAR, sizeof layout::BAR);
    store(frame + layout::BAR_OPEN_TIME, bar.openTime);
    store(frame + layout::BAR_CLOSE_TIME, bar.closeTime);
    store(frame + layout::BAR_OPEN, bar.open);
    store(frame + layout::BAR_HIGH, bar.high);
    store(frame + layout::BAR_LOW, bar.low);
    store(frame + layout::BAR_CLOSE, bar.close);
    store(frame + layout::BAR_VOLUME, bar.volume);
    store(frame + layout::BAR_QUOTE_VOLUME, bar.quoteVolume);
    store(frame + layout::BAR_VWAP, bar.vwap);
    store(frame + layout::BAR_BUY_VOLUME, bar.sideVolumes[0]);
    store(frame + layout::BAR_SELL_VOLUME, bar.sideVolumes[1]);
    store(frame + layout::BAR_TRADE_COUNT, bar.tradeCount);
    store<uint8_t>(frame + layout::BAR_TIMEFRAME, layout::TIMEFRAME[timeframe]);
    store<uint8_t>(frame + layout::BAR_STATE, state);
    store<uint8_t>(frame + layout::BAR_SOURCE, layout::SOURCE_TRADES);
    store<uint8_t>(frame + layout::BAR_PARTIAL, (bar.flags & PARTIAL) != 0);
    store<uint8_t>(frame + layout::BAR_ACROSS_GAP, (bar.flags & ACROSS_GAP) != 0);
    header(frame, of, bar.lastTime, flagsOf(state));
    commit(log.slow, sizeof layout::BAR, of);
  }

  void indicators(FrameOf of, int timeframe, const Bar& bar, const Row& row, BarState state) {
    uint8_t* frame = log.slow.claim(layout::INDICATORS_FRAME_BYTES);
    std::memcpy(frame, layout::INDICATORS, sizeof layout::INDICATORS);
    store(frame + layout::INDICATORS_BAR_TIME, bar.openTime);
    store<uint8_t>(frame + layout::INDICATORS_TIMEFRAME, layout::TIMEFRAME[timeframe]);
    store<uint8_t>(frame + layout::INDICATORS_STATE, state);
    uint8_t* entry = frame + layout::INDICATORS_VALUES_DATA;
    store(entry - 4, uint32_t{Row::VALUES});
    for (int index = 0; index < Row::VALUES; index += 1, entry += 16) {
      store<uint64_t>(entry, layout::INDICATOR_LANES[index] | uint32_t{row.ready[index]} << 24);
      // Every NaN goes out as the same one.
      store(entry + 8, std::isnan(row.values[index]) ? NOT_A_NUMBER : row.values[index]);
    }
    header(frame, of, bar.lastTime, flagsOf(state));
    commit(log.slow, layout::INDICATORS_FRAME_BYTES, of);
  }

  /// The directory's frame of a stream that has had none: the `kind`-th of an instrument's bar and indicator streams.
  void introduce(const FrameOf& of, int kind) {
    if (of.sequence != 0) return;
    const int* places = layout::STREAM_PLACES;
    const FrameOf directory{0, of.instrument, directorySequence};
    uint8_t* frame = built(layout::STREAM[kind], sizeof layout::STREAM[kind], places, directory);
    store(frame + places[9], of.stream);
    store(frame + places[10], of.instrument);
  }

  /// The stream's state is live from now on.
  void live(FrameOf of) { built(layout::LIVE, sizeof layout::LIVE, layout::LIVE_PLACES, of); }

  /// The venue lost the trades of these ids, before `time`.
  void gap(FrameOf of, int64_t fromId, int64_t toId, int64_t time) {
    const int* places = layout::GAP_PLACES;
    uint8_t* frame = built(layout::GAP, sizeof layout::GAP, places, of);
    store(frame + places[9], fromId);
    store(frame + places[10], toId);
    store(frame + places[11], time);
  }

  /// Takes a frame over as it is.
  void take(const uint8_t* bytes, size_t length, uint32_t stream, uint64_t sequence) {
    std::memcpy(log.slow.claim(length), bytes, length);
    log.commit(log.slow, length, stream, sequence);
  }

 private:
  static uint32_t flagsOf(BarState state) {
    return layout::FLAG_LAST_OF_EVENT | (state == CORRECTED ? layout::FLAG_CORRECTION : 0);
  }

  void header(uint8_t* frame, FrameOf of, int64_t time, uint32_t flags) {
    of.sequence += 1;
    store(frame + layout::FRAME_STREAM, of.stream);
    store(frame + layout::FRAME_INSTRUMENT, of.instrument);
    store(frame + layout::FRAME_FLAGS, flags);
    store(frame + layout::FRAME_EPOCH, epoch);
    store(frame + layout::FRAME_POSITION, log.next);
    store(frame + layout::FRAME_SEQ, of.sequence);
    store(frame + layout::FRAME_FROM_SEQ, of.sequence);
    store(frame + layout::FRAME_TS_EXCHANGE, time);
    store(frame + layout::FRAME_TS_RECEIVE, now);
    store(frame + layout::FRAME_TS_PUBLISH, now);
  }

  void commit(Ring& ring, size_t length, const FrameOf& of) { log.commit(ring, length, of.stream, of.sequence); }

  /// A rare frame, as the Builder laid it out: where its numbers are, the places say.
  uint8_t* built(const uint8_t* bytes, size_t length, const int* places, FrameOf of) {
    uint8_t* frame = log.slow.claim(length);
    std::memcpy(frame, bytes, length);
    of.sequence += 1;
    store(frame + places[0], of.stream);
    store(frame + places[1], of.instrument);
    store(frame + places[2], epoch);
    store(frame + places[3], log.next);
    store(frame + places[4], of.sequence);
    store(frame + places[5], of.sequence);
    store(frame + places[6], int64_t{0});
    store(frame + places[7], now);
    store(frame + places[8], now);
    commit(log.slow, length, of);
    return frame;
  }

  uint64_t epoch;
};
