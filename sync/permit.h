// Permit: one of a semaphore's, held by this process until the Permit ends or is released; or until
// the process dies. What holds of it is in sync/semaphore.h.

#ifndef MP_SYNC_PERMIT_H_
#define MP_SYNC_PERMIT_H_

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/time/time.h"
#include "shared/domain.h"
#include "shared/internal/holds.h"
#include "shared/internal/permits.h"
#include "sync/internal/counter.h"

namespace mp {

namespace internal {
class SemaphoreBase;
}

class Permit {
 public:
  // Gives it back; nothing if it was moved from, released, or is a copy that a fork made.
  ~Permit() { Release(); }
  Permit(Permit&& other) noexcept
      : semaphore_(other.semaphore_),
        hold_(std::exchange(other.hold_, nullptr)),
        generation_(other.generation_) {}
  Permit& operator=(Permit&& other) noexcept {
    if (this == &other) return *this;
    Release();
    semaphore_ = other.semaphore_;
    hold_ = std::exchange(other.hold_, nullptr);
    generation_ = other.generation_;
    return *this;
  }

  // Before its end.
  void Release() {
    internal::Hold* const hold = std::exchange(hold_, nullptr);
    if (hold != nullptr && generation_ == internal::ForkGeneration()) {
      internal::Counter::ReleasePermit(*semaphore_, *hold);
    }
  }

 private:
  friend class internal::SemaphoreBase;

  static Permit Acquire(const internal::Counter& counter) {
    return Permit(counter.state(), *counter.AcquirePermit());
  }
  static std::optional<Permit> Acquire(const internal::Counter& counter, absl::Duration timeout) {
    internal::Hold* const hold = counter.AcquirePermit(timeout);
    if (hold == nullptr) return std::nullopt;
    return Permit(counter.state(), *hold);
  }
  Permit(internal::PermitsHeader& semaphore, internal::Hold& hold)
      : semaphore_(&semaphore), hold_(&hold), generation_(internal::ForkGeneration()) {}

  internal::PermitsHeader* semaphore_;
  internal::Hold* hold_;  // nullptr: none
  uint32_t generation_;
};

}  // namespace mp

#endif  // MP_SYNC_PERMIT_H_
