// The native receiver of the load test: many WebSocket clients in one thread that count, check and time what they get.
#include <cstdio>
#include <string>
#include <vector>

#include "../websocket/socket.hpp"
#include "receiver.hpp"
#include "settings.hpp"

int main(int count, char** values) {
  Settings settings;
  const std::string wrong = readSettings(std::vector<std::string>(values + 1, values + count), settings);
  if (!wrong.empty()) {
    std::fprintf(stderr, "receiver: %s\n", wrong.c_str());
    return 2;
  }
  websocket::raiseFileLimit();
  return Receiver(settings).run();
}
