#pragma once
#include <memory>
#include <vector>

#include "indicators.hpp"

/**
 * The closed bars of one series, oldest first, and its indicators: after the newest bar, and before each block of bars,
 * from where they can be computed again. A whole block is dropped at a time, once one more than the limit is full.
 */
class Series {
 public:
  Indicators lead;

  int count() const { return bars; }
  Bar& at(int index) { return blocks[index / BLOCK]->bars[index % BLOCK]; }

  /// Appends a closed bar and advances the indicators.
  void push(const Bar& bar) {
    if (bars == FULL) drop();
    append(bar);
    mark(bars - 1);
    lead.update(bar);
  }

  /// How many bars opened before `time`.
  int search(int64_t time) {
    int low = 0;
    int high = bars;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (at(middle).openTime < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /// Makes room for one more bar at `index`; where that is then, or -1 when it is before what is kept.
  int makeRoom(int index) {
    const bool full = bars == FULL;
    const int place = full ? index - BLOCK : index;
    if (place < 0 || (place == 0 && (full || dropped))) return -1;
    if (full) drop();
    return place;
  }

  void insert(int index, const Bar& bar) {
    append(bar);
    for (int to = bars - 1; to > index; to -= 1) at(to) = at(to - 1);
    at(index) = bar;
  }

  /// The rows of the bars from `index` on, from the checkpoint before them.
  std::vector<Row> rows(int index) {
    std::vector<Row> rows;
    if (index >= bars) return rows;
    Indicators state = blocks[index / BLOCK]->before;
    for (int bar = index / BLOCK * BLOCK; bar < bars; bar += 1) {
      state.update(at(bar));
      if (bar >= index) rows.emplace_back(state);
    }
    return rows;
  }

  /// Computes everything from the bar `index` on anew; returns the rows from there.
  std::vector<Row> recompute(int index) {
    std::vector<Row> rows;
    const int block = index / BLOCK;
    if (block < marks) lead = blocks[block]->before;
    for (int bar = block * BLOCK; bar < bars; bar += 1) {
      mark(bar);
      lead.update(at(bar));
      if (bar >= index) rows.emplace_back(lead);
    }
    return rows;
  }

 private:
  static constexpr int BLOCK = layout::BLOCK_BARS;
  static constexpr int FULL = ((layout::HISTORY_BARS + BLOCK - 1) / BLOCK + 1) * BLOCK;

  struct Block {
    Indicators before;
    Bar bars[BLOCK];
  };

  void append(const Bar& bar) {
    if (bars % BLOCK == 0) blocks.push_back(spare != nullptr ? std::move(spare) : std::make_unique<Block>());
    bars += 1;
    at(bars - 1) = bar;
  }

  /// Keeps the lead, which has not seen bar `index` yet, when that is the first of its block.
  void mark(int index) {
    if (index % BLOCK != 0) return;
    blocks[index / BLOCK]->before = lead;
    marks = std::max(marks, index / BLOCK + 1);
  }

  void drop() {
    spare = std::move(blocks.front());
    blocks.erase(blocks.begin());
    bars -= BLOCK;
    marks -= 1;
    dropped = true;
  }

  std::vector<std::unique_ptr<Block>> blocks;
  std::unique_ptr<Block> spare;
  int bars = 0;
  int marks = 0;
  bool dropped = false;
};
