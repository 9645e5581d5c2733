// Bytes that grow at their end and are taken from their front: a message that is being put together, or what a socket
// did not take yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace websocket {

class Bytes {
 public:
  Bytes() = default;
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  ~Bytes() { std::free(data_); }

  uint8_t* data() { return data_ + from_; }
  size_t size() const { return size_ - from_; }
  bool empty() const { return from_ == size_; }

  void append(const void* bytes, size_t count) {
    if (count == 0) return;
    if (size_ + count > capacity_) makeRoom(count);
    std::memcpy(data_ + size_, bytes, count);
    size_ += count;
  }

  // Drops bytes from the front. They are not moved until room is short.
  void take(size_t count) {
    from_ += count;
    if (from_ == size_) from_ = size_ = 0;
  }

  // Empties it. Memory for one large message is given back: thousands of connections would keep it for ever.
  void clear() {
    from_ = size_ = 0;
    if (capacity_ <= KEPT_BYTES) return;
    std::free(data_);
    data_ = nullptr;
    capacity_ = 0;
  }

 private:
  static constexpr size_t KEPT_BYTES = 64 * 1024;
  static constexpr size_t LEAST_BYTES = 512;

  // Moves what is held to the front of other memory, larger if need be.
  void makeRoom(size_t count) {
    const size_t held = size();
    size_t capacity = capacity_ < LEAST_BYTES ? LEAST_BYTES : capacity_;
    while (capacity < held + count) capacity *= 2;
    uint8_t* other = static_cast<uint8_t*>(std::malloc(capacity));
    if (other == nullptr) throw std::bad_alloc();
    if (held > 0) std::memcpy(other, data_ + from_, held);
    std::free(data_);
    data_ = other;
    capacity_ = capacity;
    from_ = 0;
    size_ = held;
  }

  uint8_t* data_ = nullptr;
  size_t capacity_ = 0;
  size_t from_ = 0;
  size_t size_ = 0;
};

}  // namespace websocket
