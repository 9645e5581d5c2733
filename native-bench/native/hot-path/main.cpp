// The hot path in C++: what the TypeScript one is measured against, and compared with frame by frame.
//
//   hot-path time INPUT parsed|unparsed                 nanoseconds of a trade
//   hot-path scale FEW MANY parsed|unparsed             of a trade with few and with many instruments
//   hot-path replay INPUT parsed|unparsed RUNS STATE    runs that often, then writes what came of it
//
// What is not followed here, because no message of a measured workload asks for it: what ours hands to JSON.parse, or
// to Number (counted as refused), a venue's clock that goes back (an error), conflated and derived frames.
//
// Prints one JSON line. What is wrong with the call or the input is one line on stderr and exit code 2.
#include <cstdio>

#include "measure.hpp"
#include "state.hpp"

namespace {

Mode modeOf(const std::string& text) {
  if (text == "parsed") return Mode::PARSED;
  if (text == "unparsed") return Mode::UNPARSED;
  throw std::invalid_argument("\"" + text + "\" is neither parsed nor unparsed");
}

int runsOf(const std::string& text) {
  const bool digits = !text.empty() && text.size() < 9 && text.find_first_not_of("0123456789") == std::string::npos;
  if (!digits) throw std::invalid_argument("\"" + text + "\" is no number of runs");
  return std::stoi(text);
}

void replay(const std::string& input, Mode mode, int runs, const std::string& state) {
  Pipeline pipeline(input);
  for (int run = 0; run < runs; run += 1) {
    pipeline.next();
    pipeline.run(mode);
  }
  StateFile(pipeline, state).write();
  std::printf("{\"runs\":%d,\"position\":%llu}\n", runs,
              static_cast<unsigned long long>(pipeline.engine.frames.log.next - 1));
}

void run(const std::vector<std::string>& arguments) {
  const std::string command = arguments.empty() ? "" : arguments[0];
  if (command == "time" && arguments.size() == 3) {
    Pipeline pipeline(arguments[1]);
    std::printf("{\"ns\":%.2f}\n", tradeCost(pipeline, modeOf(arguments[2])));
  } else if (command == "scale" && arguments.size() == 4) {
    Pipeline few(arguments[1]);
    Pipeline many(arguments[2]);
    const Scale scale = scaleOf(few, many, modeOf(arguments[3]));
    std::printf("{\"few\":%.2f,\"many\":%.2f,\"ratio\":%.3f}\n", scale.few, scale.many, scale.ratio);
  } else if (command == "replay" && arguments.size() == 5) {
    replay(arguments[1], modeOf(arguments[2]), runsOf(arguments[3]), arguments[4]);
  } else {
    throw std::invalid_argument("expected time INPUT MODE, scale FEW MANY MODE or replay INPUT MODE RUNS STATE");
  }
}

}  // namespace

int main(int count, char** arguments) {
  try {
    run(std::vector<std::string>(arguments + 1, arguments + count));
    return 0;
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "hot-path: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hot-path: %s\n", error.what());
    return 1;
  }
}
