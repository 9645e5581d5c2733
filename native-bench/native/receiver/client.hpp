// One connection: from connecting over the handshake to whole messages, without an allocation per frame.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "../websocket/frame-reader.hpp"
#include "../websocket/frame-writer.hpp"
#include "../websocket/socket.hpp"
#include "counts.hpp"
#include "listener.hpp"
#include "memory.hpp"
#include "opening.hpp"
#include "settings.hpp"
#include "shared.hpp"

// A larger message is a protocol error, as it is to the Node form.
inline constexpr size_t MAX_MESSAGE_BYTES = 64 << 20;

class Client {
 public:
  // Its place among the receiver's clients.
  size_t index = 0;

  Client(Shared& shared, std::unique_ptr<ClientMemory> memory)
      : shared_(shared), listener_(shared, std::move(memory)), reader_(websocket::Peer::Server, MAX_MESSAGE_BYTES) {}

  ~Client() {
    if (socket_ >= 0) close(socket_);
  }

  // Not open yet, and not given up.
  bool isConnecting() const { return state_ == State::Connecting || state_ == State::Handshake; }
  // Stays true when it is gone.
  bool isReady() const { return isReady_; }
  bool isGone() const { return state_ == State::Gone; }
  // What stays when the connection is gone; nothing once it was handed over.
  std::unique_ptr<ClientMemory>& memory() { return listener_.memory; }

  void connect() {
    socket_ = ::socket(shared_.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (socket_ < 0) return fail("connect " + websocket::errorName(errno));
    websocket::sendAtOnce(socket_);
    if (shared_.settings.receiveBufferBytes > 0) limitBuffers();
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

  // So many more bytes may be read; what is not used is saved up to `most`.
  void allow(double bytes, double most) {
    left_ = std::min(left_ == UNPACED ? bytes : left_ + bytes, most);
    watch();
  }

  // As fast as they come again.
  void open() {
    left_ = UNPACED;
    watch();
  }

  void handle(uint32_t events) {
    if (state_ == State::Connecting) return connected();
    if ((events & EPOLLOUT) != 0) flush();
    if ((events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) receive();
  }

  // A whole message; the reader calls it.
  bool message(websocket::Opcode opcode, const uint8_t* data, size_t count) {
    if (opcode == websocket::TEXT) listener_.text({reinterpret_cast<const char*>(data), count});
    else listener_.binary(data, count);
    isReady_ = isReady_ || listener_.isWhole();
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

  // That of Ethernet.
  static constexpr int SEGMENT_BYTES = 1448;
  static constexpr double UNPACED = std::numeric_limits<double>::infinity();

  static bool isCloseCode(unsigned code) {
    return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
           (code >= 3000 && code <= 4999);
  }

  // Before connecting, so that the other side is told. Loopback's segments of 64 KiB would have the system hold some
  // megabytes on that side, too, whatever this one reads: its send buffer has room for a window of them.
  void limitBuffers() const {
    const int bytes = static_cast<int>(shared_.settings.receiveBufferBytes);
    setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    setsockopt(socket_, IPPROTO_TCP, TCP_MAXSEG, &SEGMENT_BYTES, sizeof SEGMENT_BYTES);
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
    out_.append(request.data(), request.size());
    flush();
  }

  void receive() {
    // One that may not read and is woken all the same has been reset: what there is comes by reading.
    const double most = left_ < 1 ? sizeof shared_.buffer : std::min<double>(sizeof shared_.buffer, left_);
    const ssize_t count = recv(socket_, shared_.buffer, static_cast<size_t>(most), 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) return ended(count == 0 ? ECONNRESET : errno);
    shared_.nowMicros = microsOf(CLOCK_REALTIME);
    if (state_ == State::Handshake) answered(static_cast<size_t>(count));
    else feed(shared_.buffer, static_cast<size_t>(count));
    left_ -= count;
    watch();
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
    opened();
    if (!rest.empty() && state_ == State::Open) feed(reinterpret_cast<uint8_t*>(&rest[0]), rest.size());
  }

  void opened() {
    state_ = State::Open;
    for (const std::string& each : shared_.settings.send) {
      const std::string text = listener_.memory->resuming(each);
      send(websocket::TEXT, text.data(), text.size());
    }
    isReady_ = listener_.isWhole();
  }

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
    watch();
  }

  // Waits for what the client can do: read while it may, write while something is left.
  void watch() {
    if (state_ != State::Open && state_ != State::Handshake) return;
    const uint32_t events = (left_ < 1 ? 0u : EPOLLIN) | (out_.empty() ? 0u : EPOLLOUT);
    if (events != watched_) shared_.epoll.change(socket_, events, this);
    watched_ = events;
  }

  Shared& shared_;
  int socket_ = -1;
  State state_ = State::Connecting;
  bool isReady_ = false;
  // What epoll is asked for.
  uint32_t watched_ = EPOLLOUT;
  // Bytes that may still be read.
  double left_ = UNPACED;
  Listener listener_;
  Opening opening_;
  websocket::FrameReader reader_;
  websocket::Bytes out_;
};
