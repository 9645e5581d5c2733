// Many clients in one thread, and the commands that it is given. loadtest/receiver.ts says what it is asked and answers.
#pragma once

#include <netdb.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "../websocket/command-lines.hpp"
#include "client.hpp"

// Handshakes at a time: fewer than the listen queue of a server holds (512 for uWebSockets.js, libuv and ws).
inline constexpr uint32_t MAX_HANDSHAKES = 256;
inline constexpr int RAMP_STEP_MS = 2;
inline constexpr int PACE_STEP_MS = 10;
// A client that did not read saves up so much, seconds.
inline constexpr double SAVED_SECONDS = 0.1;

class Receiver {
 public:
  explicit Receiver(const Settings& settings) : shared_(std::make_unique<Shared>()) {
    shared_->settings = settings;
    shared_->randomState ^= static_cast<uint64_t>(microsOf(CLOCK_REALTIME));
    wanted_ = settings.clients;
    toBegin_ = settings.clients;
    if (settings.rampPerSecond == 0) allowed_ = std::numeric_limits<double>::infinity();
  }

  // Runs until it is told to quit; returns the exit code.
  int run() {
    if (!resolve()) {
      std::fprintf(stderr, "receiver: no address for %s\n", shared_->settings.host.c_str());
      return 1;
    }
    if (!commands_.watch(shared_->epoll)) {
      while (!isQuitting_ && readCommands()) {
      }
      return 0;
    }
    std::vector<epoll_event> events(1024);
    while (!isQuitting_) {
      progress();
      const bool isRamping = toBegin_ > 0 && handshakes_ < MAX_HANDSHAKES;
      const int timeoutMs = isRamping ? RAMP_STEP_MS : bytesPerSecond_ > 0 ? PACE_STEP_MS : -1;
      const int count = shared_->epoll.wait(events.data(), static_cast<int>(events.size()), timeoutMs);
      for (int index = 0; index < count; index += 1) {
        if (events[index].data.ptr == &commands_) {
          if (!readCommands()) isQuitting_ = true;
        } else handle(*static_cast<Client*>(events[index].data.ptr), events[index].events);
      }
      forget();
      allowMore();
    }
    return 0;
  }

 private:
  bool resolve() {
    const Settings& settings = shared_->settings;
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (getaddrinfo(settings.host.c_str(), settings.port.c_str(), &hints, &found) != 0) return false;
    std::memcpy(&shared_->address, found->ai_addr, found->ai_addrlen);
    shared_->addressBytes = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
  }

  // Begins those clients that may begin, and tells when all are ready.
  void progress() {
    ramp();
    while (toBegin_ > 0 && handshakes_ < MAX_HANDSHAKES && allowed_ >= 1) {
      toBegin_ -= 1;
      allowed_ -= 1;
      begin();
    }
    forget();
    if (isTold_ || ready_ != wanted_) return;
    isTold_ = true;
    const int64_t tookMs = (microsOf(CLOCK_MONOTONIC) - startedMicros_ + 500) / 1000;
    tell("{\"event\":\"ready\",\"clients\":" + std::to_string(ready_) + ",\"tookMs\":" + std::to_string(tookMs) + "}");
  }

  static void tell(const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  }

  void ramp() {
    const int64_t now = microsOf(CLOCK_MONOTONIC);
    // What was allowed while nobody was to begin is not saved up for later.
    if (toBegin_ == 0 && shared_->settings.rampPerSecond > 0) allowed_ = 0;
    else allowed_ += shared_->settings.rampPerSecond * ((now - rampedMicros_) / 1e6);
    rampedMicros_ = now;
  }

  void begin() {
    std::unique_ptr<ClientMemory> memory;
    if (kept_.empty()) memory = std::make_unique<ClientMemory>();
    else memory = std::move(kept_.front()), kept_.pop_front();
    clients_.push_back(std::make_unique<Client>(*shared_, std::move(memory)));
    Client& client = *clients_.back();
    client.index = clients_.size() - 1;
    handshakes_ += 1;
    client.connect();
    if (client.isGone()) settle(client, true, false);
  }

  void handle(Client& client, uint32_t events) {
    // An event of the same round may be that of a client which a command has dropped meanwhile.
    if (client.isGone()) return;
    const bool wasConnecting = client.isConnecting();
    const bool wasReady = client.isReady();
    client.handle(events);
    settle(client, wasConnecting, wasReady);
  }

  // Counts what became of a client.
  void settle(Client& client, bool wasConnecting, bool wasReady) {
    if (wasConnecting && !client.isConnecting()) handshakes_ -= 1;
    if (!wasReady && client.isReady()) ready_ += 1;
    if (!client.isGone()) return;
    // One that was ready is no longer waited for; one that never was is waited for in vain, which is told once.
    if (client.isReady()) ready_ -= 1, wanted_ -= 1;
    else if (!isLossTold_) {
      isLossTold_ = true;
      tell("{\"event\":\"lost\"}");
    }
    gone_.push_back(&client);
  }

