#include "mp/internal/queue_wait_source.h"

#include <time.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mp/internal/doorbell.h"
#include "mp/internal/message_rings.h"
#include "mp/internal/queue_bell.h"
#include "mp/internal/queue_calls.h"
#include "shared/internal/deadline.h"

namespace mp::internal {
namespace {

// For a lock that others have for less than that, unless they are stopped.
timespec Patience() { return MonotonicDeadline(absl::Milliseconds(50)); }

class QueueWaitSource final : public WaitSource {
 public:
  explicit QueueWaitSource(const Handle<QueueState>& state) : state_(state) {}

  absl::StatusOr<int> BeginWait() override {
    if (QueueCalls::AnyClosed()) {
      if (absl::Status closed = QueueCalls::CheckOpen(*state_); !closed.ok()) return closed;
    }
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
    rings().WithPutLock(&patience, [&] { QueueBell::Remove(*state_, bell_->number()); });
    bell_.reset();
  }

  absl::StatusOr<bool> IsReady() override {
    if (rings().MayGo(QueueEvent::kPut)) {
      // The descriptor is to be readable as long as it is ready.
      bell_->RingItself();
      return true;
    }
    bool listed = true;
    const timespec patience = Patience();
    const MessageRings::Armed armed = rings().ArmForMessage(
        [&] {
          bell_->Drain();
          listed = QueueBell::Add(*state_, bell_->number());
        },
        &patience);
    if (!listed) return absl::ResourceExhaustedError("no memory to wait for a queue");
    // Its lock is with one that is stopped: look again.
    if (armed != MessageRings::Armed::kYes) bell_->RingItself();
    return armed == MessageRings::Armed::kMayGo;
  }

 private:
  MessageRings rings() const { return MessageRings(*state_, &kQueueBell); }

  const Handle<QueueState> state_;
  std::optional<Doorbell> bell_;  // between BeginWait() and EndWait()
};

}  // namespace

std::shared_ptr<WaitSource> MakeQueueWaitSource(const Handle<QueueState>& state) {
  return std::make_shared<QueueWaitSource>(state);
}

}  // namespace mp::internal
