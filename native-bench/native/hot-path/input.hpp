#pragma once
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "scan.hpp"

/*
 * The input file, little-endian, as native-input.ts writes it:
 *
 *   "TWHI0001"  tick ring, slow ring (bytes), epoch, now, span (ms): u64 each
 *   instruments: u32 count, then each: u32 id, u32 trades in a pass, u32 length and the bytes of the venue's name
 *   messages: u32 count, then each: u32 instrument's index, u32 ends of id, event time and trade time, u32 length and
 *   the bytes
 *   frames at the start: u32 count, then each: u32 stream, u64 sequence, u32 length, bytes
 */
struct Listing {
  uint32_t id;
  uint32_t passTrades;
  std::string name;
};

/// A message with the places of the digits that grow from pass to pass.
struct Message {
  uint32_t instrument;
  uint32_t idEnd;
  uint32_t eventTimeEnd;
  uint32_t tradeTimeEnd;
  uint32_t length;
  char* bytes;
};

struct StartFrame {
  uint32_t stream;
  uint64_t sequence;
  std::string bytes;
};

class Input {
 public:
  uint64_t tickBudget;
  uint64_t slowBudget;
  uint64_t epoch;
  int64_t now;
  uint64_t spanMs;
  std::vector<Listing> listings;
  std::vector<Message> messages;
  std::vector<StartFrame> frames;

  explicit Input(const std::string& path) : path(path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::invalid_argument(path + " cannot be read");
    content.assign(std::istreambuf_iterator<char>(file), {});
    if (content.compare(0, 8, "TWHI0001") != 0) throw std::invalid_argument(path + " is no input of this program");
    at = 8;
    tickBudget = number<uint64_t>();
    slowBudget = number<uint64_t>();
    epoch = number<uint64_t>();
    now = number<int64_t>();
    spanMs = number<uint64_t>();
    readListings();
    readMessages();
    readFrames();
    if (at != content.size()) throw std::invalid_argument(path + " has more than it says");
  }

 private:
  void readListings() {
    for (uint32_t left = number<uint32_t>(); left > 0; left -= 1) {
      const auto id = number<uint32_t>();
      const auto passTrades = number<uint32_t>();
      const auto length = number<uint32_t>();
      listings.push_back({id, passTrades, std::string(take(length), length)});
    }
  }

  /// The messages' bytes lie one after the other, as in a receive buffer.
  void readMessages() {
    const size_t from = at;
    size_t total = 0;
    const auto count = number<uint32_t>();
    for (uint32_t left = count; left > 0; left -= 1) total += readMessage().length;
    bytes.resize(total + READ_AHEAD);
    at = from + sizeof count;
    size_t place = 0;
    for (uint32_t left = count; left > 0; left -= 1) {
      Message message = readMessage();
      std::memcpy(bytes.data() + place, message.bytes, message.length);
      message.bytes = bytes.data() + place;
      place += message.length;
      messages.push_back(message);
    }
    if (messages.empty()) throw std::invalid_argument(path + " has no messages");
  }

  Message readMessage() {
    Message message;
    message.instrument = number<uint32_t>();
    message.idEnd = number<uint32_t>();
    message.eventTimeEnd = number<uint32_t>();
    message.tradeTimeEnd = number<uint32_t>();
    message.length = number<uint32_t>();
    message.bytes = take(message.length);
    const uint32_t last = std::max({message.idEnd, message.eventTimeEnd, message.tradeTimeEnd});
    if (message.instrument < listings.size() && last <= message.length) return message;
    throw std::invalid_argument(path + " has a message with places that do not exist");
  }

  void readFrames() {
    for (uint32_t left = number<uint32_t>(); left > 0; left -= 1) {
      const auto stream = number<uint32_t>();
      const auto sequence = number<uint64_t>();
      const auto length = number<uint32_t>();
      frames.push_back({stream, sequence, std::string(take(length), length)});
    }
  }

  template <class T>
  T number() {
    return load<T>(take(sizeof(T)));
  }

  char* take(size_t length) {
    if (length > content.size() - at) throw std::invalid_argument(path + " is cut short");
    at += length;
    return content.data() + at - length;
  }

  std::string path;
  std::string content;
  std::string bytes;
  size_t at;
};
