// Who does not wait makes no system calls: neither behind the program's back, nor in what it
// does with locks and objects while nobody is in its way.

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "shared/allocator.h"
#include "shared/internal/spinning.h"
#include "shared/internal/wait.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/array.h"
#include "sync/barrier.h"
#include "sync/condition.h"
#include "sync/event.h"
#include "sync/latch.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "sync/once.h"
#include "sync/rlock.h"
#include "sync/rwlock.h"
#include "sync/semaphore.h"
#include "sync/value.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/look.h"
#include "tests/support/no_system_calls.h"
#include "tests/support/pause.h"
#include "tests/support/settings.h"
#include "tests/support/shared_word.h"

namespace mp {
namespace {

using testing::Child;
using testing::EndNow;
using testing::EndWithoutSystemCalls;
using testing::ForbidSystemCalls;
using testing::Gate;
using testing::Inherited;
using testing::KilledForSystemCall;
using testing::LookAt;
using testing::PauseForEver;
using testing::SharedWord;
using testing::SystemCallsCanBeForbidden;
using testing::WaitUntilAsleep;

// What a process has that has used everything: a slot, a lane, an object, blocks of the heap.
void UseAll(const Lock& lock) {
  const RLock mine;
  const Shared<std::vector<int, Allocator<int>>> object;
  {
    const LockGuard guard(lock);
    const LockGuard nested(mine);
    object->push_back(1);
  }
  const RawValue<int> value(1);
  const RawValue<int> copy = value;
  const SharedWord word(0);
  internal::WakeAll(*word);
}

// In ticks of the kernel's clock.
std::string ProcessorTime(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string text;
  std::getline(file, text);
  // utime and stime; the fields after the name are numbered from 3.
  size_t begin = text.rfind(')');
  for (int field = 2; field < 14; ++field) begin = text.find(' ', begin + 1);
  return text.substr(begin, text.find(' ', text.find(' ', begin + 1) + 1) - begin);
}

ptrdiff_t CountThreads(pid_t pid) {
  const std::filesystem::directory_iterator tasks(absl::StrCat("/proc/", pid, "/task"));
  return std::distance(begin(tasks), end(tasks));
}

TEST(IdleFamilyTest, DoesNothingAtAll) {
  if (testing::kSanitized) GTEST_SKIP() << "a sanitizer has threads of its own";
  const bool forbid = SystemCallsCanBeForbidden();
  const Lock lock;
  const Inherited<Gate> end;
  std::vector<std::unique_ptr<Child>> pausing;
  for (int i = 0; i < 4; ++i) {
    pausing.push_back(std::make_unique<Child>([&](auto& step) {
      UseAll(lock);
      step("used");
      PauseForEver();
    }));
    ASSERT_TRUE(pausing.back()->RunTo("used"));
    pausing.back()->Go();
    ASSERT_TRUE(WaitUntilAsleep(pausing.back()->pid(), {SYS_pause}));
  }
  // Two that are busy with something else: whose calls are not seen from outside, so that
  // they die of any.
  std::vector<std::unique_ptr<Child>> busy;
  for (int i = 0; i < 2; ++i) {
    busy.push_back(std::make_unique<Child>([&](auto& step) {
      UseAll(lock);
      step("used");
      if (forbid) ForbidSystemCalls();
      while (!end->IsOpen()) internal::Spinning::Pause();
      if (forbid) EndNow(0);
    }));
    ASSERT_TRUE(busy.back()->RunTo("used"));
    busy.back()->Go();
  }
  struct State {
    int64_t switches;
    std::string time;
    bool operator==(const State&) const = default;
  };
  auto states = [&] {
    std::vector<State> result;
    for (const auto& child : pausing) {
      result.push_back({LookAt(child->pid()).switches, ProcessorTime(child->pid())});
    }
    return result;
  };
  const std::vector<State> before = states();
  // Longer than any nap or look.
  const timespec while_idle = {.tv_sec = 1, .tv_nsec = 200'000'000};
  nanosleep(&while_idle, nullptr);
  EXPECT_EQ(states(), before);
  for (const auto& child : pausing) {
    EXPECT_EQ(LookAt(child->pid()).syscall, SYS_pause);
    EXPECT_EQ(CountThreads(child->pid()), 1);
    child->Kill();
  }
  for (const auto& child : busy) EXPECT_EQ(CountThreads(child->pid()), 1);
  end->Open();
  for (const auto& child : busy) EXPECT_EQ(child->Finish(), 0);
  testing::Settle();
}

class NoSystemCallsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!SystemCallsCanBeForbidden()) GTEST_SKIP() << "system calls cannot be forbidden here";
  }
  ~NoSystemCallsTest() override { testing::Settle(); }

  // Whether `body` makes no system calls once it was run before.
  bool NeedsNone(const std::function<void()>& body) const {
    const int status = EndWithoutSystemCalls(
        [&] {
          UseAll(lock_);
          body();
        },
        [&] {
          for (int i = 0; i < 100; ++i) body();
        });
    EXPECT_TRUE(status == 0 || KilledForSystemCall(status)) << status;
    return status == 0;
  }

  const Lock lock_;
  const RLock rlock_;
  const SharedWord word_{0};
};

TEST_F(NoSystemCallsTest, LocksThatNobodyHoldsNeedNone) {
  EXPECT_TRUE(NeedsNone([&] {
    lock_.Acquire();
    lock_.Release();
  }));
  EXPECT_TRUE(NeedsNone([&] {
    if (!lock_.TryAcquire()) abort();
    lock_.Release();
    if (!lock_.Acquire(absl::Seconds(1))) abort();
    lock_.Release();
  }));
  EXPECT_TRUE(NeedsNone([&] {
    const RLock same = rlock_;
    const LockGuard guard(rlock_);
    const LockGuard again(same);
  }));
  EXPECT_TRUE(NeedsNone([&] { static_cast<void>(lock_.Locked()); }));
}

