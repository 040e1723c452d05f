#include "mp/internal/queue_wait_source.h"

#include <time.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mp/internal/doorbell.h"
#include "mp/internal/joinable_calls.h"
#include "mp/internal/joinable_rings.h"
#include "mp/internal/message_rings.h"
#include "mp/internal/queue_bell.h"
#include "mp/internal/queue_calls.h"
#include "shared/internal/deadline.h"
#include "shared/internal/limbo.h"
#include "shared/internal/wait.h"

namespace mp::internal {
namespace {

// For a lock that others have for less than that, unless they are stopped.
timespec Patience() { return MonotonicDeadline(absl::Milliseconds(50)); }

// What the two kinds of queues have of their own.
class Plain {
 public:
  explicit Plain(const Handle<QueueState>& state) : state_(state) {}

  const Handle<QueueState>& handle() const { return state_; }
  QueueState& state() const { return *state_; }
  MessageRings rings() const { return MessageRings(*state_, &kQueueBell); }
  // Whether who gets would not wait.
  bool IsReady() const { return rings().MayGo(QueueEvent::kPut); }
  void Look() const {}
  bool AnyLeased() const { return false; }

 private:
  const Handle<QueueState> state_;
};

class Joinable {
 public:
  explicit Joinable(const Handle<JoinableState>& state) : state_(state) {}

  const Handle<JoinableState>& handle() const { return state_; }
  QueueState& state() const { return *state_; }
  JoinableRings rings() const { return JoinableRings(*state_); }
  bool IsReady() const { return rings().WouldTake(); }
  // What the dead had leased comes back by who looks for it.
  void Look() const {
    if (!rings().AnyLeased()) return;
    LookForTheDeadRarely();
    const timespec patience = Patience();
    JoinableCalls::Settle(*state_, &patience);
  }
  bool AnyLeased() const { return rings().AnyLeased(); }

 private:
  const Handle<JoinableState> state_;
};

template <typename Kind>
class QueueWaitSource final : public WaitSource {
 public:
  template <typename State>
  explicit QueueWaitSource(const Handle<State>& state) : queue_(state) {}

  std::unique_ptr<WaitSource> ForOneWait() const override {
    return std::make_unique<QueueWaitSource>(queue_.handle());
  }

  absl::StatusOr<int> BeginWait() override {
    if (absl::Status closed = QueueCalls::CheckOpen(queue_.state()); !closed.ok()) return closed;
    absl::StatusOr<Doorbell> bell = Doorbell::Make();
    if (!bell.ok()) return bell.status();
    const int fd = bell->fd();
    bell_.emplace(*std::move(bell));
    const absl::StatusOr<bool> ready = IsReady();
    if (!ready.ok()) {
      EndWait();
      return ready.status();
    }
    return fd;
  }

  void EndWait() override {
    const timespec patience = Patience();
    // Of one that stays in the list the next put finds out.
    queue_.rings().WithPutLock(&patience,
                               [&] { QueueBell::Remove(queue_.state(), bell_->number()); });
    bell_.reset();
  }

  absl::StatusOr<bool> IsReady() override {
    queue_.Look();
    if (queue_.IsReady()) {
      // The descriptor is to be readable as long as it is ready.
      bell_->RingItself();
      return true;
    }
    bool listed = true;
    MessageRings::Armed armed = Arm(listed);
    if (!listed && EndObjectsInLimbo()) {
      listed = true;
      armed = Arm(listed);
    }
    if (!listed) return absl::ResourceExhaustedError("no memory to wait for a queue");
    if (armed == MessageRings::Armed::kYes) {
      // In this order: what came back before anybody could see the bell is seen; what comes back
      // later was leased then, or after a put, which rings.
      looks_ = queue_.AnyLeased();
      if (!queue_.IsReady()) return false;
      armed = MessageRings::Armed::kMayGo;
    }
    // Where its lock is with one that is stopped, too: look again.
    bell_->RingItself();
    return armed == MessageRings::Armed::kMayGo;
  }

  bool MayComeUncalled() const override { return looks_; }

 private:
  // `listed`: whether there was memory for it.
  MessageRings::Armed Arm(bool& listed) const {
    const timespec patience = Patience();
    return queue_.rings().ArmForMessage([this] { return queue_.IsReady(); },
                                        [&] {
                                          bell_->Drain();
                                          listed = QueueBell::Add(queue_.state(), bell_->number());
                                        },
                                        &patience);
  }

  const Kind queue_;
  std::optional<Doorbell> bell_;  // between BeginWait() and EndWait()
  bool looks_ = false;            // see MayComeUncalled()
};

}  // namespace

std::shared_ptr<WaitSource> MakeQueueWaitSource(const Handle<QueueState>& state) {
  return std::make_shared<QueueWaitSource<Plain>>(state);
}

std::shared_ptr<WaitSource> MakeJoinableWaitSource(const Handle<JoinableState>& state) {
  return std::make_shared<QueueWaitSource<Joinable>>(state);
}

}  // namespace mp::internal
