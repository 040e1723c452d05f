// A program with the library; with an argument, one that shares something.

#include "mp/or_die.h"
#include "mp/process.h"
#include "shared/internal/wait.h"
#include "shared/raw_value.h"
#include "tests/benchmarks/fork_server.h"

namespace {

void MakeObjects(int count) {
  for (int i = 0; i < count; ++i) const mp::RawValue<int> value(i);
}

}  // namespace

int main(int argc, char**) {
  if (argc > 1) {
    static const mp::RawValue<int> value(1);
    mp::internal::LaneForNotes();
    mp::Process child([] { *value = 2; });
    mp::OrDie(child.Start());
    child.Join();
  }
  return mp::benchmarks::ServeForks([] { MakeObjects(1); }, [] { MakeObjects(2); },
                                    [] { mp::internal::LaneForNotes(); });
}
