// One connection: from connecting over the handshake to counting frames, without an allocation per frame.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "../websocket/frame-reader.hpp"
#include "../websocket/frame-writer.hpp"
#include "../websocket/socket.hpp"
#include "counts.hpp"
#include "messages.hpp"
#include "opening.hpp"
#include "settings.hpp"
#include "shared.hpp"

// A larger message is a protocol error, as it is to the Node form.
inline constexpr size_t MAX_MESSAGE_BYTES = 64 << 20;

class Client {
 public:
  // Frames since it was last set to 0.
  uint64_t frames = 0;
  // Its place among the receiver's clients.
  size_t index = 0;

  explicit Client(Shared& shared) : shared_(shared), reader_(websocket::Peer::Server, MAX_MESSAGE_BYTES) {}

  ~Client() {
    if (socket_ >= 0) close(socket_);
  }

  // Not open yet, and not given up.
  bool isConnecting() const { return state_ == State::Connecting || state_ == State::Handshake; }
  // Stays true when it is gone.
  bool isReady() const { return isReady_; }
  bool isGone() const { return state_ == State::Gone; }

  void connect() {
    socket_ = ::socket(shared_.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (socket_ < 0) return fail("connect " + websocket::errorName(errno));
    websocket::sendAtOnce(socket_);
    const auto* address = reinterpret_cast<const sockaddr*>(&shared_.address);
    const bool isBegun = ::connect(socket_, address, shared_.addressBytes) == 0 || errno == EINPROGRESS;
    if (!isBegun) return fail("connect " + websocket::errorName(errno));
    shared_.epoll.add(socket_, EPOLLOUT, this);
  }

  // Closes at once, by a reset.
  void drop() {
    shared_.counts.dropped += 1;
    websocket::abortSocket(socket_);
    socket_ = -1;
    state_ = State::Gone;
  }

  void handle(uint32_t events) {
    if (state_ == State::Connecting) return connected();
    if ((events & EPOLLOUT) != 0) flush();
    if ((events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) receive();
  }

  // A whole message; the reader calls it.
  bool message(websocket::Opcode opcode, const uint8_t* data, size_t count) {
    if (opcode == websocket::TEXT) {
      text({reinterpret_cast<const char*>(data), count});
      return true;
    }
    FrameHeader header;
    const bool isFrame = shared_.settings.form == Form::Flatbuffers && tickwire::readFrame(data, count, header);
    if (isFrame) frame(header, count);
    else shared_.counts.error("malformed frame");
    return true;
  }

  // A ping, pong or close; the reader calls it.
  bool control(websocket::Opcode opcode, const uint8_t* data, size_t count) {
    if (opcode == websocket::PING) send(websocket::PONG, data, count);
    if (opcode != websocket::CLOSE) return true;
    const unsigned code = count == 0 ? 1005 : count == 1 ? 0 : (data[0] << 8) | data[1];
    if (count > 0 && !isCloseCode(code)) {
      breakOff();
      return false;
    }
    send(websocket::CLOSE, data, count < 2 ? 0 : 2);
    shared_.counts.closed[std::to_string(code)] += 1;
    leave();
    return false;
  }

 private:
  enum class State { Connecting, Handshake, Open, Gone };

  static bool isCloseCode(unsigned code) {
    return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
           (code >= 3000 && code <= 4999);
  }

  void leave() {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
    state_ = State::Gone;
  }

  void fail(const std::string& text) {
    shared_.counts.error(text);
    leave();
  }

  void breakOff() {
    const uint8_t code[2] = {1002 >> 8, 1002 & 0xff};
    send(websocket::CLOSE, code, sizeof code);
    fail("protocol error");
  }

  void connected() {
    int error = 0;
    socklen_t bytes = sizeof error;
    getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error, &bytes);
    if (error != 0) return fail("connect " + websocket::errorName(error));
    const std::string request = opening_.request(shared_.settings, shared_.random(), shared_.random());
    state_ = State::Handshake;
    shared_.epoll.change(socket_, EPOLLIN, this);
    out_.append(request.data(), request.size());
    flush();
  }

  void receive() {
    const ssize_t count = recv(socket_, shared_.buffer, sizeof shared_.buffer, 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) return ended(count == 0 ? ECONNRESET : errno);
    shared_.nowMicros = microsOf(CLOCK_REALTIME);
    if (state_ == State::Handshake) answered(static_cast<size_t>(count));
    else feed(shared_.buffer, static_cast<size_t>(count));
  }

  // The other side is gone without a close frame.
  void ended(int error) {
    if (state_ == State::Handshake) return fail("connect " + websocket::errorName(error));
    shared_.counts.closed["1006"] += 1;
    leave();
  }

  void feed(uint8_t* data, size_t count) {
    if (reader_.feed(data, count, *this) == websocket::Reading::ProtocolError) breakOff();
  }

  void answered(size_t count) {
    std::string rest;
    const Opening::Answer answer = opening_.answer(shared_.buffer, count, shared_.settings, rest);
    if (answer == Opening::Answer::Cut) return;
    if (answer == Opening::Answer::Wrong) return fail(opening_.wrong);
    open();
    if (!rest.empty() && state_ == State::Open) feed(reinterpret_cast<uint8_t*>(&rest[0]), rest.size());
  }

  void open() {
    state_ = State::Open;
    for (const std::string& text : shared_.settings.send) send(websocket::TEXT, text.data(), text.size());
    look();
  }

  void look() { isReady_ = isReady_ || acks_ >= shared_.settings.readyAcks; }

  void send(websocket::Opcode opcode, const void* payload, size_t count) {
    const bool wasEmpty = out_.empty();
    websocket::appendMaskedFrame(out_, opcode, payload, count, static_cast<uint32_t>(shared_.random()));
    if (wasEmpty) flush();
  }

  void flush() {
    while (!out_.empty()) {
      const ssize_t count = ::send(socket_, out_.data(), out_.size(), MSG_NOSIGNAL);
      // That the other side is gone is seen by reading, behind what it still sent.
      if (count < 0 && errno != EAGAIN) out_.clear();
      if (count < 0) break;
      out_.take(static_cast<size_t>(count));
    }
    const bool isWaiting = !out_.empty();
    if (isWaiting != isWaiting_) shared_.epoll.change(socket_, isWaiting ? EPOLLIN | EPOLLOUT : EPOLLIN, this);
    isWaiting_ = isWaiting;
  }

  void frame(const FrameHeader& header, size_t bytes) {
    Counts& counts = shared_.counts;
    if (!header.isPlausible()) return counts.error("malformed frame");
    frames += 1;
    counts.frames += 1;
    counts.bytes += bytes;
    sequences_.take(header.stream, header.fromSeq, header.seq, header.isDerived, counts.sequences);
    if (!header.isDerived && header.tsExchange > 0) counts.latency.add(shared_.nowMicros - header.tsExchange);
  }

  void text(std::string_view text) {
    FrameHeader header;
    TextKind kind = TextKind::Control;
    if (shared_.settings.form == Form::Json) kind = readJsonFrame(text, header);
    if (shared_.settings.form == Form::Relay) kind = readRelayedTrade(text, shared_.symbols, header);
    if (kind == TextKind::Frame) return frame(header, text.size());
    if (kind == TextKind::Malformed) return shared_.counts.error("malformed frame");
    Control control;
    const auto begin = [this](uint32_t stream, int64_t seq) { sequences_.begin(stream, seq); };
    if (!readControl(text, control, begin)) return shared_.counts.error("malformed control");
    if (control.isError) shared_.counts.error("error " + std::string(control.code.empty() ? "unknown" : control.code));
    if (control.isAck) acks_ += 1;
    look();
  }

  Shared& shared_;
  int socket_ = -1;
  State state_ = State::Connecting;
  bool isReady_ = false;
  bool isWaiting_ = false;
  uint32_t acks_ = 0;
  Opening opening_;
  websocket::FrameReader reader_;
  websocket::Bytes out_;
  Sequences sequences_;
};
