// What one client makes of the messages that it gets: counts frames, and has its memory judge them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "counts.hpp"
#include "memory.hpp"
#include "messages.hpp"
#include "shared.hpp"
#include "tickwire-frame.hpp"

class Listener {
 public:
  // What stays when the connection is gone.
  std::unique_ptr<ClientMemory> memory;

  Listener(Shared& shared, std::unique_ptr<ClientMemory> memory) : memory(std::move(memory)), shared_(shared) {}

  // Has had its acks, and what it resumes has come.
  bool isWhole() const { return acks_ >= shared_.settings.readyAcks && replays_ == 0; }

  void binary(const uint8_t* data, size_t count) {
    FrameHeader header;
    const bool isFrame = shared_.settings.form == Form::Flatbuffers && tickwire::readFrame(data, count, header);
    if (isFrame) frame(header, count);
    else shared_.counts.error("malformed frame");
  }

  void text(std::string_view text) {
    FrameHeader header;
    TextKind kind = TextKind::Control;
    if (shared_.settings.form == Form::Json) kind = readJsonFrame(text, header);
    if (shared_.settings.form == Form::Relay) kind = readRelayedTrade(text, shared_.symbols, header);
    if (kind == TextKind::Frame) return frame(header, text.size());
    if (kind == TextKind::Malformed) return shared_.counts.error("malformed frame");
    Control control;
    if (readControl(text, control)) take(control);
    else shared_.counts.error("malformed control");
  }

 private:
  void frame(const FrameHeader& header, size_t bytes) {
    Counts& counts = shared_.counts;
    if (!header.isPlausible()) return counts.error("malformed frame");
    memory->frames += 1;
    counts.frames += 1;
    counts.bytes += bytes;
    memory->sequences.take(header.stream, header.fromSeq, header.seq, header.isDerived, counts.sequences);
    if (header.isDerived) return;
    memory->reach(header.position);
    if (replays_ > 0) counts.replayed += 1;
    if (header.tsExchange > 0) counts.latency.add(shared_.nowMicros - header.tsExchange);
  }

  void take(const Control& control) {
    if (control.type == "hello" && control.epoch >= 0) memory->begin(control.epoch);
    if (control.resume == "resumed") replays_ += 1;
    readStreams(control, [this](uint32_t stream, int64_t seq) {
      // What is replayed leads up to where a stream stands: then that is no beginning but what must be reached.
      if (replays_ > 0) owed_.emplace_back(stream, seq);
      else memory->sequences.begin(stream, seq);
    });
    if (control.type == "gap") gap(control);
    if (control.type == "error") {
      shared_.counts.error("error " + std::string(control.code.empty() ? "unknown" : control.code));
    }
    if (control.type == "replay_end" && replays_ > 0) replayed();
    if (control.isAck && !control.resume.empty() && control.resume != "resumed") {
      shared_.counts.error("resume " + std::string(control.resume));
    }
    if (control.isAck) acks_ += 1;
  }

  void replayed() {
    shared_.counts.replays += 1;
    replays_ -= 1;
    if (replays_ > 0) return;
    for (const auto& [stream, seq] : owed_) memory->sequences.end(stream, seq, shared_.counts.sequences);
    owed_ = {};
  }

  void gap(const Control& control) {
    SequenceCounts& counts = shared_.counts.sequences;
    // Of another epoch's frames: how many they were is not known, and the ack has said where their stream stands.
    if (control.reason == "epoch") {
      counts.gaps += 1;
      return;
    }
    const bool isPlausible = control.stream >= 0 && control.stream <= UINT32_MAX && control.to >= 0;
    const auto stream = static_cast<uint32_t>(control.stream);
    const int64_t named =
        isPlausible ? memory->sequences.gap(stream, control.from, control.to, counts) : Sequences::UNKNOWN;
    if (named == Sequences::UNKNOWN) shared_.counts.error("wrong gap");
    else memory->named += named;
  }

  Shared& shared_;
  uint32_t acks_ = 0;
  // Resumes whose `replay_end` is to come, and where their acks said that the streams stand: so far the replay goes.
  uint32_t replays_ = 0;
  std::vector<std::pair<uint32_t, int64_t>> owed_;
};
