// What a text message says: a frame in JSON, a venue's own trade, or control.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>

#include "../websocket/json-scan.hpp"
#include "settings.hpp"
#include "tickwire-frame.hpp"

enum class TextKind { Frame, Control, Malformed };

// Numbers for a venue's symbols, in the order in which they come.
class SymbolNumbers {
 public:
  uint32_t of(std::string_view symbol) {
    const auto found = numbers_.find(symbol);
    if (found != numbers_.end()) return found->second;
    names_.emplace_back(symbol);
    const uint32_t number = static_cast<uint32_t>(names_.size());
    numbers_.emplace(names_.back(), number);
    return number;
  }

 private:
  // A deque never moves its elements, so the map's keys stay where they are.
  std::deque<std::string> names_;
  std::unordered_map<std::string_view, uint32_t> numbers_;
};

inline bool endsObject(std::string_view text) {
  const size_t last = text.find_last_not_of(" \t\r\n");
  return last != std::string_view::npos && text[last] == '}';
}

// A frame of the gateway's JSON form: its top level has "seq". The fields stand first, so the rest, which is most of the
// text, is not looked at but for its last letter.
inline TextKind readJsonFrame(std::string_view text, FrameHeader& frame) {
  websocket::JsonScan scan(text);
  int64_t stream = -1;
  int found = 0;
  bool hasSeq = false;
  bool hasFromSeq = false;
  frame = {};
  while (found < 6 && scan.next()) {
    if (scan.key == "seq") found += 1, hasSeq = websocket::readInteger(scan.value, frame.seq);
    else if (scan.key == "from_seq") found += 1, hasFromSeq = websocket::readInteger(scan.value, frame.fromSeq);
    else if (scan.key == "stream" && scan.value[0] != '{') found += 1, websocket::readInteger(scan.value, stream);
    else if (scan.key == "position") found += 1, websocket::readInteger(scan.value, frame.position);
    else if (scan.key == "ts_exchange") found += 1, websocket::readInteger(scan.value, frame.tsExchange);
    else if (scan.key == "flags") {
      found += 1;
      frame.isDerived = scan.value.find("\"derived\"") != std::string_view::npos;
    }
  }
  if (!scan.isSound || !endsObject(text)) return TextKind::Malformed;
  if (!hasSeq) return TextKind::Control;
  if (!hasFromSeq || stream < 0 || stream > UINT32_MAX) return TextKind::Malformed;
  frame.stream = static_cast<uint32_t>(stream);
  return TextKind::Frame;
}

// A venue's trade: {"stream":…,"data":{"e":"trade","s":symbol,"t":id,"T":microseconds,…}}.
inline TextKind readRelayedTrade(std::string_view text, SymbolNumbers& symbols, FrameHeader& frame) {
  websocket::JsonScan scan(text);
  std::string_view data;
  while (scan.next()) {
    if (scan.key == "data") data = scan.value;
  }
  if (!scan.isSound) return TextKind::Malformed;
  if (data.empty() || data[0] != '{') return TextKind::Control;
  websocket::JsonScan trade(data);
  std::string_view symbol;
  bool isTrade = false;
  bool hasId = false;
  int found = 0;
  frame = {};
  while (found < 4 && trade.next()) {
    if (trade.key == "e") found += 1, isTrade = trade.value == "\"trade\"";
    else if (trade.key == "s") found += 1, symbol = websocket::textOf(trade.value);
    else if (trade.key == "t") found += 1, hasId = websocket::readInteger(trade.value, frame.seq);
    else if (trade.key == "T") found += 1, websocket::readInteger(trade.value, frame.tsExchange);
  }
  if (!trade.isSound) return TextKind::Malformed;
  if (!isTrade) return TextKind::Control;
  if (!hasId || symbol.empty()) return TextKind::Malformed;
  frame.fromSeq = frame.seq;
  frame.stream = symbols.of(symbol);
  return TextKind::Frame;
}

// A control message: what it is, and the parts of it that matter; texts without their quotes.
struct Control {
  bool isAck = false;
  std::string_view type;
  std::string_view code;
  // What became of a subscribe's `resume`; empty when it had none.
  std::string_view resume;
  std::string_view reason;
  // The streams of which it says where they stand: an array, and an object.
  std::string_view streams;
  std::string_view added;
  // A hello's.
  int64_t epoch = -1;
  // A gap's; -1 where it does not say.
  int64_t stream = -1;
  int64_t from = -1;
  int64_t to = -1;
};

// Reads a control message; false when it is no JSON.
inline bool readControl(std::string_view text, Control& control) {
  websocket::JsonScan scan(text);
  while (scan.next()) {
    if (scan.key == "status") control.isAck = scan.value == "\"subscribed\"";
    else if (scan.key == "type") control.type = websocket::textOf(scan.value);
    else if (scan.key == "code") control.code = websocket::textOf(scan.value);
    else if (scan.key == "resume") control.resume = websocket::textOf(scan.value);
    else if (scan.key == "reason") control.reason = websocket::textOf(scan.value);
    else if (scan.key == "epoch") websocket::readInteger(scan.value, control.epoch);
    else if (scan.key == "from") websocket::readInteger(scan.value, control.from);
    else if (scan.key == "to") websocket::readInteger(scan.value, control.to);
    else if (scan.key == "stream" && scan.value[0] == '{') control.added = scan.value;
    else if (scan.key == "stream") websocket::readInteger(scan.value, control.stream);
    else if (scan.key == "streams" && scan.value[0] == '[') control.streams = scan.value;
  }
  return scan.isSound;
}

// Reads {"stream":number,"seq":number,…} and hands it over.
template <typename Take>
void readStreamInfo(std::string_view text, Take take) {
  websocket::JsonScan scan(text);
  int64_t stream = -1;
  int64_t seq = -1;
  while (scan.next()) {
    if (scan.key == "stream") websocket::readInteger(scan.value, stream);
    else if (scan.key == "seq") websocket::readInteger(scan.value, seq);
  }
  if (stream >= 0 && stream <= UINT32_MAX && seq >= 0) take(static_cast<uint32_t>(stream), seq);
}

// Hands over each stream that a control message tells of.
template <typename Take>
void readStreams(const Control& control, Take take) {
  if (!control.added.empty()) readStreamInfo(control.added, take);
  if (control.streams.empty()) return;
  websocket::JsonScan streams(control.streams);
  while (streams.next()) readStreamInfo(streams.value, take);
}
