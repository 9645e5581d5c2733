#pragma once
#include "binance.hpp"
#include "engine.hpp"
#include "input.hpp"

enum class Mode { PARSED, UNPARSED };

/// The path from the venue's bytes, or from numbers, to finished frames, over the input's messages round and round.
class Pipeline {
 public:
  explicit Pipeline(const std::string& path)
      : input(path),
        engine(input.listings.size(), input.tickBudget, input.slowBudget, input.epoch, StillClock{input.now}),
        symbols(input.listings.size()) {
    uint32_t largest = 0;
    for (const Listing& listing : input.listings) largest = std::max(largest, listing.id);
    std::vector<Instrument*> byId(largest + 1);
    for (uint32_t index = 0; index < input.listings.size(); index += 1) {
      const Listing& listing = input.listings[index];
      const size_t length = listing.name.size();
      if (length == 0 || length > Symbols::LONGEST) throw std::invalid_argument("no name for us: " + listing.name);
      symbols.add(listing.name, index);
      engine.instruments[index].id = listing.id;
      engine.instruments[index].open = true;
      byId[listing.id] = &engine.instruments[index];
    }
    for (const StartFrame& frame : input.frames) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(frame.bytes.data());
      engine.frames.take(bytes, frame.bytes.size(), frame.stream, frame.sequence);
      const uint32_t id = frame.stream >> layout::SLOT_BITS;
      if (frame.stream == 0) engine.frames.directorySequence = frame.sequence;
      else if (id <= largest && byId[id] != nullptr) byId[id]->tradeSequence = frame.sequence;
    }
    for (const Message& message : input.messages) readNumbers(message);
  }

  /// Goes to the next messages and moves them on by one pass, which also brings their bytes into the cache.
  void next() {
    const size_t count = input.messages.size();
    from = to == count ? 0 : to;
    to = std::min(from + CHUNK, count);
    for (size_t index = from; index < to; index += 1) {
      const Message& message = input.messages[index];
      const uint32_t passTrades = input.listings[message.instrument].passTrades;
      addDigits(message.bytes + message.idEnd, passTrades);
      addDigits(message.bytes + message.eventTimeEnd, input.spanMs);
      addDigits(message.bytes + message.tradeTimeEnd, input.spanMs);
      numbers[index].trade.number += passTrades;
      numbers[index].trade.time += static_cast<int64_t>(input.spanMs) * 1000;
    }
  }

  /// Messages of one run, on average.
  double runTrades() const {
    const size_t count = input.messages.size();
    return static_cast<double>(count) / static_cast<double>((count + CHUNK - 1) / CHUNK);
  }

  void run(Mode mode) {
    if (mode == Mode::PARSED) parsed();
    else unparsed();
  }

  /// Runs until the ring has come round once: only then does no frame touch memory for the first time.
  void warmUp(Mode mode) {
    while (engine.frames.log.ticks.tail == 0) {
      next();
      run(mode);
    }
  }

  /// Every message was scanned, none was taken for a duplicate, none followed a hole.
  void check() const {
    if (refused != 0) throw std::runtime_error(std::to_string(refused) + " messages have a shape that is not scanned");
    const uint64_t others = engine.unwanted + engine.duplicates + engine.holes;
    if (others != 0) throw std::runtime_error("ids do not follow each other");
  }

  uint64_t refused = 0;

 private:
  static constexpr size_t CHUNK = 512;

  /// A message as a feed would leave it, its id's digits where they were at the start.
  struct Numbers {
    Trade trade;
    uint32_t instrument;
    char id[16];
  };

  void parsed() {
    for (size_t index = from; index < to; index += 1) {
      const Message& message = input.messages[index];
      Trade trade;
      uint32_t instrument;
      if (!scanTrade(message.bytes, message.length, symbols, trade, instrument)) {
        refused += 1;
        continue;
      }
      engine.begin();
      engine.instruments[instrument].started = true;
      engine.trade(instrument, trade);
    }
  }

  void unparsed() {
    for (size_t index = from; index < to; index += 1) {
      const Numbers& source = numbers[index];
      Trade trade = source.trade;
      trade.id = source.id;
      engine.begin();
      engine.trade(source.instrument, trade);
    }
  }

  void readNumbers(const Message& message) {
    Numbers read{};
    if (!scanTrade(message.bytes, message.length, symbols, read.trade, read.instrument)) {
      throw std::invalid_argument("a message is no trade: " + std::string(message.bytes, message.length));
    }
    std::memcpy(read.id, read.trade.id, std::min<size_t>(read.trade.idLength, sizeof read.id));
    numbers.push_back(read);
  }

  /// Adds to the number whose last digit is before `end`.
  static void addDigits(char* end, uint64_t amount) {
    for (uint64_t carry = amount; carry > 0;) {
      end -= 1;
      const uint64_t sum = static_cast<uint64_t>(*end - '0') + carry % 10;
      *end = static_cast<char>('0' + sum % 10);
      carry = carry / 10 + (sum >= 10 ? 1 : 0);
    }
  }

  Input input;

 public:
  Engine engine;

 private:
  Symbols symbols;
  std::vector<Numbers> numbers;
  size_t from = 0;
  size_t to = 0;
};
