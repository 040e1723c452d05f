#include "mp/start_method.h"

#include "shared/internal/atomic.h"

namespace mp {
namespace {

constinit internal::Atomic<StartMethod> start_method = StartMethod::kFork;

}  // namespace

// Relaxed: a value and nothing else.
void SetStartMethod(StartMethod method) { start_method.store(method, std::memory_order_relaxed); }

StartMethod GetStartMethod() { return start_method.load(std::memory_order_relaxed); }

}  // namespace mp
