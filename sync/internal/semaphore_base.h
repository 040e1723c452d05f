// SemaphoreBase: the part that Semaphore and BoundedSemaphore have in common; the contracts are
// theirs (sync/semaphore.h).

#ifndef MP_SYNC_INTERNAL_SEMAPHORE_BASE_H_
#define MP_SYNC_INTERNAL_SEMAPHORE_BASE_H_

#include <optional>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "shared/internal/handle_access.h"
#include "shared/internal/object_type.h"
#include "sync/internal/counter.h"
#include "sync/permit.h"

namespace mp::internal {

class SemaphoreBase {
 public:
  void Acquire() const { counter_.Acquire(); }
  // False: there was none in time. Zero or less tries once.
  [[nodiscard]] bool Acquire(absl::Duration timeout) const { return counter_.Acquire(timeout); }
  [[nodiscard]] bool TryAcquire() const { return counter_.TryAcquire(); }
  // How many are left; the answer may be old when it arrives.
  int GetValue() const { return counter_.Value(); }
  // Whether none is; as old.
  bool Locked() const { return GetValue() == 0; }

  [[nodiscard]] Permit AcquirePermit() const { return Permit::Acquire(counter_); }
  // Nothing: there was none in time. Zero or less tries once, and that is nothing also where the
  // domain has room for no more permits.
  [[nodiscard]] std::optional<Permit> AcquirePermit(absl::Duration timeout) const {
    return Permit::Acquire(counter_, timeout);
  }
  [[nodiscard]] std::optional<Permit> TryAcquirePermit() const {
    return Permit::Acquire(counter_, absl::ZeroDuration());
  }

 protected:
  // Ends the process where Counter::Create() would return a status.
  SemaphoreBase(ObjectType type, int value, std::string_view name) : counter_(type, value, name) {}
  explicit SemaphoreBase(Counter counter) : counter_(std::move(counter)) {}
  SemaphoreBase(const SemaphoreBase&) = default;
  SemaphoreBase& operator=(const SemaphoreBase&) = default;
  ~SemaphoreBase() = default;

  const Counter& counter() const { return counter_; }

 private:
  friend struct HandleAccess;

  Counter counter_;
};

}  // namespace mp::internal

#endif  // MP_SYNC_INTERNAL_SEMAPHORE_BASE_H_
