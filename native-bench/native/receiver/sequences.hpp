// One client's last held sequence of each stream, by the rule of README "Wire format".
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

// What was lost and what came twice, over all streams of all clients.
struct SequenceCounts {
  // Frames missing of which no gap told.
  uint64_t holes = 0;
  uint64_t duplicates = 0;
  // Gaps that a server told of, and the frames that they named.
  uint64_t gaps = 0;
  uint64_t gapFrames = 0;
};

class Sequences {
 public:
  static constexpr int64_t UNKNOWN = -1;

  // Where an ack says that a stream stands; one that is held already stays as it is.
  void begin(uint32_t stream, int64_t seq) {
    Entry& entry = find(stream);
    if (!entry.isUsed) use(entry, stream, seq);
  }

  // Counts a frame that stands for `fromSeq` to `seq`. Without an ack the stream's first frame sets the count.
  void take(uint32_t stream, int64_t fromSeq, int64_t seq, bool isDerived, SequenceCounts& counts) {
    Entry& entry = find(stream);
    const int64_t held = entry.isUsed ? entry.held : fromSeq - 1;
    if (fromSeq > held + 1) counts.holes += fromSeq - held - 1;
    if (!isDerived && seq <= held) counts.duplicates += 1;
    hold(entry, stream, seq > held ? seq : held);
  }

  // A gap names the frames `from` (UNKNOWN: the first that is not held) `to`; returns how many. UNKNOWN for a wrong one,
  // which begins with what is held or ends before it begins, and changes nothing.
  int64_t gap(uint32_t stream, int64_t from, int64_t to, SequenceCounts& counts) {
    Entry& entry = find(stream);
    const bool isOpen = from == UNKNOWN;
    const int64_t held = entry.isUsed ? entry.held : isOpen ? to : from - 1;
    const int64_t first = isOpen ? held + 1 : from;
    // From what is held on, a server that does not know it may come to name nothing.
    if (first <= held || to < first - isOpen) return UNKNOWN;
    if (first > held + 1) counts.holes += first - held - 1;
    counts.gaps += 1;
    counts.gapFrames += to - first + 1;
    hold(entry, stream, to);
    return to - first + 1;
  }

  // All up to `seq` must have come by now: what is not held is missing.
  void end(uint32_t stream, int64_t seq, SequenceCounts& counts) {
    Entry& entry = find(stream);
    if (entry.isUsed && entry.held < seq) counts.holes += seq - entry.held;
    if (!entry.isUsed || entry.held < seq) hold(entry, stream, seq);
  }

 private:
  struct Entry {
    uint32_t stream;
    bool isUsed;
    int64_t held;
  };

  // The stream's entry, or the free one where it belongs. Most frames are of the stream of the one before.
  Entry& find(uint32_t stream) {
    if (mask_ == 0) grow(4);
    if (entries_[last_].isUsed && entries_[last_].stream == stream) return entries_[last_];
    // Streams are numbered in steps of an instrument's channels: a product spreads them (Knuth's multiplier).
    uint32_t at = (stream * 2654435761u >> 7) & mask_;
    while (entries_[at].isUsed && entries_[at].stream != stream) at = (at + 1) & mask_;
    last_ = at;
    return entries_[at];
  }

  void hold(Entry& entry, uint32_t stream, int64_t held) {
    if (entry.isUsed) entry.held = held;
    else use(entry, stream, held);
  }

  void use(Entry& entry, uint32_t stream, int64_t held) {
    entry = {stream, true, held};
    count_ += 1;
    if (4 * count_ > 3 * (mask_ + 1)) grow(2 * (mask_ + 1));
  }

  // A power of two; every entry finds its new place.
  void grow(uint32_t capacity) {
    std::unique_ptr<Entry[]> old = std::move(entries_);
    const uint32_t oldCount = mask_ == 0 ? 0 : mask_ + 1;
    entries_ = std::make_unique<Entry[]>(capacity);
    mask_ = capacity - 1;
    last_ = 0;
    for (uint32_t index = 0; index < oldCount; index += 1) {
      if (old[index].isUsed) find(old[index].stream) = old[index];
    }
  }

  std::unique_ptr<Entry[]> entries_;
  uint32_t mask_ = 0;
  uint32_t count_ = 0;
  uint32_t last_ = 0;
};
