#pragma once
#include <algorithm>
#include <chrono>
#include <limits>

#include "pipeline.hpp"

/* Times as native-bench/bench.ts and scale.ts take them: what makes the next messages is outside of them. */

inline double nanosecondsOf(Pipeline& pipeline, Mode mode) {
  pipeline.next();
  const auto begun = std::chrono::steady_clock::now();
  pipeline.run(mode);
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begun).count();
}

inline double medianOf(std::vector<double> figures) {
  std::sort(figures.begin(), figures.end());
  return figures[figures.size() / 2];
}

/// Nanoseconds of a trade: the least of so many medians of runs, because what else runs on the machine only ever adds.
inline double tradeCost(Pipeline& pipeline, Mode mode) {
  constexpr int ROUNDS = 7;
  constexpr double WARM_UP_NS = 200e6;
  constexpr double ROUND_NS = 400e6;
  pipeline.warmUp(mode);
  double least = std::numeric_limits<double>::infinity();
  for (int round = 0; round < ROUNDS; round += 1) {
    for (double spent = 0; spent < WARM_UP_NS;) spent += nanosecondsOf(pipeline, mode);
    std::vector<double> figures;
    for (double spent = 0; spent < ROUND_NS; spent += figures.back()) figures.push_back(nanosecondsOf(pipeline, mode));
    least = std::min(least, medianOf(figures) / pipeline.runTrades());
  }
  pipeline.check();
  return least;
}

/// Nanoseconds of a trade with few and with many instruments, side by side, and the median ratio of neighbours.
struct Scale {
  double few;
  double many;
  double ratio;
};

inline double blockCost(Pipeline& pipeline, Mode mode) {
  constexpr double BLOCK_TRADES = 20'000;
  double trades = 0;
  double spent = 0;
  for (; trades < BLOCK_TRADES; trades += pipeline.runTrades()) spent += nanosecondsOf(pipeline, mode);
  return spent / trades;
}

inline Scale scaleOf(Pipeline& few, Pipeline& many, Mode mode) {
  constexpr int BLOCKS = 60;
  few.warmUp(mode);
  many.warmUp(mode);
  std::vector<double> fews;
  std::vector<double> manies;
  std::vector<double> ratios;
  for (int block = 0; block < BLOCKS; block += 1) {
    fews.push_back(blockCost(few, mode));
    manies.push_back(blockCost(many, mode));
    ratios.push_back(manies.back() / fews.back());
  }
  few.check();
  many.check();
  return {medianOf(fews), medianOf(manies), medianOf(ratios)};
}
