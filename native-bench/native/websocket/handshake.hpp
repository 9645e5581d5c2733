// The opening handshake (RFC 6455, section 4): one HTTP head each way, and the key that proves that the other side read it.
#pragma once

#include <cctype>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace websocket {

inline std::string base64(const uint8_t* bytes, size_t count) {
  static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t at = 0; at < count; at += 3) {
    const size_t left = count - at;
    const uint32_t group = (bytes[at] << 16) | (left > 1 ? bytes[at + 1] << 8 : 0) | (left > 2 ? bytes[at + 2] : 0);
    text += LETTERS[group >> 18];
    text += LETTERS[(group >> 12) & 63];
    text += left > 1 ? LETTERS[(group >> 6) & 63] : '=';
    text += left > 2 ? LETTERS[group & 63] : '=';
  }
  return text;
}

inline uint32_t rotateLeft(uint32_t word, int bits) { return (word << bits) | (word >> (32 - bits)); }

inline void sha1Block(uint32_t state[5], const uint8_t* block) {
  uint32_t words[80];
  for (int i = 0; i < 16; i += 1) {
    words[i] = (uint32_t{block[4 * i]} << 24) | (block[4 * i + 1] << 16) | (block[4 * i + 2] << 8) | block[4 * i + 3];
  }
  for (int i = 16; i < 80; i += 1) words[i] = rotateLeft(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
  for (int i = 0; i < 80; i += 1) {
    uint32_t mixed;
    uint32_t constant;
    if (i < 20) mixed = (b & c) | (~b & d), constant = 0x5a827999;
    else if (i < 40) mixed = b ^ c ^ d, constant = 0x6ed9eba1;
    else if (i < 60) mixed = (b & c) | (b & d) | (c & d), constant = 0x8f1bbcdc;
    else mixed = b ^ c ^ d, constant = 0xca62c1d6;
    const uint32_t next = rotateLeft(a, 5) + mixed + e + constant + words[i];
    e = d;
    d = c;
    c = rotateLeft(b, 30);
    b = a;
    a = next;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
}

// SHA-1 (FIPS 180-4) of a short text. Broken for signatures; here it is what the protocol asks for.
inline void sha1(std::string_view text, uint8_t digest[20]) {
  uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  std::string padded(text);
  padded += '\x80';
  while (padded.size() % 64 != 56) padded += '\0';
  const uint64_t bits = uint64_t{text.size()} * 8;
  for (int shift = 56; shift >= 0; shift -= 8) padded += static_cast<char>(bits >> shift);
  for (size_t at = 0; at < padded.size(); at += 64) sha1Block(state, reinterpret_cast<const uint8_t*>(padded.data()) + at);
  for (int i = 0; i < 20; i += 1) digest[i] = static_cast<uint8_t>(state[i / 4] >> (24 - 8 * (i % 4)));
}

// What the server answers to a client's Sec-WebSocket-Key.
inline std::string acceptOf(std::string_view key) {
  uint8_t digest[20];
  sha1(std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", digest);
  return base64(digest, sizeof digest);
}

inline bool equalsIgnoringCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); i += 1) {
    if (std::tolower(static_cast<unsigned char>(a[i])) != std::tolower(static_cast<unsigned char>(b[i]))) return false;
  }
  return true;
}

// The bytes of an HTTP head with its empty line; 0 when it is not whole yet.
inline size_t headBytes(std::string_view text) {
  const size_t end = text.find("\r\n\r\n");
  return end == std::string_view::npos ? 0 : end + 4;
}

// The value of a header field of a whole head; empty when it is not there.
inline std::string_view headerOf(std::string_view head, std::string_view name) {
  size_t at = head.find("\r\n");
  while (at != std::string_view::npos && at + 4 < head.size()) {
    const size_t from = at + 2;
    at = head.find("\r\n", from);
    const std::string_view line = head.substr(from, at - from);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || !equalsIgnoringCase(line.substr(0, colon), name)) continue;
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
    return value;
  }
  return {};
}

}  // namespace websocket
