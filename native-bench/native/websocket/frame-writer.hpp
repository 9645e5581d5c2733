// Writes WebSocket frames: whole messages, never in fragments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "bytes.hpp"
#include "frame-reader.hpp"

namespace websocket {

inline constexpr size_t LONGEST_SERVER_HEADER = 10;

// Writes the header of a final frame and returns its length, 2 to 10 bytes, without the mask's.
inline size_t writeHeader(uint8_t* out, Opcode opcode, size_t length, bool isMasked) {
  const uint8_t mask = isMasked ? 0x80 : 0;
  out[0] = 0x80 | opcode;
  if (length < 126) {
    out[1] = mask | static_cast<uint8_t>(length);
    return 2;
  }
  const int bytes = length < 65536 ? 2 : 8;
  out[1] = mask | (bytes == 2 ? 126 : 127);
  for (int index = 0; index < bytes; index += 1) out[2 + index] = static_cast<uint8_t>(length >> (8 * (bytes - 1 - index)));
  return 2 + bytes;
}

// Appends a frame of a server, whose payload is not masked.
inline void appendFrame(Bytes& out, Opcode opcode, const void* payload, size_t length) {
  uint8_t header[LONGEST_SERVER_HEADER];
  out.append(header, writeHeader(header, opcode, length, false));
  out.append(payload, length);
}

// Appends a frame of a client. The mask keeps proxies from being fooled; it needs no more than to differ.
inline void appendMaskedFrame(Bytes& out, Opcode opcode, const void* payload, size_t length, uint32_t mask) {
  uint8_t header[LONGEST_SERVER_HEADER];
  out.append(header, writeHeader(header, opcode, length, true));
  out.append(&mask, 4);
  uint8_t key[4];
  std::memcpy(key, &mask, 4);
  const size_t from = out.size();
  out.append(payload, length);
  uint8_t* masked = out.data() + from;
  for (size_t index = 0; index < length; index += 1) masked[index] ^= key[index & 3];
}

}  // namespace websocket
