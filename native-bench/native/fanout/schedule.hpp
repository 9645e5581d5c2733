// When frames are due: at fixed times, or at once.
#pragma once

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

inline int64_t microsOf(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return int64_t{time.tv_sec} * 1'000'000 + time.tv_nsec / 1000;
}

class Schedule {
 public:
  // `rate` frames a second; 0 is at once.
  explicit Schedule(uint32_t rate)
      : rate_(rate), timer_(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC)) {}
  ~Schedule() { close(timer_); }
  Schedule(const Schedule&) = delete;
  Schedule& operator=(const Schedule&) = delete;

  bool isOpenLoop() const { return rate_ > 0; }
  // Readable when the next frame is due, once `arm` was called.
  int timer() const { return timer_; }

  void start() {
    startMicros_ = microsOf(CLOCK_REALTIME);
    taken_ = 0;
  }

  // Frames that are due and were not taken.
  uint64_t due(int64_t now) const {
    const uint64_t all = static_cast<uint64_t>(std::max<int64_t>(0, now - startMicros_)) * rate_ / 1'000'000 + 1;
    return all - std::min(all, taken_);
  }

  // The time at which the next frame is due, which `take` counts as published.
  int64_t next() const { return startMicros_ + static_cast<int64_t>(taken_ * 1'000'000 / rate_); }
  void take() { taken_ += 1; }

  void arm() {
    const int64_t at = next();
    itimerspec time{};
    time.it_value.tv_sec = at / 1'000'000;
    time.it_value.tv_nsec = at % 1'000'000 * 1000;
    timerfd_settime(timer_, TFD_TIMER_ABSTIME, &time, nullptr);
  }

  void disarm() {
    uint64_t expirations;
    if (::read(timer_, &expirations, sizeof expirations) < 0) return;
  }

 private:
  const uint32_t rate_;
  const int timer_;
  int64_t startMicros_ = 0;
  uint64_t taken_ = 0;
};
