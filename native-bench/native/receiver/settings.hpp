// The command line of a receiver, the same as that of the Node form (loadtest/receiver-settings.ts).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

enum class Form { Flatbuffers, Json, Relay };

struct Settings {
  std::string host;
  std::string port;
  // Host and port as the request names them.
  std::string authority;
  std::string path;
  std::string protocol;
  // Sent by each client once it is open.
  std::vector<std::string> send;
  Form form = Form::Flatbuffers;
  uint32_t clients = 0;
  // Answers with "status":"subscribed" that make a client ready; 0 is ready when open.
  uint32_t readyAcks = 0;
  // Connections begun a second; 0 as many as the handshakes allow.
  uint32_t rampPerSecond = 0;
  // A client that comes back after a `drop` goes on where the dropped one stood, by `resume`.
  uint32_t resume = 0;
  // Bytes that the system may receive ahead of a client; 0 is its own choice.
  uint32_t receiveBufferBytes = 0;
};

inline constexpr uint32_t MAX_CLIENTS = 60'000;
inline constexpr uint32_t MAX_PER_SECOND = 1'000'000;
inline constexpr uint32_t MAX_BYTES_PER_SECOND = 100'000'000;
inline constexpr uint32_t MAX_BUFFER_BYTES = 100'000'000;

// Reads a whole number of at most `largest`.
inline bool readCount(const std::string& text, uint32_t largest, uint32_t& out) {
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos) return false;
  out = static_cast<uint32_t>(std::stoul(text));
  return out <= largest;
}

// ws://HOST:PORT/PATH, nothing else.
inline bool readUrl(const std::string& text, Settings& settings) {
  if (text.rfind("ws://", 0) != 0) return false;
  const size_t slash = text.find('/', 5);
  settings.authority = text.substr(5, slash == std::string::npos ? std::string::npos : slash - 5);
  settings.path = slash == std::string::npos ? "/" : text.substr(slash);
  const size_t colon = settings.authority.find(':');
  if (colon == 0 || colon == std::string::npos) return false;
  settings.host = settings.authority.substr(0, colon);
  settings.port = settings.authority.substr(colon + 1);
  uint32_t port = 0;
  return readCount(settings.port, 65535, port) && settings.path.find_first_of(" \t\r\n#") == std::string::npos;
}

// What is wrong with the command line, or nothing.
inline std::string readSettings(const std::vector<std::string>& args, Settings& settings) {
  std::string clients;
  std::string url;
  std::string form;
  std::string readyAcks;
  std::string ramp = "0";
  std::string resume = "0";
  std::string buffer = "0";
  for (size_t index = 0; index < args.size(); index += 2) {
    const std::string& flag = args[index];
    std::string* value = flag == "--url"              ? &url
                         : flag == "--clients"        ? &clients
                         : flag == "--form"           ? &form
                         : flag == "--protocol"       ? &settings.protocol
                         : flag == "--ready-acks"     ? &readyAcks
                         : flag == "--ramp"           ? &ramp
                         : flag == "--resume"         ? &resume
                         : flag == "--receive-buffer" ? &buffer
                                                      : nullptr;
    if (value == nullptr && flag != "--send") return "unknown argument " + flag;
    if (index + 1 == args.size()) return flag + " needs a value";
    if (value != nullptr) *value = args[index + 1];
    else settings.send.push_back(args[index + 1]);
  }
  if (form == "flatbuffers") settings.form = Form::Flatbuffers;
  else if (form == "json") settings.form = Form::Json;
  else if (form == "relay") settings.form = Form::Relay;
  else return "--form must be one of flatbuffers, json, relay";
  if (!readUrl(url, settings)) return "--url must be ws://HOST:PORT/PATH, not " + (url.empty() ? "nothing" : url);
  if (readyAcks.empty()) readyAcks = std::to_string(settings.send.size());
  const auto wrong = [](const char* flag, uint32_t largest, const std::string& text) {
    return std::string(flag) + " must be a whole number of at most " + std::to_string(largest) + ", not " +
           (text.empty() ? "nothing" : text);
  };
  if (!readCount(clients, MAX_CLIENTS, settings.clients)) return wrong("--clients", MAX_CLIENTS, clients);
  if (!readCount(readyAcks, MAX_CLIENTS, settings.readyAcks)) return wrong("--ready-acks", MAX_CLIENTS, readyAcks);
  if (!readCount(ramp, MAX_PER_SECOND, settings.rampPerSecond)) return wrong("--ramp", MAX_PER_SECOND, ramp);
  if (!readCount(resume, 1, settings.resume)) return wrong("--resume", 1, resume);
  if (!readCount(buffer, MAX_BUFFER_BYTES, settings.receiveBufferBytes)) {
    return wrong("--receive-buffer", MAX_BUFFER_BYTES, buffer);
  }
  return {};
}
