#include "shared/internal/cancel_scope.h"

#include <pthread.h>

#include <string_view>

#include "absl/status/status.h"
#include "shared/internal/atomic.h"

namespace mp::internal {

void CancelScope::Enter() {
  CompilerFence();
  innermost_ = this;
}

void CancelScope::RegisterForkHandler() {
  pthread_atfork(nullptr, nullptr, [] { innermost_ = nullptr; });
}

absl::Status LateStatus(std::string_view why) {
  return CancelScope::Cancelled() ? absl::CancelledError(why) : absl::DeadlineExceededError(why);
}

}  // namespace mp::internal
