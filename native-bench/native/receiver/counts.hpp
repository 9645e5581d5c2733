// The counts of all clients, and the line that reports them.
#pragma once

#include <sys/resource.h>
#include <time.h>

#include <cstdint>
#include <cstdio>
#include <map>
#include <string>

#include "histogram.hpp"
#include "sequences.hpp"

inline int64_t microsOf(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return int64_t{time.tv_sec} * 1'000'000 + time.tv_nsec / 1000;
}

struct Counts {
  uint64_t frames = 0;
  // Payload bytes of frames.
  uint64_t bytes = 0;
  // Resumes that came to their `replay_end`, and the ring frames that came before it.
  uint64_t replays = 0;
  uint64_t replayed = 0;
  uint64_t dropped = 0;
  SequenceCounts sequences;
  Histogram latency;
  std::map<std::string, uint64_t> closed;
  std::map<std::string, uint64_t> errors;
  int64_t sinceMicros = microsOf(CLOCK_MONOTONIC);
  int64_t processorMicros = microsOf(CLOCK_PROCESS_CPUTIME_ID);

  void error(const std::string& text) { errors[text] += 1; }
};

// What is known of the ready clients at the time of a report.
struct ReadyClients {
  uint64_t count = 0;
  uint64_t leastFrames = 0;
  uint64_t mostFrames = 0;
  // The same of frames and those that gaps named together.
  uint64_t leastAccounted = 0;
  uint64_t mostAccounted = 0;
};

// A text as JSON: what a server sent may hold anything.
inline std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char letter : text) {
    const unsigned char code = static_cast<unsigned char>(letter);
    if (code == '"' || code == '\\') out += '\\';
    if (code >= 0x20 && code < 0x7f) out += letter;
    else out += '?';
  }
  return out + "\"";
}

inline std::string objectOf(const std::map<std::string, uint64_t>& counts) {
  std::string out = "{";
  for (const auto& [text, count] : counts) {
    if (out.size() > 1) out += ',';
    out += quoted(text) + ':' + std::to_string(count);
  }
  return out + "}";
}

inline void printReport(const Counts& counts, const ReadyClients& ready) {
  const double seconds = (microsOf(CLOCK_MONOTONIC) - counts.sinceMicros) / 1e6;
  const int64_t processorMs = (microsOf(CLOCK_PROCESS_CPUTIME_ID) - counts.processorMicros + 500) / 1000;
  const Histogram& latency = counts.latency;
  std::printf(
      "{\"event\":\"report\",\"seconds\":%.3f,\"frames\":%llu,\"bytes\":%llu,\"holes\":%llu,\"duplicates\":%llu,"
      "\"gaps\":%llu,\"gapFrames\":%llu,\"replays\":%llu,\"replayed\":%llu,"
      "\"leastFrames\":%llu,\"mostFrames\":%llu,\"leastAccounted\":%llu,\"mostAccounted\":%llu,\"clients\":%llu,"
      "\"latencyUs\":{\"count\":%llu,\"min\":%u,\"mean\":%.1f,\"p50\":%u,\"p90\":%u,\"p99\":%u,\"p999\":%u,\"max\":%u},"
      "\"cpuMs\":%lld,\"dropped\":%llu,\"closed\":%s,\"errors\":%s}\n",
      seconds, static_cast<unsigned long long>(counts.frames), static_cast<unsigned long long>(counts.bytes),
      static_cast<unsigned long long>(counts.sequences.holes),
      static_cast<unsigned long long>(counts.sequences.duplicates),
      static_cast<unsigned long long>(counts.sequences.gaps), static_cast<unsigned long long>(counts.sequences.gapFrames),
      static_cast<unsigned long long>(counts.replays), static_cast<unsigned long long>(counts.replayed),
      static_cast<unsigned long long>(ready.leastFrames), static_cast<unsigned long long>(ready.mostFrames),
      static_cast<unsigned long long>(ready.leastAccounted), static_cast<unsigned long long>(ready.mostAccounted),
      static_cast<unsigned long long>(ready.count),
      static_cast<unsigned long long>(latency.count()), latency.min(), latency.mean(), latency.quantile(0.5),
      latency.quantile(0.9), latency.quantile(0.99), latency.quantile(0.999), latency.max(),
      static_cast<long long>(processorMs), static_cast<unsigned long long>(counts.dropped),
      objectOf(counts.closed).c_str(), objectOf(counts.errors).c_str());
  std::fflush(stdout);
}
