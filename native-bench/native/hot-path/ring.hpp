#pragma once
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "bytes.hpp"

/// What the ring knows of a frame: half a cache line.
struct alignas(32) Record {
  uint32_t place;
  uint32_t length;
  uint32_t stream;
  uint32_t unused;
  uint64_t sequence;
  uint64_t position;
};

/**
 * Finished frames, one after the other, in one block of memory; a frame never wraps. Record n lies at n & mask. The one
 * writer claims room, which pushes the tail over the oldest frames, writes the frame in place and commits it.
 */
class Ring {
 public:
  /// Takes about `budget` bytes, records included: one for each 128 bytes of frames, rounded down to a power of two.
  explicit Ring(size_t budget) {
    size_t count = 1;
    while (2 * count <= budget / (BYTES_PER_RECORD + sizeof(Record))) count *= 2;
    bytes = (budget - count * sizeof(Record)) / 8 * 8;
    memory.reset(static_cast<uint8_t*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)));
    records.reset(static_cast<Record*>(std::aligned_alloc(64, count * sizeof(Record))));
    if (memory == nullptr || records == nullptr) throw std::bad_alloc();
    mask = count - 1;
  }

  /// Room for a frame of at most `length` bytes.
  uint8_t* claim(size_t length) {
    if (writeAt + length > bytes) {
      evict(writeAt, bytes);
      writeAt = 0;
    }
    evict(writeAt, writeAt + length);
    return memory.get() + writeAt;
  }

  /// Makes the frame in the claimed room a record.
  void commit(size_t length, uint32_t stream, uint64_t sequence, uint64_t position) {
    const auto place = static_cast<uint32_t>(writeAt);
    records[head & mask] = {place, static_cast<uint32_t>(length), stream, 0, sequence, position};
    writeAt += length;
    head += 1;
  }

  const Record& record(uint64_t number) const { return records[number & mask]; }
  const uint8_t* frame(const Record& record) const { return memory.get() + record.place; }

  /// The oldest record that is still there, and one past the newest.
  uint64_t tail = 0;
  uint64_t head = 0;

 private:
  static constexpr size_t BYTES_PER_RECORD = 128;

  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };

  /// Gives up every record whose bytes lie in [from, to), and one more when all records are in use.
  void evict(size_t from, size_t to) {
    while (tail < head) {
      const Record& oldest = record(tail);
      const bool overlaps = oldest.place < to && oldest.place + oldest.length > from;
      if (!overlaps && head - tail <= mask) break;
      tail += 1;
    }
  }

  std::unique_ptr<uint8_t, Free> memory;
  std::unique_ptr<Record[], Free> records;
  size_t bytes;
  size_t mask;
  size_t writeAt = 0;
};

/// The ring of ticks and that of slow streams, one position counted over both.
struct FrameLog {
  Ring ticks;
  Ring slow;
  uint64_t next = 1;

  FrameLog(size_t tickBudget, size_t slowBudget) : ticks(tickBudget), slow(slowBudget) {}

  void commit(Ring& ring, size_t length, uint32_t stream, uint64_t sequence) {
    ring.commit(length, stream, sequence, next);
    next += 1;
  }
};
