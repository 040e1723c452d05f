// A process is killed at every instruction of what can be done with a queue of bytes.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/internal/message_queue.h"
#include "shared/inspect.h"
#include "shared/internal/deadline.h"
#include "shared/internal/wait.h"
#include "tests/mp/test_queue.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/fork.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"

namespace mp {
namespace {

using internal::MessageQueue;
using testing::CrashCase;
using testing::CrashOptions;
using testing::CrashReport;
using testing::ForkMortal;
using testing::Gate;
using testing::Inherited;
using testing::KillAndReap;
using testing::Message;
using testing::RunCrashSweep;
using testing::Settle;
using testing::TestQueue;
using Result = MessageQueue::Result;

constexpr size_t kShort = 40;
constexpr size_t kLong = 20'000;  // in a block

// How far the victim came.
struct Seen {
  volatile int begun = 0;
  volatile int done = 0;
};

// Of what spins for a while, never twice as long: each takes its time.
constexpr size_t kFew = 20;

class QueueCrashTest : public ::testing::Test {
 protected:
  // Messages 0, 1 ... of `size` that are in it.
  void SetUpPoint(int messages, size_t size, uint64_t limit) {
    queue_.reset();
    Settle();
    internal::LaneForNotes();
    // What a victim left, whoever looked after it, is gone with its queue.
    const size_t in_use = Stats().in_use;
    if (before_.has_value()) {
      EXPECT_EQ(in_use, *before_);
    }
    before_ = in_use;
    queue_.emplace(limit);
    for (int i = 0; i < messages; ++i) {
      ASSERT_EQ(queue_->TryPut(Message(size, i)), Result::kDone);
    }
    *seen_ = Seen();
    gate_->Close();
  }
  CrashCase Case(const std::string& name, int messages, size_t size, uint64_t limit = 0) {
    CrashCase crash;
    crash.name = absl::StrCat("queue: ", name, ", ", size, " bytes");
    crash.set_up = [this, messages, size, limit] { SetUpPoint(messages, size, limit); };
    crash.prepare = [] { TouchAll(); };
    return crash;
  }
  // So that nothing in the operation happens for the first time.
  static void TouchAll() {
    const TestQueue own;
    for (const size_t size : {kShort, kLong}) {
      (void)own.TryPut(Message(size, 0));
      (void)own.TryGet();
    }
  }
  // `most`: points, where it is no full sweep.
  static void Sweep(const CrashCase& crash, bool sleeps = false, size_t most = 200) {
    CrashOptions options;
    options.sample = std::min(options.sample, most);
    const CrashReport report = RunCrashSweep(crash, options);
    EXPECT_TRUE(report.Clean()) << report.Summary();
    if (sleeps) {
      EXPECT_GT(report.sleeps, 0u);
    }
  }

  // Of those in it, from `first` on, up to the victim's; and one more that is put then. At least
  // `least`, at most `most` in all.
  std::string Check(int first, int least, int most, size_t size) {
    const std::string last = Message(size, 1'000'000);
    if (queue_->Put(last) != Result::kDone) return "nothing can be put any more";
    int next = first;
    for (;; ++next) {
      const std::optional<std::string> message = queue_->TryGet();
      if (!message.has_value()) return "the last message is lost";
      if (*message == last) break;
      if (*message != Message(size, next))
        return absl::StrCat("instead of message ", next, " another");
    }
    if (next < least) return absl::StrCat("there are ", next, " messages, and were ", least);
    if (next > most) return absl::StrCat("there are ", next, " messages, but at most ", most);
    if (queue_->state().Size() != 0) return "what is empty says that it is not";
    return std::string(mp::Check().message());
  }

  // Whether so many have ever been put, or got.
  bool HasPut(uint32_t messages) const {
    return queue_->state().puts().load(std::memory_order_acquire) >= messages;
  }
  bool HasGot(uint32_t messages) const {
    return queue_->state().gets().load(std::memory_order_acquire) >= messages;
  }

