// One client of the fan-out server: its handshake, what it did not take yet, and the little that it may say.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "../websocket/bytes.hpp"
#include "../websocket/frame-reader.hpp"
#include "../websocket/frame-writer.hpp"
#include "../websocket/handshake.hpp"
#include "../websocket/json-scan.hpp"
#include "../websocket/socket.hpp"

class Client {
 public:
  Client(int socket, websocket::Epoll& epoll)
      : socket_(socket), epoll_(epoll), reader_(websocket::Peer::Client, MAX_MESSAGE_BYTES) {
    websocket::sendAtOnce(socket);
    epoll_.add(socket, EPOLLIN, this);
  }

  ~Client() { close(socket_); }

  bool isOpen() const { return state_ == State::Open; }
  bool isGone() const { return state_ == State::Gone; }
  size_t backlog() const { return out_.size(); }

  void handle(uint32_t events, uint8_t* buffer, size_t bytes) {
    if ((events & EPOLLOUT) != 0) flush();
    if (!isGone() && (events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) receive(buffer, bytes);
  }

  // Writes; what the socket does not take is kept, and goes before anything else.
  void write(const uint8_t* data, size_t count) {
    size_t taken = 0;
    if (out_.empty()) {
      const ssize_t sent = send(socket_, data, count, MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) return leave();
      if (sent > 0) taken = static_cast<size_t>(sent);
    }
    if (taken == count) return;
    out_.append(data + taken, count - taken);
    await(true);
  }

  // A whole message; the reader calls it. Only a subscribe is answered.
  bool message(websocket::Opcode opcode, const uint8_t* data, size_t count) {
    if (opcode != websocket::TEXT) return true;
    websocket::JsonScan scan({reinterpret_cast<const char*>(data), count});
    bool isSubscribe = false;
    while (scan.next()) isSubscribe = isSubscribe || (scan.key == "type" && scan.value == "\"subscribe\"");
    static const std::string_view ACK = "{\"type\":\"system\",\"status\":\"subscribed\",\"streams\":[]}";
    if (isSubscribe && scan.isSound) reply(websocket::TEXT, ACK.data(), ACK.size());
    return !isGone();
  }

  // A ping, pong or close; the reader calls it.
  bool control(websocket::Opcode opcode, const uint8_t* data, size_t count) {
    if (opcode == websocket::PING) reply(websocket::PONG, data, count);
    if (opcode == websocket::CLOSE) {
      reply(websocket::CLOSE, data, count < 2 ? 0 : 2);
      leave();
    }
    return !isGone();
  }

 private:
  enum class State { Handshake, Open, Gone };
  static constexpr size_t MAX_MESSAGE_BYTES = 1 << 20;
  static constexpr size_t MAX_HEAD_BYTES = 16 << 10;

  void leave() { state_ = State::Gone; }

  void reply(websocket::Opcode opcode, const void* payload, size_t count) {
    websocket::Bytes frame;
    websocket::appendFrame(frame, opcode, payload, count);
    write(frame.data(), frame.size());
  }

  void receive(uint8_t* buffer, size_t bytes) {
    const ssize_t count = recv(socket_, buffer, bytes, 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) return leave();
    if (state_ == State::Open) return feed(buffer, static_cast<size_t>(count));
    head_.append(reinterpret_cast<const char*>(buffer), static_cast<size_t>(count));
    shakeHands();
  }

  void feed(uint8_t* data, size_t count) {
    if (reader_.feed(data, count, *this) == websocket::Reading::ProtocolError) leave();
  }

  void shakeHands() {
    const size_t bytes = websocket::headBytes(head_);
    if (bytes == 0 && head_.size() > MAX_HEAD_BYTES) leave();
    if (bytes == 0) return;
    const std::string_view head = std::string_view(head_).substr(0, bytes);
    const std::string_view key = websocket::headerOf(head, "Sec-WebSocket-Key");
    if (head.substr(0, 4) != "GET " || key.empty()) {
      static const std::string_view REFUSAL = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
      write(reinterpret_cast<const uint8_t*>(REFUSAL.data()), REFUSAL.size());
      return leave();
    }
    std::string answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Accept: " + websocket::acceptOf(key) + "\r\n";
    // Any subprotocol will do: the first that the client names.
    std::string_view protocol = websocket::headerOf(head, "Sec-WebSocket-Protocol");
    protocol = protocol.substr(0, protocol.find_first_of(", "));
    if (!protocol.empty()) answer += "Sec-WebSocket-Protocol: " + std::string(protocol) + "\r\n";
    answer += "\r\n";
    write(reinterpret_cast<const uint8_t*>(answer.data()), answer.size());
    if (isGone()) return;
    state_ = State::Open;
    std::string rest = head_.substr(bytes);
    head_.clear();
    if (!rest.empty()) feed(reinterpret_cast<uint8_t*>(&rest[0]), rest.size());
  }

  void flush() {
    const ssize_t count = send(socket_, out_.data(), out_.size(), MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN) return leave();
    if (count > 0) out_.take(static_cast<size_t>(count));
    await(!out_.empty());
  }

  // Whether to be told when the socket takes more.
  void await(bool isWaiting) {
    if (isWaiting == isWaiting_) return;
    isWaiting_ = isWaiting;
    epoll_.change(socket_, isWaiting ? EPOLLIN | EPOLLOUT : EPOLLIN, this);
  }

  const int socket_;
  websocket::Epoll& epoll_;
  State state_ = State::Handshake;
  bool isWaiting_ = false;
  std::string head_;
  websocket::FrameReader reader_;
  websocket::Bytes out_;
};
