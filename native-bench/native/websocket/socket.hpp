// Non-blocking TCP sockets and the readiness of many of them.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>

namespace websocket {

// The name that Node gives an error of the system too, so that both receivers report the same text.
inline std::string errorName(int error) {
  switch (error) {
    case ECONNREFUSED: return "ECONNREFUSED";
    case ECONNRESET: return "ECONNRESET";
    case EPIPE: return "EPIPE";
    case ETIMEDOUT: return "ETIMEDOUT";
    case EADDRNOTAVAIL: return "EADDRNOTAVAIL";
    case EADDRINUSE: return "EADDRINUSE";
    case EACCES: return "EACCES";
    case EMFILE: return "EMFILE";
    case ENFILE: return "ENFILE";
    case EHOSTUNREACH: return "EHOSTUNREACH";
    case ENETUNREACH: return "ENETUNREACH";
    default: return "errno " + std::to_string(error);
  }
}

// Lets the process have as many sockets as the system allows it.
inline void raiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Small messages go out at once; otherwise Nagle's algorithm holds them until the last one is acknowledged.
inline void sendAtOnce(int socket) {
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// Closes by a reset: what is still to be sent or read is dropped, and no port waits.
inline void abortSocket(int socket) {
  const linger now{1, 0};
  setsockopt(socket, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(socket);
}

class Epoll {
 public:
  Epoll() : fd_(epoll_create1(EPOLL_CLOEXEC)) {}
  ~Epoll() { close(fd_); }
  Epoll(const Epoll&) = delete;
  Epoll& operator=(const Epoll&) = delete;

  // False for what is always ready, such as a file.
  bool add(int socket, uint32_t events, void* owner) { return control(EPOLL_CTL_ADD, socket, events, owner); }
  bool change(int socket, uint32_t events, void* owner) { return control(EPOLL_CTL_MOD, socket, events, owner); }

  // Waits for so many milliseconds, -1 for ever; returns how many events came.
  int wait(epoll_event* events, int count, int timeoutMs) { return epoll_wait(fd_, events, count, timeoutMs); }

 private:
  bool control(int operation, int socket, uint32_t events, void* owner) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = owner;
    return epoll_ctl(fd_, operation, socket, &event) == 0;
  }

  const int fd_;
};

}  // namespace websocket
