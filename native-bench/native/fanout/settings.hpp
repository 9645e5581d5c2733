// The command line of the fan-out server.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct Settings {
  uint32_t port = 0;
  std::string frames;
  // Frames that are written with one call a client.
  uint32_t batch = 64;
  // Frames a second; 0 as many as the clients take.
  uint32_t rate = 0;
  // Bytes that may wait for one client; over it nothing is published until it has taken some.
  uint32_t backlogBytes = 256 * 1024;
};

inline bool readCount(const std::string& text, uint32_t least, uint32_t largest, uint32_t& out) {
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos) return false;
  out = static_cast<uint32_t>(std::stoul(text));
  return out >= least && out <= largest;
}

// What is wrong with the command line, or nothing.
inline std::string readSettings(const std::vector<std::string>& args, Settings& settings) {
  struct Number {
    const char* flag;
    uint32_t least;
    uint32_t largest;
    uint32_t* out;
  };
  const Number numbers[] = {
      {"--port", 0, 65'535, &settings.port},
      {"--batch", 1, 4'096, &settings.batch},
      {"--rate", 1, 100'000'000, &settings.rate},
      {"--backlog", 1, 100'000'000, &settings.backlogBytes},
  };
  for (size_t index = 0; index < args.size(); index += 2) {
    const std::string& flag = args[index];
    const Number* number = nullptr;
    for (const Number& each : numbers) {
      if (flag == each.flag) number = &each;
    }
    if (number == nullptr && flag != "--frames") return "unknown argument " + flag;
    if (index + 1 == args.size()) return flag + " needs a value";
    const std::string& value = args[index + 1];
    if (number == nullptr) settings.frames = value;
    else if (!readCount(value, number->least, number->largest, *number->out)) {
      return flag + " must be a whole number from " + std::to_string(number->least) + " to " +
             std::to_string(number->largest) + ", not " + value;
    }
  }
  return settings.frames.empty() ? "--frames names the file of frames to play" : "";
}
