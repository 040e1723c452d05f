// PoolState: the cell of a pool: the tasks that its maker has put, which workers take in that
// order, each by one store, and hand back with what came of them, by one store.
//
//   for (;;) {
//     const uint32_t task = state.AwaitTask(w);    // this is worker `w`; kNone: it is to leave
//     ... state[task].argument ...
//     state[task].result.SetBytes(...);
//     if (!state.Finish(task, w, false)) break;    // it was revoked
//   }
//
// Who puts tasks and harvests them: pool_maker.h. A task that a dead worker had taken is found by
// its word, which says who has it: the maker alone heals, and no other worker notices.
//
// Layout of a task (128 bytes), in lines of 64 bytes, of which each side writes its own
//   field      written by   read by   meaning
//   word       all          all       TaskWord: number, phase, worker. Each change commits
//   next       maker        workers   the task that was put behind this one, plus 1; 0: none yet.
//                                     Commits a put
//   job        maker        workers   what is to be done: a block of the pool's
//   argument   maker        workers   a TaskValue; in a block of the pool's, or here
//   finished   who has it   maker     the task that was finished before this one, plus 1
//   result     who has it   maker     a TaskValue; in a block, see P4, or here
//
// Layout of the cell
//   head       workers, maker  who takes  TaskEnd: the last task that is known to be taken
//   finished   workers, maker  maker      TaskEnd: the last task that is finished and not yet
//                                         harvested, plus 1; and how many ever were
//   puts       all             workers    changes before who sleeps on it is woken
//   worker_sleeps  all         maker      1: somebody may sleep on `puts`
//   maker_wants    all         workers    not 0: somebody may sleep on the low half of `finished`,
//                                         until its number is this (Want())
//   events     workers         maker      counts what Tell() has told
//   closed     maker           workers    1: who finds no task leaves
//   broken     a worker        maker      address of a block: TaskNote, why no worker can begin; 0:
//                                         none
//   workers    maker           all        address of a block: a WorkerRecord for each
//   segments   maker           all        addresses of blocks of tasks, each twice the one before
//
//   P1  Tasks are numbered as they are put, without a gap; number n is behind number n - 1, by its
//       `next`. From head's on none is reused before head has gone past it (Recycle()).
//   P2  A task is taken from head's `next` only: by READY -> TAKEN of its word, number included. If
//       whoever has taken it does not move head on, everybody else who comes does.
//   P3  A task in phase DONE or FAILED is in the list of `finished`; or its worker has died before
//       it was, and the maker harvests it when it heals.
//   P4  A result's block is its worker's until `result` names it, and then the pool's. Of a worker
//       that died in between the maker frees it: FreeResultOfDead().
//   Repair after a death: of a worker, by the maker, as above. Of the maker: none; its workers end,
//   and all of it is freed with the object.

#ifndef MP_MP_INTERNAL_POOL_STATE_H_
#define MP_MP_INTERNAL_POOL_STATE_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "absl/types/span.h"
#include "mp/internal/message_rings.h"
#include "mp/internal/queue_ring.h"
#include "shared/internal/atomic.h"
#include "shared/internal/futex.h"
#include "shared/internal/object_header.h"

namespace mp::internal {

struct TaskWord {
  enum class Phase : uint64_t {
    kNone,     // it is no task, or is being made
    kReady,    // who comes takes it
    kTaken,    // by `worker`
    kDone,     // result is what was encoded
    kFailed,   // result is a status
    kRevoked,  // by the maker: nobody takes it, or who has taken it is not to finish it
  };
  static constexpr int kNumberBits = 40;
  static constexpr int kPhaseBits = 3;
  static constexpr int kWorkerBits = 21;

  uint64_t number;
  Phase phase;
  uint32_t worker = 0;

  static TaskWord Of(uint64_t word) {
    return {word >> (kPhaseBits + kWorkerBits),
            static_cast<Phase>(word >> kWorkerBits & ((1 << kPhaseBits) - 1)),
            static_cast<uint32_t>(word & ((1 << kWorkerBits) - 1))};
  }
  uint64_t word() const {
    return number << (kPhaseBits + kWorkerBits) | static_cast<uint64_t>(phase) << kWorkerBits |
           worker;
  }
};

// A place in a list: a number that grows, in its low bits, and a task.
struct TaskEnd {
  static constexpr uint64_t kNumberMask = (uint64_t{1} << TaskWord::kNumberBits) - 1;

  // Numbers go round: of two that are less than half of all apart.
  static constexpr bool IsBefore(uint64_t a, uint64_t b) {
    return ((a - b) & kNumberMask) > kNumberMask / 2;
  }

  uint64_t number;
  uint32_t task;  // 24 bits

  static TaskEnd Of(uint64_t word) {
    return {word & kNumberMask, static_cast<uint32_t>(word >> TaskWord::kNumberBits)};
  }
  uint64_t word() const { return uint64_t{task} << TaskWord::kNumberBits | (number & kNumberMask); }
};

// Bytes that go from one process to another: what an Encoder has.
template <size_t kInline>
struct TaskValue {
  static constexpr size_t kMostInline = kInline;

  uint64_t head;  // MessageHead: how many, and whether they are in a block
  union {
    void* block;
    char bytes[kInline];
  };

