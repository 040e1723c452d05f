// Cancellation: what ends, and what that leaves.

#include "mp/cancellation.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mp/fd.h"
#include "mp/internal/cancellation_state.h"
#include "mp/internal/doorbell.h"
#include "mp/joinable_queue.h"
#include "mp/or_die.h"
#include "mp/os_pipe.h"
#include "mp/pipe.h"
#include "mp/popen.h"
#include "mp/process.h"
#include "mp/queue.h"
#include "mp/signals.h"
#include "mp/simple_queue.h"
#include "mp/timer.h"
#include "mp/wait.h"
#include "shared/internal/atomic.h"
#include "shared/internal/handle_access.h"
#include "sync/barrier.h"
#include "sync/condition.h"
#include "sync/event.h"
#include "sync/latch.h"
#include "sync/lock.h"
#include "sync/rlock.h"
#include "sync/rwlock.h"
#include "sync/semaphore.h"
#include "sync/value.h"
#include "tests/support/alarms.h"
#include "tests/support/child.h"
#include "tests/support/listed.h"
#include "tests/support/pause.h"
#include "tests/support/peer.h"
#include "tests/support/settings.h"
#include "tests/support/status_matchers.h"

namespace mp {
namespace {

using absl::StatusCode;
using testing::Alarms;
using testing::Child;
using testing::IsOk;
using testing::PeerNames;
using testing::Peers;
using testing::StatusIs;
using testing::Steps;
using testing::ThreadPeer;

constexpr absl::Duration kForEver = absl::InfiniteDuration();
constexpr absl::Duration kLong = absl::Hours(1);

// What another one waits for in vain, until it is cancelled: all is held, full or empty.
struct Objects {
  Objects() {
    lock.Acquire();
    rlock.Acquire();
    value.Acquire();
    read.AcquireShared();
    written.Acquire();
    OrDie(full.Put(1));
    OrDie(unfinished.Put(1));
    // The rest of what goes into the pipe is the one who sends it.
    while (pipe.first.Send(std::string(10'000, 'x'), absl::ZeroDuration()).ok()) {
    }
  }
  ~Objects() {
    lock.Release();
    rlock.Release();
    value.Release();
    read.ReleaseShared();
    written.Release();
  }

  Cancellation stop;
  Lock lock;
  RLock rlock;
  Value<int> value{0};
  Condition condition;
  Event event;
  Latch latch{1};
  Semaphore semaphore{0};
  BoundedSemaphore bounded{1};
  Barrier barrier{2};
  RWLock read, written;
  Queue<int> queue;
  Queue<int> full{1};
  SimpleQueue<int> simple;
  JoinableQueue<int> joinable, unfinished;
  std::pair<Connection, Connection> pipe = Pipe();
  std::pair<Connection, Connection> empty = Pipe();
};

bool WasCancelled(const absl::Status& status) {
  EXPECT_THAT(status, StatusIs(StatusCode::kCancelled));
  return absl::IsCancelled(status);
}
template <typename T>
bool WasCancelled(const absl::StatusOr<T>& value) {
  return WasCancelled(value.status());
}

bool JoinInVain() {
  Process child(&testing::PauseForEver);
  OrDie(child.Start());
  const bool joined = child.Join(kLong);
  child.Kill();
  child.Join();
  return joined;
}

// Returns nothing, and the child still runs.
bool JoinWithoutTimeoutInVain() {
  Process child(&testing::PauseForEver);
  OrDie(child.Start());
  child.Join();
  const bool joined = !child.IsAlive();
  child.Kill();
  return joined;
}

Popen Sleeping() {
  Popen program({"sleep", "1000"}, {.stdout = Stdio::Pipe()});
  OrDie(program.Start());
  return program;
}

bool WaitForProgramInVain() {
  const Popen program = Sleeping();
  const std::optional<int> code = program.Wait(kForEver);
  program.Kill();
  EXPECT_EQ(program.Wait(), -SIGKILL);  // which says what it was, and so is not ended
  return code.has_value();
}

bool CommunicateInVain() {
  Popen program = Sleeping();
  const absl::StatusOr<PopenOutput> output = program.Communicate();
  program.Kill();
  return !WasCancelled(output);
}

bool WaitOn(const Condition& condition, absl::Duration timeout) {
  condition.Acquire();
  const bool notified = condition.Wait(timeout);
  condition.Release();  // it has the lock again
  return notified;
}

// A wait of the library. `ends`: waits, and tells whether it was ended by the cancellation.
struct Kind {
  const char* name;
  bool polls;  // it sleeps in poll(2), not in a futex
  std::function<bool(const Objects&)> ends;
};

const Kind kKinds[] = {
    {"Lock::Acquire", false, [](const Objects& o) { return !o.lock.Acquire(kForEver); }},
    {"Lock::Acquire, timed", false, [](const Objects& o) { return !o.lock.Acquire(kLong); }},
    {"RLock::Acquire", false, [](const Objects& o) { return !o.rlock.Acquire(kForEver); }},
    {"Value::Acquire", false, [](const Objects& o) { return !o.value.Acquire(kForEver); }},
    {"Condition::Wait", false, [](const Objects& o) { return !WaitOn(o.condition, kForEver); }},
    {"Condition::Wait, timed", false, [](const Objects& o) { return !WaitOn(o.condition, kLong); }},
    {"Condition::WaitFor", false,
     [](const Objects& o) {
       o.condition.Acquire();
       const bool ended = !o.condition.WaitFor([] { return false; }, kForEver);
       o.condition.Release();
       return ended;
     }},
    {"Event::Wait", false, [](const Objects& o) { return !o.event.Wait(kForEver); }},
    {"Latch::Wait", false, [](const Objects& o) { return !o.latch.Wait(kForEver); }},
    {"Semaphore::Acquire", false, [](const Objects& o) { return !o.semaphore.Acquire(kForEver); }},
    {"Semaphore::AcquirePermit", false,
     [](const Objects& o) { return !o.semaphore.AcquirePermit(kForEver).has_value(); }},
    {"BoundedSemaphore::Acquire", false,
     [](const Objects& o) {
       const std::optional<Permit> only = o.bounded.TryAcquirePermit();
       return !o.bounded.Acquire(kForEver);
     }},
    {"Barrier::Wait", false, [](const Objects& o) { return WasCancelled(o.barrier.Wait()); }},
    {"Barrier::Wait, timed", false,
     [](const Objects& o) { return WasCancelled(o.barrier.Wait(kLong)); }},
    {"RWLock::Acquire", false, [](const Objects& o) { return !o.read.Acquire(kForEver); }},
    {"RWLock::Acquire, behind a writer", false,
     [](const Objects& o) { return !o.written.Acquire(kForEver); }},
    {"RWLock::AcquireShared", false,
     [](const Objects& o) { return !o.written.AcquireShared(kForEver); }},
    {"Queue::Get", false, [](const Objects& o) { return WasCancelled(o.queue.Get()); }},
    {"Queue::Get, timed", false, [](const Objects& o) { return WasCancelled(o.queue.Get(kLong)); }},
    {"Queue::GetMany", false, [](const Objects& o) { return WasCancelled(o.queue.GetMany(3)); }},
    {"Queue::GetLoan", false, [](const Objects& o) { return WasCancelled(o.queue.GetLoan()); }},
    {"Queue::Put", false, [](const Objects& o) { return WasCancelled(o.full.Put(2)); }},
    {"Queue::PutMany", false,
     [](const Objects& o) {
       const int values[] = {2};
       return WasCancelled(o.full.PutMany(values));
     }},
    {"SimpleQueue::Get", false, [](const Objects& o) { return WasCancelled(o.simple.Get()); }},
    {"JoinableQueue::Get", false, [](const Objects& o) { return WasCancelled(o.joinable.Get()); }},
    {"JoinableQueue::Lease", false,
     [](const Objects& o) { return WasCancelled(o.joinable.Lease()); }},
    {"JoinableQueue::Join", false,
     [](const Objects& o) { return WasCancelled(o.unfinished.Join()); }},
    {"Connection::Recv", true,
     [](const Objects& o) { return WasCancelled(o.empty.first.Recv<int>()); }},
    {"Connection::Recv, timed", true,
     [](const Objects& o) { return WasCancelled(o.empty.first.Recv<int>(kLong)); }},
    {"Connection::Poll", true,
     [](const Objects& o) { return WasCancelled(o.empty.first.Poll(kForEver)); }},
    {"Connection::Send", true,
     [](const Objects& o) {
       return WasCancelled(o.pipe.first.Send(std::string(10'000, 'x'), kForEver));
     }},
    {"Wait", true,
     [](const Objects& o) {
       return WasCancelled(Wait({o.empty.first, o.queue, o.simple}));
     }},
    {"Wait, timed", true, [](const Objects& o) { return WasCancelled(Wait({o.queue}, kLong)); }},
    {"Wait, beside a leased value", true,
     [](const Objects& o) {
       const absl::StatusOr<Leased<int>> leased = o.unfinished.Lease();
       return WasCancelled(Wait({o.unfinished}));
     }},
    {"Process::Join", true, [](const Objects&) { return !JoinInVain(); }},
    {"Process::Join without a timeout", true,
     [](const Objects&) { return !JoinWithoutTimeoutInVain(); }},
    {"Popen::Wait", true, [](const Objects&) { return !WaitForProgramInVain(); }},
    {"Popen::Communicate", true, [](const Objects&) { return !CommunicateInVain(); }},
    {"Timer::Wait", true, [](const Objects&) { return WasCancelled(Timer().Wait()); }},
    {"SignalHandlers::Run", true,
     [](const Objects&) { return WasCancelled(SignalHandlers().Run()); }},
};

template <typename P>
class CancellationTest : public ::testing::Test {
 protected:
  // Lets it go, and sleep where that can be seen.
  static void LetSleep(P& peer, bool polls) {
    peer.Go();
    if (std::is_same_v<P, ThreadPeer> && polls) return;
    EXPECT_TRUE(peer.WaitUntilAsleep());
  }
};
TYPED_TEST_SUITE(CancellationTest, Peers, PeerNames);

TYPED_TEST(CancellationTest, EachWaitIsEnded) {
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    const Objects objects;
    TypeParam peer([&](auto& step) {
      const CancellationScope scope(objects.stop);
      step("before");
      EXPECT_TRUE(kind.ends(objects)) << kind.name;
    });
    ASSERT_TRUE(peer.RunTo("before"));
    this->LetSleep(peer, kind.polls);
    objects.stop.Cancel();
    EXPECT_EQ(peer.Finish(), 0);
  }
}

TYPED_TEST(CancellationTest, EachWaitIsOverWhenItIsCancelledBefore) {
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    const Objects objects;
    objects.stop.Cancel();
    TypeParam peer([&] {
      const CancellationScope scope(objects.stop);
      EXPECT_TRUE(kind.ends(objects)) << kind.name;
    });
    EXPECT_EQ(peer.Finish(), 0);
  }
}

TYPED_TEST(CancellationTest, WhatReturnsNothingGoesOn) {
  using Step = std::function<void(const Objects&)>;
  struct Void {
    const char* name;
    Step wait;
    Step end;         // what it waits for comes
    Step after = {};  // as it was, for the end of the objects
  };
  const Void kinds[] = {
      {"Event", [](const Objects& o) { o.event.Wait(); }, [](const Objects& o) { o.event.Set(); }},
      {"Latch", [](const Objects& o) { o.latch.Wait(); },
       [](const Objects& o) { o.latch.CountDown(); }},
      {"Semaphore", [](const Objects& o) { o.semaphore.Acquire(); },
       [](const Objects& o) { o.semaphore.Release(); }},
      {"Permit", [](const Objects& o) { o.semaphore.AcquirePermit().Release(); },
       [](const Objects& o) { o.semaphore.Release(); }},
      {"Condition",
       [](const Objects& o) {
         o.condition.Acquire();
         o.condition.Wait();
         o.condition.Release();
       },
       [](const Objects& o) {
         o.condition.Acquire();
         o.condition.NotifyAll();
         o.condition.Release();
       }},
      {"Lock",
       [](const Objects& o) {
         o.lock.Acquire();
         o.lock.Release();
       },
       [](const Objects& o) ABSL_NO_THREAD_SAFETY_ANALYSIS { o.lock.Release(); },
       [](const Objects& o) ABSL_NO_THREAD_SAFETY_ANALYSIS { o.lock.Acquire(); }},
      {"RWLock, to write",
       [](const Objects& o) {
         o.read.Acquire();
         o.read.Release();
       },
       [](const Objects& o) ABSL_NO_THREAD_SAFETY_ANALYSIS { o.read.ReleaseShared(); },
       [](const Objects& o) ABSL_NO_THREAD_SAFETY_ANALYSIS { o.read.AcquireShared(); }},
      {"RWLock, to read",
       [](const Objects& o) {
         o.written.AcquireShared();
         o.written.ReleaseShared();
       },
       [](const Objects& o) ABSL_NO_THREAD_SAFETY_ANALYSIS { o.written.Release(); },
       [](const Objects& o) ABSL_NO_THREAD_SAFETY_ANALYSIS { o.written.Acquire(); }},
  };
  for (const Void& kind : kinds) {
    SCOPED_TRACE(kind.name);
    const Objects objects;
    objects.stop.Cancel();
    TypeParam peer([&](auto& step) {
      const CancellationScope scope(objects.stop);
      step("before");
      kind.wait(objects);
    });
    ASSERT_TRUE(peer.RunTo("before"));
    this->LetSleep(peer, false);
    kind.end(objects);
    EXPECT_EQ(peer.Finish(), 0);
    if (kind.after != nullptr) kind.after(objects);
  }
}

TYPED_TEST(CancellationTest, WhatNeedNotWaitIsDone) {
  const Objects objects;
  objects.stop.Cancel();
  ASSERT_THAT(objects.queue.Put(7), IsOk());
  ASSERT_THAT(objects.empty.second.Send(8), IsOk());
  TypeParam peer([&] {
    const CancellationScope scope(objects.stop);
    EXPECT_THAT(Wait({objects.queue, objects.empty.first}), IsOk());
    EXPECT_EQ(OrDie(objects.queue.Get()), 7);
    EXPECT_EQ(OrDie(objects.empty.first.Recv<int>()), 8);
    EXPECT_THAT(objects.queue.TryGet(), StatusIs(StatusCode::kCancelled));
    const Lock lock;
    const bool acquired = lock.Acquire(kForEver);
    EXPECT_TRUE(acquired);
    if (acquired) lock.Release();
  });
  EXPECT_EQ(peer.Finish(), 0);
}

// What is half read would be worse.
TEST(CancellationTest, ReadsOfDescriptorsGoOn) {
  auto [reading, writing] = OrDie(OsPipe());
  ASSERT_EQ(fcntl(reading.get(), F_SETFL, O_NONBLOCK), 0);
  const Cancellation stop;
  stop.Cancel();
  const CancellationScope scope(stop);
  Process writer([&, &out = writing] {
    absl::SleepFor(absl::Milliseconds(20));
    OrDie(out.WriteAll("word"));
  });
  OrDie(writer.Start());
  writing.Close();
  EXPECT_EQ(OrDie(reading.ReadAll()), "word");
}

// What ends in a scope that is cancelled joins its children nevertheless.
TEST(CancellationTest, TheEndOfAProcessGoesOn) {
  const Cancellation stop;
  stop.Cancel();
  const Queue<int> queue;
  Process parent([&] {
    const CancellationScope scope(stop);
    Process child([&] {
      absl::SleepFor(absl::Milliseconds(50));
      OrDie(queue.Put(7));
    });
    OrDie(child.Start());
    std::exit(0);
  });
  OrDie(parent.Start());
  parent.Join();
  EXPECT_EQ(OrDie(queue.TryGet()), 7);
}

TYPED_TEST(CancellationTest, AllScopesCount) {
  const Cancellation outer, inner;
  const Event event;
  TypeParam peer([&](auto& step) {
    const CancellationScope outer_scope(outer);
    {
      const CancellationScope inner_scope(inner);
      const CancellationScope again(outer);
      step("in both");
      EXPECT_FALSE(event.Wait(kForEver));
      EXPECT_TRUE(inner.cancelled());
    }
    step("in one");
    EXPECT_FALSE(event.Wait(kForEver));
    EXPECT_TRUE(outer.cancelled());
  });
  ASSERT_TRUE(peer.RunTo("in both"));
  this->LetSleep(peer, false);
  inner.Cancel();
  ASSERT_TRUE(peer.RunTo("in one"));
  this->LetSleep(peer, false);
  outer.Cancel();
  EXPECT_EQ(peer.Finish(), 0);
}

TEST(CancellationTest, AScopeEnds) {
  const Cancellation stop;
  stop.Cancel();
  const Queue<int> queue;
  {
    const CancellationScope scope(stop);
    EXPECT_THAT(queue.TryGet(), StatusIs(StatusCode::kCancelled));
  }
  EXPECT_THAT(queue.TryGet(), StatusIs(StatusCode::kDeadlineExceeded));
}

TEST(CancellationTest, IsForTheThreadsInAScope) {
  const Cancellation stop;
  stop.Cancel();
  const CancellationScope scope(stop);
  const Event event;
  std::thread other([&] { EXPECT_TRUE(event.Wait(kForEver)); });
  EXPECT_FALSE(event.Wait(kForEver));
  event.Set();
  other.join();
}

TEST(CancellationTest, AChildIsInNoScopeOfItsParent) {
  const Cancellation stop;
  const CancellationScope scope(stop);
  const Event event;
  const auto [mine, its] = Pipe();
  EXPECT_THAT(mine.Poll(absl::Milliseconds(1)), IsOk());  // it has a bell
  Child child([&, its = its](Steps& step) {
    step("before");
    EXPECT_TRUE(event.Wait(kForEver));
    EXPECT_THAT(its.Recv<int>(), IsOk());
    const CancellationScope own(stop);
    EXPECT_FALSE(Event().Wait(kForEver));
    return ::testing::Test::HasFailure() ? 1 : 0;
  });
  stop.Cancel();
  ASSERT_TRUE(child.RunTo("before"));
  child.Go();
  EXPECT_TRUE(child.WaitUntilAsleep());
  event.Set();
  EXPECT_THAT(mine.Send(1), IsOk());
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_FALSE(Event().Wait(kForEver));
}

TEST(CancellationTest, CanBeSentAndIsListed) {
  const Cancellation stop({.name = "stop"});
  ASSERT_TRUE(testing::Listed("stop").has_value());
  EXPECT_EQ(testing::Listed("stop")->type, "Cancellation");
  const Queue<Cancellation> queue;
  Child child([&] { OrDie(queue.Get()).Cancel(); });
  EXPECT_FALSE(stop.cancelled());
  ASSERT_THAT(queue.Put(stop), IsOk());
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_TRUE(stop.cancelled());
}

// Of signals --------------------------------------------------------------------------------------

const Cancellation* for_handler = nullptr;

TEST(CancellationTest, ASignalHandlerMayCancel) {
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    const Objects objects;
    Child child([&](Steps& step) {
      for_handler = &objects.stop;
      const Alarms alarms(
          Alarms::kNever, [](int) { for_handler->Cancel(); }, SA_RESTART);
      const CancellationScope scope(objects.stop);
      step("before");
      EXPECT_TRUE(kind.ends(objects)) << kind.name;
      return ::testing::Test::HasFailure() ? 1 : 0;
    });
    ASSERT_TRUE(child.RunTo("before"));
    child.Go();
    ASSERT_TRUE(child.WaitUntilAsleep());
    ASSERT_EQ(kill(child.pid(), SIGALRM), 0);
    EXPECT_EQ(child.Finish(), 0);
  }
}

TEST(CancellationTest, ASignalAloneEndsNothing) {
  const Cancellation stop;
  const CancellationScope scope(stop);
  const Alarms alarms;
  EXPECT_FALSE(Event().Wait(absl::Milliseconds(20)));
  const auto [one, other] = Pipe();
  EXPECT_THAT(one.Recv<int>(absl::Milliseconds(20)), StatusIs(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(Wait({other}, absl::Milliseconds(20)), StatusIs(StatusCode::kDeadlineExceeded));
}

// Of descriptors ----------------------------------------------------------------------------------

size_t OpenDescriptors() {
  size_t count = 0;
  for (int fd = 0; fd < 1000; ++fd) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

TEST(CancellationTest, MorePollThanCanBeCalled) {
  constexpr int kMany = 40;
  const Cancellation stop;
  const auto [one, other] = Pipe();
  EXPECT_FALSE(OrDie(one.Poll(absl::ZeroDuration())));
  const size_t before = OpenDescriptors();
  std::vector<std::thread> threads;
  for (int i = 0; i < kMany; ++i) {
    threads.emplace_back([&, one = one] {
      const CancellationScope scope(stop);
      EXPECT_THAT(one.Poll(kForEver), StatusIs(StatusCode::kCancelled));
    });
  }
  stop.Cancel();
  for (std::thread& thread : threads) thread.join();
  // The process's own bell for ends.
  EXPECT_LE(OpenDescriptors(), before + 1);
}

TEST(CancellationTest, TheBellsOfTheDeadAreForOthers) {
  constexpr size_t kMost = internal::CancellationState::kBells;
  const Cancellation stop;
  for (size_t i = 0; i <= kMost; ++i) {
    Child child([&] {
      const CancellationScope scope(stop);
      const Timer timer;
      OrDie(timer.Start(absl::Milliseconds(1)));
      EXPECT_THAT(timer.Wait(), IsOk());  // without a deadline: it may be called
      raise(SIGKILL);
    });
    EXPECT_EQ(child.Finish(), -SIGKILL);
  }
  const internal::Doorbell bell = *internal::Doorbell::Make();
  internal::CancellationState& state = *internal::HandleAccess::StateOf(stop);
  size_t taken = 0;
  for (const internal::Word& number : state.bells) taken += number.load() != 0;
  EXPECT_EQ(taken, kMost);
  EXPECT_TRUE(state.AddBell(bell.number()));
  state.RemoveBell(bell.number());
}

// Races -------------------------------------------------------------------------------------------

class CancellationRaceTest : public ::testing::Test {
 protected:
  // `wait` in a scope of `stop_` in another thread, while this one cancels and does `wake`, now
  // that first, now this.
  template <typename Wait, typename Wake>
  void Race(const Wait& wait, const Wake& wake) {
    const Cancellation stop;
    std::atomic<int> ready{0};
    std::thread waiter([&] {
      const CancellationScope scope(stop);
      ++ready;
      AwaitAll(ready);
      wait();
    });
    std::thread canceller([&] {
      ++ready;
      AwaitAll(ready);
      Dawdle(round_ % 7);
      stop.Cancel();
    });
    ++ready;
    AwaitAll(ready);
    Dawdle(round_ / 7 % 7);
    wake();
    waiter.join();
    canceller.join();
    ++round_;
  }
  static void AwaitAll(const std::atomic<int>& ready) {
    while (ready.load() < 3) std::this_thread::yield();
  }
  // From before the wait to within its sleep.
  static void Dawdle(int how_long) {
    for (int i = 0; i < 1 << how_long * 2; ++i) asm volatile("");
    if (how_long == 6) std::this_thread::yield();
  }
  static int Rounds() { return testing::Stress() ? 20'000 : 150; }

  int round_ = 0;
};

TEST_F(CancellationRaceTest, NoPermitIsLost) {
  const Semaphore semaphore(0);
  for (int i = 0; i < Rounds(); ++i) {
    bool acquired = false;
    Race([&] { acquired = semaphore.Acquire(kForEver); }, [&] { semaphore.Release(); });
    ASSERT_EQ(semaphore.GetValue(), acquired ? 0 : 1);
    if (!acquired) semaphore.Acquire();
  }
}

TEST_F(CancellationRaceTest, NoMessageIsLost) {
  const Queue<int> queue;
  const auto [mine, its] = Pipe();
  for (int i = 0; i < Rounds(); ++i) {
    absl::StatusOr<int> got;
    Race([&] { got = queue.Get(); }, [&] { OrDie(queue.Put(i)); });
    if (!got.ok()) got = queue.TryGet();
    ASSERT_THAT(got, IsOk());
    ASSERT_EQ(*got, i);
    Race([&, its = its] { got = its.Recv<int>(); }, [&, mine = mine] { OrDie(mine.Send(i)); });
    if (!got.ok()) got = its.Recv<int>(absl::ZeroDuration());
    ASSERT_THAT(got, IsOk());
    ASSERT_EQ(*got, i);
  }
}

TEST_F(CancellationRaceTest, ANotifyIsForSomebody) {
  const Condition condition;
  for (int i = 0; i < Rounds(); ++i) {
    // One that is not cancelled waits beside it: where the other one was not notified, this is.
    std::atomic<bool> waits{false};
    bool other_notified = false;
    std::thread beside([&] {
      condition.Acquire();
      waits = true;
      condition.Wait();
      condition.Release();
    });
    while (!waits) std::this_thread::yield();
    Race(
        [&] {
          condition.Acquire();
          other_notified = condition.Wait(kForEver);
          condition.Release();
        },
        [&] {
          condition.Acquire();
          condition.Notify();
          condition.Release();
        });
    if (other_notified) {
      condition.Acquire();
      condition.Notify();
      condition.Release();
    }
    beside.join();  // hangs where one is lost
  }
}

TEST_F(CancellationRaceTest, ALockIsForTheNextOne) {
  const Lock lock;
  auto acquire = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { lock.Acquire(); };
  auto release = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { lock.Release(); };
  for (int i = 0; i < Rounds(); ++i) {
    acquire();
    std::thread behind([&] {
      lock.Acquire();
      lock.Release();
    });
    Race(
        [&] {
          if (lock.Acquire(kForEver)) lock.Release();
        },
        release);
    behind.join();
    ASSERT_FALSE(lock.Locked());
  }
}

TEST_F(CancellationRaceTest, AWriterThatLeavesLetsReadersCome) {
  const RWLock rwlock;
  auto read = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { rwlock.AcquireShared(); };
  auto stop_reading = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { rwlock.ReleaseShared(); };
  for (int i = 0; i < Rounds(); ++i) {
    read();
    Race(
        [&] {
          if (rwlock.Acquire(kForEver)) rwlock.Release();
        },
        stop_reading);
    read();
    stop_reading();
  }
}

}  // namespace
}  // namespace mp
