// A client's side of the opening handshake: its request, and what it makes of the answer.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "../websocket/handshake.hpp"
#include "settings.hpp"

class Opening {
 public:
  // Cut: the answer is not whole yet. Wrong: `wrong` says why.
  enum class Answer { Cut, Wrong, Open };

  // In the words of the Node form.
  std::string wrong;

  // The request; the random numbers become its key.
  std::string request(const Settings& settings, uint64_t first, uint64_t second) {
    uint8_t key[16];
    std::memcpy(key, &first, 8);
    std::memcpy(key + 8, &second, 8);
    const std::string keyText = websocket::base64(key, sizeof key);
    accept_ = websocket::acceptOf(keyText);
    std::string request = "GET " + settings.path + " HTTP/1.1\r\nHost: " + settings.authority +
                          "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                          "Sec-WebSocket-Key: " + keyText + "\r\n";
    if (!settings.protocol.empty()) request += "Sec-WebSocket-Protocol: " + settings.protocol + "\r\n";
    return request + "\r\n";
  }

  // Takes more of the answer; `rest` gets what follows it, the first frames.
  Answer answer(const uint8_t* bytes, size_t count, const Settings& settings, std::string& rest) {
    head_.append(reinterpret_cast<const char*>(bytes), count);
    const size_t length = websocket::headBytes(head_);
    if (length == 0 && head_.size() <= MAX_HEAD_BYTES) return Answer::Cut;
    wrong = length == 0 ? "connect answer too long" : judge(std::string_view(head_).substr(0, length), settings);
    if (!wrong.empty()) return Answer::Wrong;
    rest = head_.substr(length);
    head_ = std::string();
    accept_ = std::string();
    return Answer::Open;
  }

 private:
  static constexpr size_t MAX_HEAD_BYTES = 64 << 10;

  // What is wrong with a whole head, or nothing.
  std::string judge(std::string_view head, const Settings& settings) const {
    const size_t space = head.find(' ');
    const std::string_view status = space == std::string_view::npos ? "" : head.substr(space + 1, 3);
    if (status != "101") return "refused " + std::string(status);
    if (websocket::headerOf(head, "Sec-WebSocket-Accept") != accept_) {
      return "connect Invalid Sec-WebSocket-Accept header";
    }
    const std::string_view protocol = websocket::headerOf(head, "Sec-WebSocket-Protocol");
    if (protocol == settings.protocol) return {};
    return protocol.empty() ? "connect Server sent no subprotocol" : "connect Server sent an invalid subprotocol";
  }

  std::string head_;
  std::string accept_;
};
