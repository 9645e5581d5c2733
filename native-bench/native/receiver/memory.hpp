// What stays of a client when its connection is gone: with it, it comes back as the one that it was.
#pragma once

#include <cstdint>
#include <string>

#include "../websocket/json-scan.hpp"
#include "sequences.hpp"

class ClientMemory {
 public:
  // Frames, and frames that gaps named, since they were last set to 0.
  uint64_t frames = 0;
  uint64_t named = 0;
  Sequences sequences;

  // True once there is a frame to go on from.
  bool canResume() const { return hasEpoch_ && position_ > 0; }

  // The epoch that a connection began with: sequences and positions of another one mean nothing in it.
  void begin(int64_t epoch) {
    if (hasEpoch_ && epoch != epoch_) {
      position_ = 0;
      sequences = Sequences();
    }
    hasEpoch_ = true;
    epoch_ = epoch;
  }

  // A ring frame of this place came.
  void reach(int64_t position) {
    if (position > position_) position_ = position;
  }

  // What is to be sent in place of a text: a subscribe goes on where this client stood, everything else stays.
  std::string resuming(const std::string& text) const {
    if (!canResume() || !isSubscribe(text)) return text;
    return text.substr(0, text.rfind('}')) + ",\"resume\":{\"epoch\":" + std::to_string(epoch_) +
           ",\"position\":" + std::to_string(position_) + "}}";
  }

 private:
  static bool isSubscribe(const std::string& text) {
    websocket::JsonScan scan(text);
    bool isSubscribe = false;
    while (scan.next()) {
      if (scan.key == "type") isSubscribe = scan.value == "\"subscribe\"";
    }
    return scan.isSound && isSubscribe;
  }

  bool hasEpoch_ = false;
  int64_t epoch_ = 0;
  // The place in the ring of the newest ring frame; 0 without any.
  int64_t position_ = 0;
};
