// Reads frames from standard input, each as a little-endian u32 length and so many bytes, and prints for each, as one
// character, what FlatBuffers' own Verifier says: 1 good, 0 bad. Built and fed by verifier.test.ts.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "tickwire_generated.h"

int main() {
  uint8_t prefix[4];
  while (std::fread(prefix, 1, sizeof prefix, stdin) == sizeof prefix) {
    const size_t length = prefix[0] | prefix[1] << 8 | prefix[2] << 16 | static_cast<size_t>(prefix[3]) << 24;
    // A block of its own for each frame, so that a sanitizer sees a read past its end.
    std::unique_ptr<uint8_t, decltype(&std::free)> frame(static_cast<uint8_t *>(std::malloc(length + (length == 0))), std::free);
    if (std::fread(frame.get(), 1, length, stdin) != length) return 1;
    flatbuffers::Verifier verifier(frame.get(), length);
    std::putchar(tickwire::VerifyFrameBuffer(verifier) ? '1' : '0');
  }
  return std::fflush(stdout);
}
