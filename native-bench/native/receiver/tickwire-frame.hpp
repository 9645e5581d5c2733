// Reads what a receiver needs of a tickwire frame: through the vtable, within bounds, in place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

struct FrameHeader {
  uint32_t stream;
  // The place in the ring; that of a derived frame says nothing.
  int64_t position;
  int64_t seq;
  int64_t fromSeq;
  // Microseconds since 1970; 0 unknown.
  int64_t tsExchange;
  bool isDerived;

  // Sequences are whole numbers that a double holds too. A ring frame stands for itself at least; a derived one, such as
  // that of a building bar, for nothing when the ring has had none since the last.
  bool isPlausible() const { return fromSeq >= 0 && fromSeq - isDerived <= seq && seq < int64_t{1} << 53; }
};

namespace tickwire {

template <typename Number>
Number load(const uint8_t* at) {
  Number number;
  std::memcpy(&number, at, sizeof number);
  return number;
}

// A table whose vtable and inline bytes lie within the buffer.
class Table {
 public:
  // The root table; false when the bytes are no frame.
  bool attach(const uint8_t* bytes, size_t length) {
    // Root offset, identifier TWF1, and the root table's offset to its vtable.
    if (length < 12 || length > UINT32_MAX || load<uint32_t>(bytes + 4) != 0x31465754) return false;
    const uint32_t table = load<uint32_t>(bytes);
    if (table > length - 4) return false;
    const int64_t vtable = int64_t{table} - load<int32_t>(bytes + table);
    if (vtable < 0 || vtable > static_cast<int64_t>(length) - 4) return false;
    vtableBytes_ = load<uint16_t>(bytes + vtable);
    tableBytes_ = load<uint16_t>(bytes + vtable + 2);
    if (vtableBytes_ < 4 || (vtableBytes_ & 1) != 0 || vtable + vtableBytes_ > static_cast<int64_t>(length)) return false;
    if (tableBytes_ < 4 || table + size_t{tableBytes_} > length) return false;
    table_ = bytes + table;
    vtable_ = bytes + vtable;
    return true;
  }

  // Reads field number `slot`, 0 when the frame does not have it; false when it lies outside of its table.
  template <typename Number>
  bool read(unsigned slot, Number& out) const {
    const unsigned entry = 4 + 2 * slot;
    const unsigned offset = entry < vtableBytes_ ? load<uint16_t>(vtable_ + entry) : 0;
    out = 0;
    if (offset == 0) return true;
    if (offset < 4 || offset + sizeof(Number) > tableBytes_) return false;
    out = load<Number>(table_ + offset);
    return true;
  }

 private:
  const uint8_t* table_ = nullptr;
  const uint8_t* vtable_ = nullptr;
  uint16_t vtableBytes_ = 0;
  uint16_t tableBytes_ = 0;
};

// Fields of table Frame, in the schema's order from 0.
enum Slot : unsigned { STREAM = 0, POSITION = 3, SEQ = 4, FROM_SEQ = 5, TS_EXCHANGE = 6, FLAGS = 9 };

inline constexpr uint32_t FLAG_DERIVED = 1;

// Reads a frame; false when the bytes are not one.
inline bool readFrame(const uint8_t* bytes, size_t length, FrameHeader& frame) {
  Table table;
  uint32_t flags = 0;
  if (!table.attach(bytes, length) || !table.read(STREAM, frame.stream) ||
      !table.read(POSITION, frame.position) || !table.read(SEQ, frame.seq) || !table.read(FROM_SEQ, frame.fromSeq) ||
      !table.read(TS_EXCHANGE, frame.tsExchange) || !table.read(FLAGS, flags)) {
    return false;
  }
  frame.isDerived = (flags & FLAG_DERIVED) != 0;
  return true;
}

}  // namespace tickwire