  bool InBlock() const { return MessageHead::Of(head).kind != MessageHead::Kind::kBytes; }
  MessageRings::Block Block() const {
    const MessageHead message = MessageHead::Of(head);
    return {block, message.size, message.kind};
  }
  std::string_view View() const {
    if (InBlock()) return {MessageRings::BytesOf(Block()), Block().size};
    return {bytes, MessageHead::Of(head).size};
  }
  // Of its cargo.
  absl::Span<const Word> Handles() const {
    if (!MessageHead::HasCargo(MessageHead::Of(head).kind)) return {};
    const auto* const words = static_cast<const Word*>(block);
    return {words + 1, words->load(std::memory_order_relaxed)};
  }
  void SetBytes(const void* from, size_t size) {
    head = MessageHead{MessageHead::Kind::kBytes, size}.unit();
    if (size != 0) std::memcpy(bytes, from, size);
  }
  void SetBlock(const MessageRings::Block& from) {
    head = MessageHead{from.kind, from.size}.unit();
    block = from.address;
  }
  void Clear() { head = MessageHead{MessageHead::Kind::kBytes, 0}.unit(); }
};

// What is not part of a task, but told by a block of its own: a job, or an error.
struct TaskNote {
  uint64_t number;  // of the job, which no other of this pool has
  TaskValue<48> value;
};

// How far a worker has come.
struct WorkerRecord {
  enum Phase : uint64_t {
    kStarts,
    kInitializes,
    kWorks,
    kLeaves,  // it has no task, and takes none
  };

  alignas(64) Word phase;
  Word process;  // its id in the process table; 0: it has not begun
  Word exits;    // 1: something has called exit()
  Word since;  // nanoseconds of CLOCK_MONOTONIC: when it took its task; 0: it has none, or no limit

  void Reset() {
    phase.store(kStarts, std::memory_order_relaxed);
    process.store(0, std::memory_order_relaxed);
    exits.store(0, std::memory_order_relaxed);
    since.store(0, std::memory_order_relaxed);
  }
};

struct PoolTask {
  static constexpr size_t kLine = 64;

  alignas(kLine) Word word;
  Word next;
  const TaskNote* job;
  TaskValue<32> argument;
  alignas(kLine) Word finished;
  TaskValue<48> result;
};
static_assert(sizeof(PoolTask) == 2 * PoolTask::kLine);

struct PoolState : ObjectHeader {
  static constexpr uint32_t kNone = ~uint32_t{0};
  static constexpr uint32_t kFirstSegment = 256;  // tasks
  static constexpr size_t kSegments = 16;
  static constexpr uint32_t kMostTasks = kFirstSegment * ((1 << kSegments) - 1);
  static_assert(kMostTasks <= 1 << (64 - TaskWord::kNumberBits));
  static constexpr uint32_t kMostWorkers = 1 << TaskWord::kWorkerBits;

  alignas(PoolTask::kLine) Word head;
  alignas(PoolTask::kLine) Word finished;
  alignas(PoolTask::kLine) FutexWord puts;
  Word worker_sleeps;
  alignas(PoolTask::kLine) Word maker_wants;
  Word events;
  alignas(PoolTask::kLine) Word closed;
  Word broken;
  Word workers;
  Word segments[kSegments];

  // By its maker, before others see it. False: there is no memory.
  [[nodiscard]] bool Init(uint32_t workers_count);
  // By its maker: room for more tasks. False: there is no memory.
  [[nodiscard]] bool AddSegment(size_t segment);
  // Those of tasks are the pool's, too.
  void FreeBlocks();

  PoolTask& operator[](uint32_t task) const {
    const uint32_t place = task + kFirstSegment;
    const int segment = std::bit_width(place) - std::bit_width(kFirstSegment);
    auto* const first =
        reinterpret_cast<PoolTask*>(segments[segment].load(std::memory_order_relaxed));
    return first[place - (kFirstSegment << segment)];
  }

  // By worker `w`, which takes the first task that nobody has, or waits for one. kNone: there is
  // none, and it is closed.
  uint32_t AwaitTask(uint32_t w);
  // With its result written; wakes the maker. False: it was revoked, and nobody reads the result.
  [[nodiscard]] bool Finish(uint32_t task, uint32_t w, bool failed);

  // By a worker: the maker is to look.
  void Tell();

  // What maker_wants is for one who sleeps until `finished` has that number.
  static uint64_t Want(uint64_t number) {
    return uint64_t{1} << 63 | (number & TaskEnd::kNumberMask);
  }

  // By who has put so many, or learns that there are. Who is woken, and finds that there is another
  // one behind its own, wakes the next.
  void WakeWorkers(int count);
  // Moves head behind all that is not ready; or, for worker `w`, up to the first that it takes.
  // Returns that, or kNone.
  uint32_t Skip() { return TakeOrSkip(nullptr); }
  uint32_t Take(uint32_t w) { return TakeOrSkip(&w); }

  WorkerRecord& Record(uint32_t w) const {
    return reinterpret_cast<WorkerRecord*>(workers.load(std::memory_order_relaxed))[w];
  }
  bool IsClosed() const { return closed.load(std::memory_order_seq_cst) != 0; }

 private:
  uint32_t TakeOrSkip(const uint32_t* w);
  void WakeMakerAt(uint64_t number);
  void WakeMaker();
  bool MayHaveTask() const;
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_POOL_STATE_H_
