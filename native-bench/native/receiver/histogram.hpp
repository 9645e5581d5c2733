// Log-linear histogram from 1 us to 60 s, with the buckets of loadtest/receiver-latency.ts: one is at most 1/128 of its
// values wide and reported by its middle, so the error is at most 0.4 %; min and max are exact.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

class Histogram {
 public:
  static constexpr uint32_t LONGEST_US = 60'000'000;

  // Records a latency in microseconds, clamped to 0 to 60 s.
  void add(int64_t micros) {
    const uint32_t value = micros <= 0 ? 0 : micros >= LONGEST_US ? LONGEST_US : static_cast<uint32_t>(micros);
    buckets_[bucketOf(value)] += 1;
    count_ += 1;
    sum_ += value;
    if (value < min_) min_ = value;
    if (value > max_) max_ = value;
  }

  void reset() { *this = Histogram(); }

  uint64_t count() const { return count_; }
  uint32_t min() const { return count_ == 0 ? 0 : min_; }
  uint32_t max() const { return max_; }
  double mean() const { return count_ == 0 ? 0 : std::round(10.0 * sum_ / count_) / 10; }

  uint32_t quantile(double share) const {
    if (count_ == 0) return 0;
    const uint64_t rank = static_cast<uint64_t>(std::ceil(share * count_));
    uint64_t seen = 0;
    for (uint32_t bucket = 0; bucket < BUCKETS; bucket += 1) {
      seen += buckets_[bucket];
      if (seen >= rank) return std::max(min_, std::min(max_, middleOf(bucket)));
    }
    return max_;
  }

 private:
  static constexpr int SUB_BUCKET_BITS = 8;
  static constexpr uint32_t SUB_BUCKETS = 1 << SUB_BUCKET_BITS;
  static constexpr uint32_t HALF = SUB_BUCKETS / 2;
  // The longest latency has 26 bits.
  static constexpr uint32_t BUCKETS = (26 - SUB_BUCKET_BITS) * HALF + SUB_BUCKETS;

  static uint32_t bucketOf(uint32_t micros) {
    const int bits = micros == 0 ? 0 : 32 - __builtin_clz(micros);
    const int shift = bits <= SUB_BUCKET_BITS ? 0 : bits - SUB_BUCKET_BITS;
    return shift * HALF + (micros >> shift);
  }

  static uint32_t middleOf(uint32_t bucket) {
    if (bucket < SUB_BUCKETS) return bucket;
    const int shift = static_cast<int>(bucket / HALF) - 1;
    return ((bucket - shift * HALF) << shift) + ((1u << shift) >> 1);
  }

  uint64_t buckets_[BUCKETS] = {};
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
  uint32_t min_ = LONGEST_US;
  uint32_t max_ = 0;
};
