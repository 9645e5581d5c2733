#pragma once
#include <cstdio>

#include "pipeline.hpp"

/*
 * What a replay ends with, little-endian, for native-state.ts to compare:
 *
 *   "TWHS0001"  refused, unwanted, duplicates, holes, wild, closed, late, corrected, too old, next position: u64 each
 *   tick ring, slow ring, each: u64 tail, u64 head, then the records, then the frames, from tail to head
 *   series: u32 count, then each: u32 instrument's id, u32 timeframe, u32 bars, then of each bar its 15 doubles, its
 *   values and whether they are ready (doubles)
 */
class StateFile {
 public:
  StateFile(Pipeline& pipeline, const std::string& path)
      : pipeline(pipeline), path(path), file(std::fopen(path.c_str(), "wb")) {
    if (file == nullptr) throw std::invalid_argument(path + " cannot be written");
  }
  ~StateFile() {
    if (file != nullptr) std::fclose(file);
  }
  StateFile(const StateFile&) = delete;

  void write() {
    Engine& engine = pipeline.engine;
    const Bars& bars = engine.bars;
    put("TWHS0001", 8);
    for (const uint64_t counter :
         {pipeline.refused, engine.unwanted, engine.duplicates, engine.holes, engine.venue.wild, bars.closed, bars.late,
          bars.corrected, bars.tooOld, engine.frames.log.next}) {
      number(counter);
    }
    ring(engine.frames.log.ticks);
    ring(engine.frames.log.slow);
    number(static_cast<uint32_t>(engine.instruments.size() * layout::TIMEFRAMES));
    for (uint32_t index = 0; index < engine.instruments.size(); index += 1) {
      for (int timeframe = 0; timeframe < layout::TIMEFRAMES; timeframe += 1) series(index, timeframe);
    }
    const bool closed = std::fclose(file) == 0;
    file = nullptr;
    if (!closed) throw std::runtime_error(path + " could not be written whole");
  }

 private:
  void put(const void* bytes, size_t length) {
    if (std::fwrite(bytes, 1, length, file) != length) throw std::runtime_error(path + " could not be written whole");
  }

  template <class T>
  void number(const T& value) {
    put(&value, sizeof value);
  }

  void ring(const Ring& ring) {
    number(ring.tail);
    number(ring.head);
    for (uint64_t record = ring.tail; record < ring.head; record += 1) number(ring.record(record));
    for (uint64_t record = ring.tail; record < ring.head; record += 1) {
      put(ring.frame(ring.record(record)), ring.record(record).length);
    }
  }

  void series(uint32_t index, int timeframe) {
    Series& series = pipeline.engine.bars.series(index, timeframe);
    number(pipeline.engine.instruments[index].id);
    number(static_cast<uint32_t>(layout::TIMEFRAME[timeframe]));
    number(static_cast<uint32_t>(series.count()));
    const std::vector<Row> rows = series.rows(0);
    for (int at = 0; at < series.count(); at += 1) {
      const Bar& bar = series.at(at);
      for (const double value :
           {double(bar.openTime), double(bar.closeTime), bar.open, bar.high, bar.low, bar.close, bar.volume,
            bar.quoteVolume, bar.vwap, bar.sideVolumes[0], bar.sideVolumes[1], double(bar.tradeCount),
            double(bar.firstTime), double(bar.lastTime), double(bar.flags)}) {
        number(value);
      }
      for (const double value : rows[at].values) number(value);
      for (const bool ready : rows[at].ready) number(ready ? 1.0 : 0.0);
    }
  }

  Pipeline& pipeline;
  std::string path;
  std::FILE* file;
};
