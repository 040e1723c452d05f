// JoinableRings: what can be done with a JoinableState at once, as MessageRings with a QueueState:
// messages are put as there, and taken for good, or leased; and it is known what is finished.
//
//   JoinableRings rings(state);
//   JoinableRings::Lease lease;
//   if (rings.TryLease(lease, &deadline) == Result::kDone) {
//     ...                                     // lease.block is the queue's
//     rings.Finish(lease);                    // or Return(lease)
//   }
//
// Ordering: as MessageRings; what comes back comes before what has never been taken.
// Death:    each is all or nothing. What the dead had leased is back where somebody takes, or looks
//           for progress, after the burial.
// Threads:  from any number; not in a signal handler. A lease is one thread's at a time.
// Cost:     the lock of who gets, for each.

#ifndef MP_MP_INTERNAL_JOINABLE_RINGS_H_
#define MP_MP_INTERNAL_JOINABLE_RINGS_H_

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "mp/internal/joinable_state.h"
#include "mp/internal/message_rings.h"
#include "mp/internal/queue_bell.h"
#include "shared/internal/atomic.h"
#include "shared/internal/journal.h"
#include "shared/internal/process_table.h"

namespace mp::internal {

class JoinableRings : private MessageRings {
 public:
  using MessageRings::Armed;
  using MessageRings::ArmForMessage;
  using MessageRings::Block;
  using MessageRings::FreeBlock;
  using MessageRings::Result;
  using MessageRings::RingForReturned;
  using MessageRings::Tidy;
  using MessageRings::WithPutLock;

  struct Lease {
    uint64_t record = 0;
    int deliveries = 0;  // with this one
    Block block = {nullptr, 0, MessageHead::Kind::kBlock};
  };
  // What is not finished, and how much of it was got by processes that have died since.
  struct Progress {
    uint32_t unfinished = 0;
    uint32_t lost = 0;
  };

  explicit JoinableRings(JoinableState& state) : MessageRings(state, &kQueueBell), state_(state) {}

  // Makes what is behind the QueueState, too.
  [[nodiscard]] static bool Init(JoinableState& state, uint64_t limit, uint64_t max_deliveries);

  // Up to `most` messages, for good; how many there were is left in `count`. As those of
  // MessageRings, but kBusy where it is shut, and what is leased may still come back.
  Result TryGet(size_t most, size_t& count,
                absl::FunctionRef<void(const void* place, size_t size)> read,
                absl::FunctionRef<void(const Block& block)> take, const timespec* deadline);
  // One is this process's until it finishes it, returns it or dies.
  Result TryLease(Lease& lease, const timespec* deadline);
  void Finish(const Lease& lease);
  void Return(const Lease& lease);
  // One that was got is finished. False: all are.
  [[nodiscard]] bool TaskDone();
  // False: not by `deadline`.
  [[nodiscard]] bool Look(Progress& progress, const timespec* deadline);
  // Those that are there stay until the queue's end.
  std::vector<Block> DeadLetters();

  // Without a lock: whether who wants to take may find something, or the end.
  bool MayTake() const {
    return state_.Size() != 0 || state_.returned.load(std::memory_order_acquire) != 0 ||
           state_.shut.load(std::memory_order_acquire) != 0;
  }
  // The same: whether who takes would not wait.
  bool WouldTake() const {
    const uint64_t shut = state_.shut.load(std::memory_order_acquire);
    return state_.Size() != 0 || state_.returned.load(std::memory_order_acquire) != 0 ||
           (shut & QueueState::kDropped) != 0 || (shut != 0 && !AnyLeased());
  }
  // Of what may come back.
  bool AnyLeased() const { return state_.leased.load(std::memory_order_acquire) != 0; }
  // The same: whether all that is unfinished was got.
  bool AllAreOut() const {
    return state_.Size() == 0 && state_.leased.load(std::memory_order_acquire) == 0 &&
           state_.returned.load(std::memory_order_acquire) == 0;
  }

 private:
  using Section = Journal::Section;

  // What is to be taken next.
  struct Next {
    uint64_t record = 0;  // 0: `message` at `head`
    QueueEnd head = {};
    const uint64_t* place = nullptr;
    MessageHead message = {};

    QueueEnd behind() const {
      return {.messages = head.messages + 1, .position = head.position + message.units()};
    }
  };

  // All by who has the lock to get.
  bool Drops() const {
    return (state_.shut.load(std::memory_order_acquire) & QueueState::kDropped) != 0;
  }
  void Settle();
  Result FindNext(Next& next);
  Result GetNext(absl::FunctionRef<void(const void* place, size_t size)> read,
                 absl::FunctionRef<void(const Block& block)> take);
  Block BlockOf(uint64_t number) const;
  void GiveBack(uint64_t number);
  Block End(uint64_t number);
  bool GrowRecords();
  LeaseAccount* FindAccount(ProcessId process) const;
  LeaseAccount* MakeAccount(ProcessId process);
  // What their accounts hold, and the one that holds most.
  struct Living {
    uint64_t held = 0;
    uint64_t most_held = 0;
    LeaseAccount* most = nullptr;
  };
  Living LookAtTheLiving() const;

  // Staged in a section.
  static void Add(Section& section, Word& word, int64_t count) {
    section.Set(word, section.Get(word) + static_cast<uint64_t>(count));
  }
  void Append(Section& section, LeaseList& list, uint64_t number);
  uint64_t TakeFirst(Section& section, LeaseList& list);
  void Free(Section& section, uint64_t number);

  JoinableState& state_;
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_JOINABLE_RINGS_H_
