// Commands on standard input, one a line; its end is told once.
#pragma once

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "socket.hpp"

namespace websocket {

class CommandLines {
 public:
  // Watches standard input; what epoll cannot watch (a file, /dev/null) is read at once, by the caller's `read`.
  bool watch(Epoll& epoll) { return epoll.add(STDIN_FILENO, EPOLLIN, this); }

  // Reads what is there and calls `take(line)` for each whole line; false at the end of the input.
  template <typename Take>
  bool read(Take take) {
    char part[4096];
    const ssize_t count = ::read(STDIN_FILENO, part, sizeof part);
    if (count < 0) return errno == EINTR || errno == EAGAIN;
    if (count == 0) return false;
    held_.append(part, count);
    size_t end;
    while ((end = held_.find('\n')) != std::string::npos) {
      const std::string line = held_.substr(0, end);
      held_.erase(0, end + 1);
      take(line);
    }
    return true;
  }

 private:
  std::string held_;
};

}  // namespace websocket
