#pragma once
#include <cstdint>
#include <cstring>

/// Reads a value where it lies, at any alignment.
template <class T>
inline T load(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

/// Writes a value where a frame has its place.
template <class T>
inline void store(uint8_t* at, T value) {
  std::memcpy(at, &value, sizeof value);
}
