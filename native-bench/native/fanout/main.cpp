// The native fan-out server: what a good C++ program reaches that does nothing but send the same frames to all.
//
//   fanout --frames FILE [--port P] [--batch 64] [--rate FRAMES_PER_SECOND] [--backlog BYTES]
//
// Prints {"event":"listening","port":…}, then takes commands, one a line: start, stop, stats (one line), quit.
#include <cstdio>
#include <string>
#include <vector>

#include "../websocket/socket.hpp"
#include "frame-file.hpp"
#include "server.hpp"
#include "settings.hpp"

int main(int count, char** values) {
  Settings settings;
  FrameFile frames;
  std::string wrong = readSettings(std::vector<std::string>(values + 1, values + count), settings);
  if (wrong.empty()) wrong = frames.read(settings.frames);
  if (!wrong.empty()) {
    std::fprintf(stderr, "fanout: %s\n", wrong.c_str());
    return 2;
  }
  websocket::raiseFileLimit();
  return Server(settings, frames).run();
}
