#include "mp/internal/future_state.h"

#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "mp/internal/callback.h"
#include "shared/internal/atomic.h"

namespace mp::internal {

void FutureBase::AddCallback(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (!Done()) {
      callbacks_.push_back(std::move(callback));
      return;
    }
  }
  CallBack(callback);
}

void FutureBase::Finish() {
  std::vector<std::function<void()>> callbacks;
  {
    const std::lock_guard lock(mutex_);
    static constinit Atomic<uint64_t> last = 0;
    order_.store(last.fetch_add(1, std::memory_order_relaxed) + 1, std::memory_order_release);
    callbacks.swap(callbacks_);
  }
  for (const auto& callback : callbacks) CallBack(callback);
}

}  // namespace mp::internal
