// The file of ready frames that loadtest/frame-file.ts writes. All numbers are little-endian u32:
//
//   0   "TWFRAMES"
//   8   1, the version
//   12  how many frames
//   16  where in a frame lie: seq, from_seq, position, ts_exchange, ts_receive, ts_publish (six places, 64-bit fields)
//   40  the frames: length, then so many bytes
//
// They are laid out once, each behind its WebSocket header, so that a batch is one run of bytes.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "../websocket/frame-writer.hpp"

class FrameFile {
 public:
  // What is wrong with the file, or nothing.
  std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return "cannot read " + path;
    const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (bytes.size() < HEADER_BYTES || std::memcmp(bytes.data(), "TWFRAMES", 8) != 0 || number(bytes, 8) != 1) {
      return path + " is no file of frames";
    }
    const uint32_t count = number(bytes, 12);
    uint32_t largestPlace = 0;
    for (uint32_t field = 0; field < FIELDS; field += 1) {
      places_[field] = number(bytes, 16 + 4 * field);
      if (places_[field] > largestPlace) largestPlace = places_[field];
    }
    size_t at = HEADER_BYTES;
    for (uint32_t index = 0; index < count; index += 1) {
      const uint32_t length = at + 4 <= bytes.size() ? number(bytes, at) : 0;
      if (length < largestPlace + 8 || at + 4 + length > bytes.size()) return path + " is cut short, or damaged";
      lay(reinterpret_cast<const uint8_t*>(bytes.data()) + at + 4, length);
      at += 4 + length;
    }
    starts_.push_back(laid_.size());
    return count == 0 || at != bytes.size() ? path + " has no frames, or more than it says" : "";
  }

  size_t count() const { return payloads_.size(); }

  // Where frame `index` begins with its WebSocket header; that of `count()` is the end.
  const uint8_t* start(size_t index) const { return laid_.data() + starts_[index]; }

  // Gives a frame its numbers; times in microseconds.
  void patch(size_t index, uint64_t seq, int64_t tsExchange, int64_t now) {
    uint8_t* frame = laid_.data() + payloads_[index];
    store(frame + places_[SEQ], seq);
    store(frame + places_[FROM_SEQ], seq);
    store(frame + places_[POSITION], seq);
    store(frame + places_[TS_EXCHANGE], tsExchange);
    store(frame + places_[TS_RECEIVE], now);
    store(frame + places_[TS_PUBLISH], now);
  }

 private:
  enum Field { SEQ, FROM_SEQ, POSITION, TS_EXCHANGE, TS_RECEIVE, TS_PUBLISH, FIELDS };
  static constexpr size_t HEADER_BYTES = 16 + 4 * FIELDS;

  static uint32_t number(const std::vector<char>& bytes, size_t at) {
    uint32_t value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
  }

  template <typename Number>
  static void store(uint8_t* at, Number value) {
    std::memcpy(at, &value, sizeof value);
  }

  void lay(const uint8_t* frame, uint32_t length) {
    uint8_t header[websocket::LONGEST_SERVER_HEADER];
    const size_t bytes = websocket::writeHeader(header, websocket::BINARY, length, false);
    starts_.push_back(laid_.size());
    laid_.insert(laid_.end(), header, header + bytes);
    payloads_.push_back(laid_.size());
    laid_.insert(laid_.end(), frame, frame + length);
  }

  uint32_t places_[FIELDS] = {};
  std::vector<uint8_t> laid_;
  std::vector<size_t> starts_;
  std::vector<size_t> payloads_;
};