TEST_F(NoSystemCallsTest, EventsThatNobodyWaitsForNeedNone) {
  const Event event;
  EXPECT_TRUE(NeedsNone([&] {
    event.Set();
    event.Wait();
    if (!event.IsSet() || !event.Wait(absl::Seconds(1))) abort();
    event.Clear();
    if (event.IsSet() || event.Wait(absl::ZeroDuration())) abort();
  }));
}

TEST_F(NoSystemCallsTest, ConditionsOnWhichNobodyWaitsNeedNone) {
  const Condition own;
  const Condition over(lock_);
  for (const Condition* condition : {&own, &over}) {
    EXPECT_TRUE(NeedsNone([condition] {
      condition->Acquire();
      condition->Notify();
      condition->Notify(2);
      condition->NotifyAll();
      condition->WaitFor([] { return true; });
      condition->Release();
      if (!condition->TryAcquire()) abort();
      condition->Release();
    }));
  }
}

TEST_F(NoSystemCallsTest, SemaphoresWithPermitsLeftNeedNone) {
  const auto use = [this](const auto& semaphore) {
    return NeedsNone([&] {
      semaphore.Acquire();
      if (!semaphore.Acquire(absl::Seconds(1)) || semaphore.TryAcquire()) abort();
      static_cast<void>(semaphore.Release());
      static_cast<void>(semaphore.Release());
      const Permit permit = semaphore.AcquirePermit();
      const std::optional<Permit> second = semaphore.TryAcquirePermit();
      if (!second.has_value() || semaphore.GetValue() != 0) abort();
    });
  };
  EXPECT_TRUE(use(Semaphore(2)));
  EXPECT_TRUE(use(BoundedSemaphore(2)));
}

TEST_F(NoSystemCallsTest, BarriersThatAllHaveComeToNeedNone) {
  const Barrier plain(1);
  const Barrier acting(1, {.action = [] {}});
  EXPECT_TRUE(NeedsNone([&] {
    if (!plain.Wait().ok() || !acting.Wait(absl::ZeroDuration()).ok()) abort();
    if (plain.NWaiting() != 0 || plain.Broken()) abort();
  }));
}

TEST_F(NoSystemCallsTest, ReadersAndWritersThatNobodyKeepsAwayNeedNone) {
  const RWLock lock;
  const RWLock same = lock;  // to Clang another one: to read twice is allowed
  EXPECT_TRUE(NeedsNone([&] {
    const SharedLockGuard reader(lock);
    if (!same.TryAcquireShared()) abort();
    same.ReleaseShared();
  }));
  EXPECT_TRUE(NeedsNone([&] {
    const LockGuard writer(lock);
    if (same.TryAcquireShared()) abort();
  }));
}

TEST_F(NoSystemCallsTest, WhatIsDoneNeedsNone) {
  const Once once;
  const Latch latch(0);
  EXPECT_TRUE(NeedsNone([&] {
    once.Call([] {});
    latch.Join();
    latch.CountDown();
    latch.Wait();
    if (!once.Done() || !latch.Wait(absl::Seconds(1))) abort();
  }));
}

TEST_F(NoSystemCallsTest, ValuesAndArraysThatNobodyHoldsNeedNone) {
  const Value<int> value;
  const Array<int> array(2);
  EXPECT_TRUE(NeedsNone([&] {
    value.Update([](int& n) { ++n; });
    value.Set(value.Get() + 1);
  }));
  EXPECT_TRUE(NeedsNone([&] {
    const LockGuard guard(array);
    for (int& element : array) ++element;
  }));
}

TEST_F(NoSystemCallsTest, HandlesNeedNone) {
  const RawValue<int> value(1);
  const Shared<std::optional<RawValue<int>>> place;
  EXPECT_TRUE(NeedsNone([&] {
    const RawValue<int> copy = value;
    std::optional<Lock> lock = lock_;
    lock.reset();
  }));
  // Of one's own, in the domain.
  EXPECT_TRUE(NeedsNone([&] {
    const RawValue<int> mine(1);
    place->emplace(mine);
    const RawValue<int> out = **place;
    place->reset();
  }));
}

TEST_F(NoSystemCallsTest, ObjectsNeedNoneOnceThereIsMemory) {
  EXPECT_TRUE(NeedsNone([] { const RawValue<int> value(1); }));
  EXPECT_TRUE(NeedsNone([] { const Lock lock; }));
  EXPECT_TRUE(NeedsNone([] {
    const Shared<std::vector<int, Allocator<int>>> object;
    object->assign(100, 1);
  }));
}

TEST_F(NoSystemCallsTest, AWaitForWhatIsSoNeedsNone) {
  EXPECT_TRUE(NeedsNone([&] {
    if (internal::Wait(*word_, 1) != internal::WaitResult::kChanged) abort();
  }));
  EXPECT_TRUE(NeedsNone([] {
    if (internal::LaneForNotes() == nullptr) abort();
  }));
}

// The word does not say whether anybody sleeps: the kernel is asked.
TEST_F(NoSystemCallsTest, AWakeNeedsOne) {
  EXPECT_FALSE(NeedsNone([&] { internal::WakeAll(*word_); }));
}

}  // namespace
}  // namespace mp
