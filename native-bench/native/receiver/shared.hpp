// What all clients of the one thread share.
#pragma once

#include <sys/socket.h>

#include <cstdint>

#include "../websocket/socket.hpp"
#include "counts.hpp"
#include "messages.hpp"
#include "settings.hpp"

struct Shared {
  Settings settings;
  Counts counts;
  SymbolNumbers symbols;
  websocket::Epoll epoll;
  sockaddr_storage address{};
  socklen_t addressBytes = 0;
  // Real time, microseconds, when the bytes being looked at were read.
  int64_t nowMicros = 0;
  uint64_t randomState = 0x9e3779b97f4a7c15;
  uint8_t buffer[256 * 1024];

  // For masks and keys, which need to differ and no more (xorshift64*).
  uint64_t random() {
    randomState ^= randomState >> 12;
    randomState ^= randomState << 25;
    randomState ^= randomState >> 27;
    return randomState * 0x2545f4914f6cdd1d;
  }
};
