// FutureState: what the copies of a Future share: a value that comes, once, and who is to be told.
// Who waits for it lends its thread to who makes it come: the FutureDriver.

#ifndef MP_MP_INTERNAL_FUTURE_STATE_H_
#define MP_MP_INTERNAL_FUTURE_STATE_H_

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/internal/atomic.h"

namespace mp::internal {

class FutureDriver {
 public:
  virtual ~FutureDriver() = default;

  // Makes what it can come, and waits, until `done()`, which is asked often, by one thread at a
  // time, and is not before `to_come()` more outcomes have come. False: not by `deadline`, or the
  // thread was cancelled.
  [[nodiscard]] virtual bool DriveUntil(absl::FunctionRef<bool()> done, const timespec* deadline,
                                        absl::FunctionRef<size_t()> to_come) = 0;
  [[nodiscard]] bool DriveUntil(absl::FunctionRef<bool()> done, const timespec* deadline) {
    return DriveUntil(done, deadline, [] { return size_t{1}; });
  }
  // From now on that is done also while nobody waits.
  virtual void Helper() = 0;
  // kFailedPrecondition: this is a child of the process whose it is.
  virtual absl::Status CheckIsMaker() const = 0;
};

class FutureBase {
 public:
  FutureBase() = default;
  virtual ~FutureBase() = default;
  FutureBase(const FutureBase&) = delete;
  FutureBase& operator=(const FutureBase&) = delete;

  bool Done() const { return order_.load(std::memory_order_acquire) != 0; }
  // Grows with each that is done in this process; 0: not yet.
  uint64_t order() const { return order_.load(std::memory_order_acquire); }
  virtual const std::shared_ptr<FutureDriver>& driver() const = 0;
  // Before it has begun: then it is done, and kCancelled.
  virtual bool Cancel() = 0;
  virtual bool Running() const = 0;
  virtual absl::Status status() const = 0;
  // How many outcomes of tasks it takes until it is done, at least.
  virtual size_t to_come() const { return 1; }

  bool Await(const timespec* deadline) const {
    return Done() ||
           driver()->DriveUntil([this] { return Done(); }, deadline, [this] { return to_come(); });
  }
  // When it is done, in the thread that finds that; at once, if it is.
  void AddCallback(std::function<void()> callback);

 protected:
  // The value is there. Once.
  void Finish();

 private:
  Atomic<uint64_t> order_{0};
  std::mutex mutex_;
  std::vector<std::function<void()>> callbacks_;  // under it
};

template <class R>
class FutureState : public FutureBase {
 public:
  // Once it is done.
  const absl::StatusOr<R>& value() const { return value_; }
  // By the only one who has it.
  absl::StatusOr<R> TakeValue() { return std::move(value_); }
  absl::Status status() const final { return value_.status(); }

 protected:
  void Set(absl::StatusOr<R> value) {
    value_ = std::move(value);
    Finish();
  }

 private:
  absl::StatusOr<R> value_;
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_FUTURE_STATE_H_