  std::optional<TestQueue> queue_;
  std::optional<size_t> before_;
  Inherited<Seen> seen_;
  Inherited<Gate> gate_;
};

TEST_F(QueueCrashTest, APutIsAllOrNothing) {
  for (const size_t size : {kShort, kLong}) {
    for (const int messages : {0, 3}) {
      CrashCase crash = Case(absl::StrCat("a put behind ", messages), messages, size);
      crash.operation = [this, message = Message(size, messages)] {
        seen_->begun = 1;
        (void)queue_->Put(message);
        seen_->done = 1;
      };
      crash.check = [this, messages, size] {
        return Check(0, messages + seen_->done, messages + seen_->begun, size);
      };
      Sweep(crash);
    }
  }
}

TEST_F(QueueCrashTest, AGetIsAllOrNothing) {
  for (const size_t size : {kShort, kLong}) {
    CrashCase crash = Case("a get", 3, size);
    crash.operation = [this] {
      seen_->begun = 1;
      (void)queue_->Get();
      seen_->done = 1;
    };
    crash.check = [this, size]() -> std::string {
      // The first is there, or it is gone.
      const bool gone = queue_->state().Size() == 2;
      if (gone && seen_->begun == 0) return "gone, and nobody has taken it";
      if (!gone && seen_->done != 0) return "there, and somebody has taken it";
      return Check(gone ? 1 : 0, 3, 3, size);
    };
    Sweep(crash);
  }
}

// The ring is full, of what is taken from its end; or all of it has been taken.
TEST_F(QueueCrashTest, AGrowingQueueLosesNothing) {
  const TestQueue model;
  int full = 0;
  const uint64_t ring = model.state().put_ring.load();
  for (; model.state().put_ring.load() == ring; ++full) {
    ASSERT_EQ(model.TryPut(Message(kShort, full)), Result::kDone);
  }
  CrashCase put = Case("a put that grows it", full - 1, kShort);
  put.operation = [this, message = Message(kShort, full - 1)] {
    (void)queue_->Put(message);
    seen_->done = 1;
  };
  put.check = [this, full] { return Check(0, full - 1 + seen_->done, full, kShort); };
  Sweep(put);

  CrashCase get = Case("a get from the next ring", full, kShort);
  get.set_up = [this, full] {
    SetUpPoint(full, kShort, 0);
    for (int i = 0; i < full - 1; ++i) ASSERT_TRUE(queue_->TryGet().has_value());
  };
  get.operation = [this] { (void)queue_->Get(); };
  get.check = [this, full] {
    const bool gone = queue_->state().Size() == 0;
    return Check(gone ? full : full - 1, full, full, kShort);
  };
  Sweep(get);
}

TEST_F(QueueCrashTest, WhoSleepsForAMessageIsWoken) {
  for (const size_t size : {kShort, kLong}) {
    CrashCase crash = Case("a put, and somebody waits for it", 0, size);
    crash.operation = [this, message = Message(size, 0)] { (void)queue_->Put(message); };
    crash.sleeper = [this] { (void)queue_->Get(); };
    crash.check = [this, size]() -> std::string {
      Settle();
      // The sleeper has it, or is to be woken for it; else it gets this one.
      if (HasPut(1)) return "";
      return queue_->Put(Message(size, 1)) == Result::kDone ? "" : "nothing can be put any more";
    };
    Sweep(crash);
  }
}

TEST_F(QueueCrashTest, WhoSleepsForRoomIsWoken) {
  for (const size_t size : {kShort, kLong}) {
    CrashCase crash = Case("a get, and somebody waits for room", 1, size, /*limit=*/1);
    crash.operation = [this] { (void)queue_->Get(); };
    crash.sleeper = [this, size] { (void)queue_->Put(Message(size, 1)); };
    crash.check = [this]() -> std::string {
      Settle();
      // The sleeper is to be woken for the room.
      if (HasGot(1)) return "";
      return queue_->Get().has_value() ? "" : "nothing can be got any more";
    };
    Sweep(crash);
  }
}

// Another one sleeps behind the victim.
TEST_F(QueueCrashTest, WhoQueuesBehindADeadSleeperIsWoken) {
  CrashCase get = Case("two wait for a message", 0, kShort);
  get.operation = [this] { (void)queue_->Get(); };
  get.sleeper = [this] { (void)queue_->Get(); };
  get.sleeper_queues_behind = true;
  get.unblock = [this] { (void)queue_->Put(Message(kShort, 0)); };
  get.check = [this]() -> std::string {
    Settle();
    // Where nobody has it, it is the sleeper's.
    if (!HasGot(1)) return "";
    return queue_->Put(Message(kShort, 1)) == Result::kDone ? "" : "nothing can be put any more";
  };
  Sweep(get, /*sleeps=*/true, kFew);

  CrashCase put = Case("two wait for room", 1, kShort, /*limit=*/1);
  put.operation = [this, message = Message(kShort, 1)] { (void)queue_->Put(message); };
  put.sleeper = [this] { (void)queue_->Put(Message(kShort, 1)); };
  put.sleeper_queues_behind = true;
  put.unblock = [this] { (void)queue_->Get(); };
  put.check = [this]() -> std::string {
    Settle();
    // Where nobody has used the room, it is the sleeper's.
    if (HasPut(2)) (void)queue_->TryGet();
    return "";
  };
  Sweep(put, /*sleeps=*/true, kFew);
}

TEST_F(QueueCrashTest, ATimeoutIsSafe) {
  CrashCase get = Case("a get in vain", 0, kShort);
  get.operation = [this] { (void)queue_->Get(internal::Deadline(absl::Milliseconds(1)).get()); };
  get.check = [this] { return Check(0, 0, 0, kShort); };
  Sweep(get, /*sleeps=*/false, kFew);
  CrashCase put = Case("a put in vain", 1, kLong, /*limit=*/1);
  put.operation = [this, message = Message(kLong, 1)] {
    (void)queue_->Put(message, internal::Deadline(absl::Milliseconds(1)).get());
  };
  put.check = [this]() -> std::string {
    const std::optional<std::string> message = queue_->Get();
    if (message != Message(kLong, 0)) return "another message";
    return Check(1, 0, 1, kLong);
  };
  Sweep(put, /*sleeps=*/false, kFew);
}

TEST_F(QueueCrashTest, AShutdownIsSeenByAll) {
  for (const bool drop : {false, true}) {
    CrashCase crash = Case(absl::StrCat("a shutdown", drop ? " at once" : ""), 0, kShort);
    crash.operation = [this, drop] {
      MessageQueue(queue_->state()).Shut(drop);
      seen_->done = 1;
    };
    crash.sleeper = [this] { (void)queue_->Get(); };
    crash.check = [this]() -> std::string {
      Settle();
      const Result put = queue_->Put(Message(kShort, 0));
      if (seen_->done != 0 && put != Result::kShut) return "something can be put";
      return "";
    };
    Sweep(crash);
  }
}

// Blocks of one that died before are freed by the victim.
TEST_F(QueueCrashTest, WhoTidiesMayDieToo) {
  CrashCase crash = Case("a put after a dead one", 2, kLong);
  crash.set_up = [this] {
    SetUpPoint(2, kLong, 0);
    const Inherited<Gate> locked;
    const pid_t pid = ForkMortal([&] {
      (void)MessageQueue(queue_->state())
          .Put(
              kShort,
              [&](void*) {
                locked->Open();
                Inherited<Gate>()->Wait();  // for the end
              },
              nullptr);
    });
    locked->Wait();
    KillAndReap(pid);
  };
  crash.operation = [this, message = Message(kLong, 2)] {
    (void)queue_->Put(message);
    seen_->done = 1;
  };
  crash.check = [this] { return Check(0, 2 + seen_->done, 3, kLong); };
  Sweep(crash);
}

}  // namespace
}  // namespace mp
