#include "mp/internal/abandoned_programs.h"

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <utility>

#include "mp/internal/children.h"
#include "shared/internal/atomic.h"

namespace mp::internal {
namespace {

struct Abandoned {
  std::unique_ptr<Child> program;
  const pid_t parent;
  Abandoned* next;
};

// A list without a lock, which a fork could find held by a thread that it does not have. Who takes
// from it takes all: so no two have the same one. A fork has its parent's, or none.
constinit Atomic<Abandoned*> first = nullptr;

void Add(Abandoned* abandoned) {
  abandoned->next = first.load(std::memory_order_relaxed);
  // [A] with [B]: who takes it finds it whole.
  while (!first.compare_exchange_weak(abandoned->next, abandoned, std::memory_order_release,
                                      std::memory_order_relaxed)) {
  }
}

}  // namespace

void AbandonProgram(std::unique_ptr<Child> program) {
  Add(new Abandoned{.program = std::move(program), .parent = getpid(), .next = nullptr});
}

void ReapAbandonedPrograms() {
  if (first.load(std::memory_order_relaxed) == nullptr) return;  // all of this thread's are seen
  Abandoned* abandoned = first.exchange(nullptr, std::memory_order_acquire);  // [B] with [A]
  while (abandoned != nullptr) {
    Abandoned* const next = abandoned->next;
    if (abandoned->parent != getpid() || abandoned->program->ExitCode().has_value()) {
      delete abandoned;
    } else {
      Add(abandoned);
    }
    abandoned = next;
  }
}

}  // namespace mp::internal
