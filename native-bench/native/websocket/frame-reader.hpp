// Reads WebSocket frames (RFC 6455, section 5) from a stream that is cut anywhere. A message that lies whole in what was
// read is handed over where it lies; only one that is cut, or comes in fragments, is copied.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "bytes.hpp"

namespace websocket {

enum Opcode : uint8_t { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

// Who sends: what a client sends is masked, what a server sends is not.
enum class Peer { Client, Server };

enum class Reading { Continues, Stopped, ProtocolError };

class FrameReader {
 public:
  FrameReader(Peer peer, size_t maxMessageBytes) : isMasked_(peer == Peer::Client), maxBytes_(maxMessageBytes) {}

  // Reads on. `handler.message(opcode, data, count)` takes whole messages, `handler.control(opcode, data, count)` pings,
  // pongs and closes; either returns false to stop, after which nothing more may be fed. The bytes may be changed.
  template <typename Handler>
  Reading feed(uint8_t* at, size_t count, Handler& handler) {
    uint8_t* const end = at + count;
    while (true) {
      if (!isInPayload_) {
        if (at == end) return Reading::Continues;
        const uint8_t* head = header(at, end);
        if (head == nullptr) return Reading::Continues;
        if (!begin(head)) return Reading::ProtocolError;
        if (isWhole(end - at)) {
          uint8_t* payload = at;
          at += remaining_;
          if (isMasked_) unmask(payload, remaining_, 0);
          if (!deliver(handler, payload, remaining_)) return Reading::Stopped;
          continue;
        }
        isInPayload_ = true;
      }
      const size_t taken = std::min<size_t>(end - at, remaining_);
      if (isMasked_) unmask(at, taken, unmasked_);
      unmasked_ += taken;
      Bytes& into = isControl() ? control_ : message_;
      into.append(at, taken);
      at += taken;
      remaining_ -= taken;
      if (remaining_ > 0) return Reading::Continues;
      isInPayload_ = false;
      if (!isControl() && !isFinal_) continue;
      const bool goesOn = deliver(handler, into.data(), into.size());
      into.clear();
      if (!goesOn) return Reading::Stopped;
    }
  }

 private:
  static constexpr size_t LONGEST_HEADER = 14;

  static size_t headerBytes(const uint8_t* head) {
    const unsigned length = head[1] & 0x7f;
    return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + ((head[1] & 0x80) != 0 ? 4 : 0);
  }

  // The next frame's header, and `at` behind it; nullptr when it is not whole yet.
  const uint8_t* header(uint8_t*& at, uint8_t* end) {
    if (held_ == 0 && end - at >= 2) {
      const size_t bytes = headerBytes(at);
      if (static_cast<size_t>(end - at) >= bytes) {
        const uint8_t* head = at;
        at += bytes;
        return head;
      }
    }
    while (at != end) {
      heldBytes_[held_++] = *at++;
      if (held_ >= 2 && held_ == headerBytes(heldBytes_)) {
        held_ = 0;
        return heldBytes_;
      }
    }
    return nullptr;
  }

  // Takes a header; false when it breaks the protocol.
  bool begin(const uint8_t* head) {
    const bool isMasked = (head[1] & 0x80) != 0;
    const unsigned shortLength = head[1] & 0x7f;
    uint64_t length = shortLength;
    if (shortLength == 126) length = (head[2] << 8) | head[3];
    if (shortLength == 127) {
      length = 0;
      for (int index = 2; index < 10; index += 1) length = (length << 8) | head[index];
    }
    opcode_ = head[0] & 0x0f;
    isFinal_ = (head[0] & 0x80) != 0;
    remaining_ = length;
    unmasked_ = 0;
    if (isMasked != isMasked_ || (head[0] & 0x70) != 0) return false;
    if (isMasked) std::memcpy(mask_, head + headerBytes(head) - 4, 4);
    if (isControl()) return isFinal_ && length <= 125 && opcode_ <= PONG;
    if (opcode_ > BINARY || (opcode_ == CONTINUATION) != isFragmented_) return false;
    if (length > maxBytes_ || message_.size() + length > maxBytes_) return false;
    if (opcode_ != CONTINUATION) kind_ = opcode_;
    isWhole_ = opcode_ != CONTINUATION && isFinal_;
    isFragmented_ = !isFinal_;
    return true;
  }

  bool isControl() const { return opcode_ >= CLOSE; }

  // True when the frame is a message, and so many bytes hold all of it.
  bool isWhole(size_t bytes) const { return (isControl() || isWhole_) && bytes >= remaining_; }

  template <typename Handler>
  bool deliver(Handler& handler, const uint8_t* data, size_t count) {
    if (isControl()) return handler.control(static_cast<Opcode>(opcode_), data, count);
    return handler.message(static_cast<Opcode>(kind_), data, count);
  }

  void unmask(uint8_t* data, size_t count, size_t from) {
    for (size_t index = 0; index < count; index += 1) data[index] ^= mask_[(from + index) & 3];
  }

  const bool isMasked_;
  const size_t maxBytes_;
  bool isInPayload_ = false;
  // A message was begun in fragments and not ended.
  bool isFragmented_ = false;
  bool isWhole_ = false;
  bool isFinal_ = false;
  uint8_t opcode_ = 0;
  // Of the message, which its first fragment says.
  uint8_t kind_ = 0;
  uint8_t held_ = 0;
  uint8_t mask_[4] = {};
  uint8_t heldBytes_[LONGEST_HEADER] = {};
  uint64_t remaining_ = 0;
  size_t unmasked_ = 0;
  Bytes message_;
  Bytes control_;
};

}  // namespace websocket