  // Frees the clients that are gone, once no event can name them.
  void forget() {
    for (Client* client : gone_) {
      const size_t index = client->index;
      clients_[index].swap(clients_.back());
      clients_[index]->index = index;
      clients_.pop_back();
    }
    gone_.clear();
  }

  bool readCommands() {
    return commands_.read([this](const std::string& line) { command(line); });
  }

  void command(const std::string& line) {
    std::istringstream words(line);
    std::string word;
    std::string argument;
    std::string more;
    words >> word >> argument >> more;
    uint32_t count = 0;
    const bool isPlain = argument.empty();
    const bool isPace = more.empty() && word == "pace" && readCount(argument, MAX_BYTES_PER_SECOND, count);
    const bool isCounted = !isPace && more.empty() && readCount(argument, MAX_CLIENTS, count);
    if (word == "reset" && isPlain) reset();
    else if (word == "report" && isPlain) report();
    else if (word == "quit" && isPlain) isQuitting_ = true;
    else if (isPace) pace(count);
    else if (word == "drop" && isCounted) drop(count);
    else if (word == "connect" && isCounted) connect(count);
    else std::fprintf(stderr, "receiver: unknown command: %s\n", line.c_str());
  }

  void reset() {
    shared_->counts = Counts();
    for (const auto& client : clients_) {
      if (client->memory() != nullptr) client->memory()->frames = client->memory()->named = 0;
    }
    for (const auto& memory : kept_) memory->frames = memory->named = 0;
  }

  // Has each client that is ready read so many bytes a second; 0 is as fast as they come.
  void pace(uint32_t bytesPerSecond) {
    bytesPerSecond_ = bytesPerSecond;
    pacedMicros_ = microsOf(CLOCK_MONOTONIC);
    for (const auto& client : clients_) {
      if (!client->isReady() || client->isGone()) continue;
      client->open();
      if (bytesPerSecond > 0) client->allow(0, 0);
    }
  }

  void allowMore() {
    const int64_t now = microsOf(CLOCK_MONOTONIC);
    if (bytesPerSecond_ == 0 || now - pacedMicros_ < PACE_STEP_MS * 1000) return;
    const double bytes = bytesPerSecond_ * ((now - pacedMicros_) / 1e6);
    const double most = std::max(1.0, bytesPerSecond_ * SAVED_SECONDS);
    pacedMicros_ = now;
    for (const auto& client : clients_) {
      if (client->isReady() && !client->isGone()) client->allow(bytes, most);
    }
  }

  void report() {
    ReadyClients ready;
    ready.leastFrames = std::numeric_limits<uint64_t>::max();
    ready.leastAccounted = ready.leastFrames;
    for (const auto& client : clients_) {
      if (!client->isReady() || client->isGone()) continue;
      ready.count += 1;
      const uint64_t frames = client->memory()->frames;
      const uint64_t accounted = frames + client->memory()->named;
      ready.leastFrames = std::min(ready.leastFrames, frames);
      ready.mostFrames = std::max(ready.mostFrames, frames);
      ready.leastAccounted = std::min(ready.leastAccounted, accounted);
      ready.mostAccounted = std::max(ready.mostAccounted, accounted);
    }
    if (ready.count == 0) ready.leastFrames = ready.leastAccounted = 0;
    printReport(shared_->counts, ready);
  }

  void drop(uint32_t count) {
    for (const auto& client : clients_) {
      if (count == 0) break;
      if (!client->isReady() || client->isGone()) continue;
      client->drop();
      if (shared_->settings.resume != 0 && client->memory()->canResume()) kept_.push_back(std::move(client->memory()));
      settle(*client, false, true);
      count -= 1;
    }
  }

  void connect(uint32_t count) {
    startedMicros_ = microsOf(CLOCK_MONOTONIC);
    isTold_ = false;
    isLossTold_ = false;
    wanted_ += count;
    toBegin_ += count;
  }

  std::unique_ptr<Shared> shared_;
  websocket::CommandLines commands_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<Client*> gone_;
  // Of clients that were dropped, for those that come back.
  std::deque<std::unique_ptr<ClientMemory>> kept_;
  // Clients that are to be ready before the next `ready` is told; those that are; those still to be begun.
  uint32_t wanted_ = 0;
  uint32_t ready_ = 0;
  uint32_t toBegin_ = 0;
  uint32_t handshakes_ = 0;
  // Clients that the ramp allows to begin; endless without one.
  double allowed_ = 0;
  int64_t rampedMicros_ = microsOf(CLOCK_MONOTONIC);
  int64_t startedMicros_ = microsOf(CLOCK_MONOTONIC);
  // What each client may read; 0 without a pace. When it was last allowed more.
  uint32_t bytesPerSecond_ = 0;
  int64_t pacedMicros_ = 0;
  bool isTold_ = false;
  bool isLossTold_ = false;
  bool isQuitting_ = false;
};
