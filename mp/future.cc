#include "mp/future.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mp/internal/future_state.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/deadline.h"

namespace mp::internal {
namespace {

WaitedFutures Sort(absl::Span<const FutureBase* const> states) {
  WaitedFutures waited;
  std::vector<std::pair<uint64_t, size_t>> done;
  for (size_t i = 0; i < states.size(); ++i) {
    if (const uint64_t order = states[i]->order(); order != 0) {
      done.emplace_back(order, i);
    } else {
      waited.not_done.push_back(i);
    }
  }
  std::sort(done.begin(), done.end());
  for (const auto& [order, i] : done) waited.done.push_back(i);
  return waited;
}

}  // namespace

WaitedFutures WaitForStates(absl::Span<const FutureBase* const> states, absl::Duration timeout,
                            ReturnWhen when) {
  // Those of several pools are driven in turn.
  constexpr absl::Duration kTurn = absl::Milliseconds(10);
  const Deadline deadline(timeout);
  auto is_done = [](const FutureBase* state) { return state->Done(); };
  auto enough = [&] {
    switch (when) {
      case ReturnWhen::kFirstCompleted:
        if (std::any_of(states.begin(), states.end(), is_done)) return true;
        break;
      case ReturnWhen::kFirstFailed:
        if (std::any_of(states.begin(), states.end(), [](const FutureBase* state) {
              return state->Done() && !state->status().ok();
            })) {
          return true;
        }
        break;
      case ReturnWhen::kAllCompleted:
        break;
    }
    return std::all_of(states.begin(), states.end(), is_done);
  };
  while (!enough()) {
    std::vector<FutureDriver*> drivers;
    for (const FutureBase* state : states) {
      FutureDriver* const driver = state->driver().get();
      if (!state->Done() && driver->CheckIsMaker().ok() &&
          std::find(drivers.begin(), drivers.end(), driver) == drivers.end()) {
        drivers.push_back(driver);
      }
    }
    if (drivers.empty()) break;  // nothing will come
    if (drivers.size() == 1) {
      static_cast<void>(drivers.front()->DriveUntil(enough, deadline.get()));
    } else {
      for (FutureDriver* driver : drivers) {
        const timespec turn = MonotonicDeadline(std::min(timeout, kTurn));
        static_cast<void>(driver->DriveUntil(enough, &turn));
      }
    }
    if (CancelScope::IsLate(deadline.get())) break;
  }
  return Sort(states);
}

}  // namespace mp::internal
