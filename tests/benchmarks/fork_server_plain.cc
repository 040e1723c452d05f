// A program without the library.

#include <cstdlib>

#include "tests/benchmarks/fork_server.h"

namespace {

// A page that the parent has written to: what the first use of anything costs in a child.
alignas(4096) volatile char page[4096];

}  // namespace

int main() {
  page[0] = 1;
  void* block = std::malloc(100);
  std::free(block);
  return mp::benchmarks::ServeForks([] { page[0] = 2; });
}
