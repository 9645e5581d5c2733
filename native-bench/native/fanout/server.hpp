// The plainest fan-out there is: every batch of frames to every client, with one write each, in one thread.
#pragma once

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "../websocket/command-lines.hpp"
#include "client.hpp"
#include "frame-file.hpp"
#include "schedule.hpp"
#include "settings.hpp"

class Server {
 public:
  Server(const Settings& settings, FrameFile& frames)
      : settings_(settings), frames_(frames), schedule_(settings.rate), buffer_(64 * 1024) {}

  // Listens on loopback and runs until it is told to quit; returns the exit code.
  int run() {
    if (!listen()) return 1;
    epoll_.add(schedule_.timer(), EPOLLIN, &schedule_);
    if (!commands_.watch(epoll_)) {
      std::fprintf(stderr, "fanout: standard input must be a pipe or a terminal\n");
      return 2;
    }
    std::vector<epoll_event> events(1024);
    while (!isQuitting_) {
      const bool goesOn = publish();
      const int count = epoll_.wait(events.data(), static_cast<int>(events.size()), goesOn ? 0 : -1);
      for (int index = 0; index < count; index += 1) handle(events[index].data.ptr, events[index].events);
      forget();
    }
    return 0;
  }

 private:
  bool listen() {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(settings_.port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (bind(listener_, generic, bytes) != 0 || ::listen(listener_, SOMAXCONN) != 0) {
      std::fprintf(stderr, "fanout: port %u: %s\n", settings_.port, websocket::errorName(errno).c_str());
      return false;
    }
    getsockname(listener_, generic, &bytes);
    epoll_.add(listener_, EPOLLIN, this);
    std::printf("{\"event\":\"listening\",\"port\":%u}\n", ntohs(address.sin_port));
    std::fflush(stdout);
    return true;
  }

  void handle(void* owner, uint32_t events) {
    if (owner == this) return accept();
    if (owner == &schedule_) return schedule_.disarm();
    if (owner == &commands_) {
      if (!commands_.read([this](const std::string& line) { command(line); })) isQuitting_ = true;
      return;
    }
    Client& client = *static_cast<Client*>(owner);
    if (!client.isGone()) client.handle(events, buffer_.data(), buffer_.size());
    if (client.isGone()) gone_ = true;
  }

  void accept() {
    while (true) {
      const int socket = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (socket < 0) return;
      clients_.push_back(std::make_unique<Client>(socket, epoll_));
    }
  }

  // Frees the clients that are gone, once no event can name them.
  void forget() {
    if (!gone_) return;
    const auto isGone = [](const std::unique_ptr<Client>& client) { return client->isGone(); };
    clients_.erase(std::remove_if(clients_.begin(), clients_.end(), isGone), clients_.end());
    gone_ = false;
  }

  // True while nobody's backlog is over the limit.
  bool hasRoom() const {
    for (const auto& client : clients_) {
      if (client->isOpen() && client->backlog() > settings_.backlogBytes) return false;
    }
    return true;
  }

  // Publishes a batch, or what is due of one; true when there is more to do at once.
  bool publish() {
    if (!isPublishing_) return false;
    if (!hasRoom()) {
      waits_ += 1;
      return false;
    }
    const int64_t now = microsOf(CLOCK_REALTIME);
    // Nothing is lost to nobody: without a client the source stands still, unless frames are due at fixed times.
    if (!schedule_.isOpenLoop()) return std::any_of(clients_.begin(), clients_.end(), isOpen) && batch(settings_.batch, now);
    const uint64_t due = schedule_.due(now);
    if (due > 0) {
      lateMicros_ = std::max(lateMicros_, now - schedule_.next());
      batch(std::min<uint64_t>(due, settings_.batch), now);
    }
    if (due > settings_.batch) return true;
    schedule_.arm();
    return false;
  }

  static bool isOpen(const std::unique_ptr<Client>& client) { return client->isOpen(); }

  // Up to `count` frames to all; fewer at the end of the file, which is played round and round.
  bool batch(uint64_t count, int64_t now) {
    const size_t from = next_;
    const size_t to = std::min<size_t>(from + count, frames_.count());
    for (size_t index = from; index < to; index += 1) {
      published_ += 1;
      const int64_t due = schedule_.isOpenLoop() ? schedule_.next() : now;
      schedule_.take();
      frames_.patch(index, published_, due, now);
    }
    const uint8_t* start = frames_.start(from);
    const size_t bytes = static_cast<size_t>(frames_.start(to) - start);
    for (const auto& client : clients_) {
      if (!client->isOpen()) continue;
      client->write(start, bytes);
      if (client->isGone()) gone_ = true;
    }
    batches_ += 1;
    next_ = to == frames_.count() ? 0 : to;
    return true;
  }

  void command(const std::string& line) {
    if (line == "start") {
      isPublishing_ = true;
      schedule_.start();
    } else if (line == "stop") isPublishing_ = false;
    else if (line == "stats") stats();
    else if (line == "quit") isQuitting_ = true;
    else std::fprintf(stderr, "fanout: unknown command: %s\n", line.c_str());
  }

  void stats() {
    size_t backlog = 0;
    for (const auto& client : clients_) backlog += client->backlog();
    std::printf(
        "{\"event\":\"stats\",\"frames\":%llu,\"batches\":%llu,\"clients\":%zu,\"waits\":%llu,\"backlogBytes\":%zu,"
        "\"lateUs\":%lld,\"cpuMs\":%lld}\n",
        static_cast<unsigned long long>(published_), static_cast<unsigned long long>(batches_),
        static_cast<size_t>(std::count_if(clients_.begin(), clients_.end(), isOpen)),
        static_cast<unsigned long long>(waits_), backlog, static_cast<long long>(lateMicros_),
        static_cast<long long>((microsOf(CLOCK_PROCESS_CPUTIME_ID) + 500) / 1000));
    std::fflush(stdout);
    lateMicros_ = 0;
  }

  const Settings settings_;
  FrameFile& frames_;
  websocket::Epoll epoll_;
  websocket::CommandLines commands_;
  Schedule schedule_;
  std::vector<uint8_t> buffer_;
  std::vector<std::unique_ptr<Client>> clients_;
  int listener_ = -1;
  size_t next_ = 0;
  uint64_t published_ = 0;
  uint64_t batches_ = 0;
  // Times that a batch had to wait for a client.
  uint64_t waits_ = 0;
  // How far behind its due time a frame was at most since the last stats.
  int64_t lateMicros_ = 0;
  bool isPublishing_ = false;
  bool isQuitting_ = false;
  bool gone_ = false;
};
