// The cases of CPython's own tests of Condition, Event and Barrier that take several parties at
// once, by their names. Those of the other primitives, and those of one or two parties, are in the
// test of each, under a comment with the name.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/raw_array.h"
#include "sync/barrier.h"
#include "sync/condition.h"
#include "sync/event.h"
#include "sync/lock_guard.h"
#include "sync/semaphore.h"
#include "sync/value.h"
#include "tests/support/child.h"
#include "tests/support/inherited.h"
#include "tests/support/peer.h"

namespace mp {
namespace {

using testing::Child;
using testing::Inherited;
using testing::PeerNames;
using testing::Peers;
using testing::ThreadPeer;

using Clock = std::chrono::steady_clock;

// _TestCondition: three processes and three threads wait side by side.
class PythonConditionTest : public ::testing::Test {
 protected:
  ~PythonConditionTest() override {
    // Its check_invariant: nothing is left of those who have waited.
    const LockGuard guard(condition_);
    EXPECT_FALSE(condition_.Wait(absl::Milliseconds(1)));
  }

  // All are asleep in Wait() when it returns.
  void StartWaiters(int of_each) {
    // One after the other: who stands before its Wait() has the lock. Processes first: a fork
    // beside threads is not what is to be seen here.
    for (int i = 0; i < of_each; ++i) {
      processes_.push_back(std::make_unique<Child>([this](auto& step) { WaitOnce(step); }));
      SendToSleep(*processes_.back());
    }
    for (int i = 0; i < of_each; ++i) {
      threads_.push_back(std::make_unique<ThreadPeer>([this](auto& step) { WaitOnce(step); }));
      SendToSleep(*threads_.back());
    }
  }
  void FinishWaiters() {
    for (auto& process : processes_) EXPECT_EQ(process->Finish(), 0);
    for (auto& thread : threads_) thread->Finish();
    processes_.clear();
    threads_.clear();
  }
  void Notify(int count) {
    const LockGuard guard(condition_);
    condition_.Notify(count);
  }
  void AwaitWoken(int count) {
    while (woken_->load() < count) std::this_thread::yield();
  }
  // That nobody else is woken shows after as long as a sleeper takes to look up by itself.
  void ExpectWoken(int count) {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    EXPECT_EQ(woken_->load(), count);
  }

  const Condition condition_;
  const Inherited<std::atomic<int>> woken_{0};

 private:
  template <typename Step>
  void WaitOnce(Step& step) {
    const LockGuard guard(condition_);
    step("before");
    condition_.Wait();
    woken_->fetch_add(1);
  }
  template <typename Peer>
  static void SendToSleep(Peer& peer) {
    ASSERT_TRUE(peer.RunTo("before"));
    peer.Go();
    ASSERT_TRUE(peer.WaitUntilAsleep());
  }

  std::vector<std::unique_ptr<Child>> processes_;
  std::vector<std::unique_ptr<ThreadPeer>> threads_;
};

// test_notify
TEST_F(PythonConditionTest, Notify) {
  StartWaiters(1);
  ExpectWoken(0);
  Notify(1);
  AwaitWoken(1);
  ExpectWoken(1);
  Notify(1);
  AwaitWoken(2);
  FinishWaiters();
}

// test_notify_all
TEST_F(PythonConditionTest, NotifyAll) {
  // At first they all time out.
  {
    const auto times_out = [this] {
      const LockGuard guard(condition_);
      EXPECT_FALSE(condition_.Wait(absl::Milliseconds(30)));
    };
    std::vector<std::unique_ptr<Child>> processes;
    std::vector<std::unique_ptr<ThreadPeer>> threads;
    for (int i = 0; i < 3; ++i) processes.push_back(std::make_unique<Child>(times_out));
    for (int i = 0; i < 3; ++i) threads.push_back(std::make_unique<ThreadPeer>(times_out));
    for (auto& process : processes) EXPECT_EQ(process->Finish(), 0);
  }
  StartWaiters(3);
  ExpectWoken(0);
  {
    const LockGuard guard(condition_);
    condition_.NotifyAll();
  }
  AwaitWoken(6);
  FinishWaiters();
}

// test_notify_n
TEST_F(PythonConditionTest, NotifyN) {
  StartWaiters(3);
  ExpectWoken(0);
  Notify(2);
  AwaitWoken(2);
  ExpectWoken(2);
  Notify(4);
  AwaitWoken(6);
  Notify(3);  // for nobody
  ExpectWoken(6);
  FinishWaiters();
}

template <typename P>
class PythonWaitForTest : public ::testing::Test {};
TYPED_TEST_SUITE(PythonWaitForTest, Peers, PeerNames);

// test_waitfor
TYPED_TEST(PythonWaitForTest, WaitFor) {
  const Condition condition;
  const Value<int> state(-1);
  TypeParam peer([&] {
    const LockGuard guard(condition);
    state.Set(0);
    condition.Notify();
    EXPECT_TRUE(condition.WaitFor([&] { return state.Get() == 4; }, absl::InfiniteDuration()));
  });
  {
    const LockGuard guard(condition);
    condition.WaitFor([&] { return state.Get() == 0; });
    EXPECT_EQ(state.Get(), 0);
  }
  for (int i = 0; i < 4; ++i) {
    const LockGuard guard(condition);
    state.Update([](int& n) { ++n; });
    condition.Notify();
  }
  EXPECT_EQ(peer.Finish(), 0);
}

// test_waitfor_timeout
TYPED_TEST(PythonWaitForTest, WaitForTimeout) {
  constexpr auto kTimeout = std::chrono::milliseconds(100);
  const Condition condition;
  const Value<int> state(0);
  const Semaphore ready(0);
  TypeParam peer([&] {
    const LockGuard guard(condition);
    ready.Release();
    const Clock::time_point begin = Clock::now();
    EXPECT_FALSE(condition.WaitFor([&] { return state.Get() == 4; }, absl::FromChrono(kTimeout)));
    EXPECT_GE(Clock::now() - begin, kTimeout);
  });
  ready.Acquire();
  // Each time it is woken in vain, and waits on to the same end.
  for (int i = 0; i < 3; ++i) {
    const LockGuard guard(condition);
    state.Update([](int& n) { ++n; });
    condition.Notify();
  }
  EXPECT_EQ(peer.Finish(), 0);
}

template <typename P>
class PythonEventTest : public ::testing::Test {};
TYPED_TEST_SUITE(PythonEventTest, Peers, PeerNames);

// test_event
TYPED_TEST(PythonEventTest, Event) {
  const Event event;
  EXPECT_FALSE(event.IsSet());
  EXPECT_FALSE(event.Wait(absl::ZeroDuration()));
  EXPECT_FALSE(event.Wait(absl::Milliseconds(10)));
  event.Set();
  EXPECT_TRUE(event.IsSet());
  EXPECT_TRUE(event.Wait(absl::InfiniteDuration()));
  EXPECT_TRUE(event.Wait(absl::ZeroDuration()));
  EXPECT_TRUE(event.Wait(absl::Milliseconds(10)));
  EXPECT_TRUE(event.IsSet());
  event.Clear();
  TypeParam peer([event] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    event.Set();
  });
  EXPECT_TRUE(event.Wait(absl::InfiniteDuration()));
  EXPECT_EQ(peer.Finish(), 0);
}

// _TestBarrier: all five do the same, the test among them.
template <typename P>
class PythonBarrierTest : public ::testing::Test {
 protected:
  static constexpr int kParties = 5;

  void RunAll(const std::function<void()>& work) {
    std::vector<std::unique_ptr<P>> peers;
    for (int i = 1; i < kParties; ++i) peers.push_back(std::make_unique<P>(work));
    work();
    for (auto& peer : peers) EXPECT_EQ(peer->Finish(), 0);
  }
  // Its multipass: nobody is ever a round ahead of the others.
  void Multipass(int passes) {
    for (int pass = 0; pass < passes; ++pass) {
      EXPECT_EQ(come_[0].load(), kParties * pass);
      come_[1].fetch_add(1);
      ASSERT_TRUE(barrier_.Wait().ok());
      EXPECT_EQ(come_[1].load(), kParties * (pass + 1));
      come_[0].fetch_add(1);
      ASSERT_TRUE(barrier_.Wait().ok());
      EXPECT_EQ(come_[0].load(), kParties * (pass + 1));
    }
    EXPECT_EQ(barrier_.NWaiting(), 0);
    EXPECT_FALSE(barrier_.Broken());
  }
  // Waits, and one of those who do so breaks it by `break_it` instead, when the others have come.
  // Whoever it is says true.
  bool WaitOrBreak(const std::function<void()>& break_it) {
    if (chosen_->fetch_add(1) == kParties / 2) {
      while (barrier_.NWaiting() < kParties - 1) std::this_thread::yield();
      break_it();
      return true;
    }
    EXPECT_EQ(barrier_.Wait().status().code(), absl::StatusCode::kAborted);
    broken_->fetch_add(1);
    return false;
  }

  const Barrier barrier_{kParties};
  const Inherited<std::array<std::atomic<int>, 2>> come_memory_;
  std::array<std::atomic<int>, 2>& come_ = *come_memory_;
  const Inherited<std::atomic<int>> chosen_{0};
  const Inherited<std::atomic<int>> broken_{0};
  const Inherited<std::atomic<int>> passed_{0};
};
TYPED_TEST_SUITE(PythonBarrierTest, Peers, PeerNames);

// test_barrier
TYPED_TEST(PythonBarrierTest, Barrier) {
  this->RunAll([this] { this->Multipass(1); });
}

// test_barrier_10
TYPED_TEST(PythonBarrierTest, Barrier10) {
  this->RunAll([this] { this->Multipass(10); });
}

// test_wait_return: the numbers of a round are all there, each once.
TYPED_TEST(PythonBarrierTest, WaitReturn) {
  const Inherited<std::atomic<int>> indices(0);
  this->RunAll([&] {
    const absl::StatusOr<int> index = this->barrier_.Wait();
    ASSERT_TRUE(index.ok());
    indices->fetch_or(1 << *index);
    this->passed_->fetch_add(1);
  });
  EXPECT_EQ(this->passed_->load(), this->kParties);
  EXPECT_EQ(indices->load(), (1 << this->kParties) - 1);
}

// test_action
TYPED_TEST(PythonBarrierTest, Action) {
  const Inherited<std::atomic<int>> acted(0);
  const mp::Barrier barrier(this->kParties, {.action = [&acted] { acted->fetch_add(1); }});
  this->RunAll([&] {
    EXPECT_TRUE(barrier.Wait().ok());
    EXPECT_EQ(acted->load(), 1);
  });
}

// test_abort
TYPED_TEST(PythonBarrierTest, Abort) {
  this->RunAll([this] { this->WaitOrBreak([this] { this->barrier_.Abort(); }); });
  EXPECT_EQ(this->broken_->load(), this->kParties - 1);
  EXPECT_TRUE(this->barrier_.Broken());
}

// test_reset: after it all five pass. Who is told of it, and is back before it is done, is told
// again.
TYPED_TEST(PythonBarrierTest, Reset) {
  this->RunAll([this] {
    this->WaitOrBreak([this] { this->barrier_.Reset(); });
    absl::Status passed;
    do {
      passed = this->barrier_.Wait().status();
    } while (absl::IsAborted(passed));
    EXPECT_TRUE(passed.ok()) << passed;
    this->passed_->fetch_add(1);
  });
  EXPECT_EQ(this->broken_->load(), this->kParties - 1);
  EXPECT_EQ(this->passed_->load(), this->kParties);
}

// test_abort_and_reset: the last to come to a second barrier makes the first one new.
TYPED_TEST(PythonBarrierTest, AbortAndReset) {
  const mp::Barrier second(this->kParties);
  this->RunAll([this, second] {
    this->WaitOrBreak([this] { this->barrier_.Abort(); });
    const absl::StatusOr<int> index = second.Wait();
    ASSERT_TRUE(index.ok());
    if (*index == this->kParties / 2) this->barrier_.Reset();
    ASSERT_TRUE(second.Wait().ok());
    EXPECT_TRUE(this->barrier_.Wait().ok());
    this->passed_->fetch_add(1);
  });
  EXPECT_EQ(this->broken_->load(), this->kParties - 1);
  EXPECT_EQ(this->passed_->load(), this->kParties);
}

// test_timeout: one is late, and all are told.
TYPED_TEST(PythonBarrierTest, Timeout) {
  this->RunAll([this] {
    if (this->chosen_->fetch_add(1) == this->kParties / 2) {
      while (!this->barrier_.Broken()) std::this_thread::yield();
    }
    EXPECT_FALSE(this->barrier_.Wait(absl::Milliseconds(20)).ok());
  });
  EXPECT_TRUE(this->barrier_.Broken());
}

// test_default_timeout
TYPED_TEST(PythonBarrierTest, DefaultTimeout) {
  const mp::Barrier barrier(this->kParties, {.timeout = absl::Milliseconds(20)});
  this->RunAll([this, barrier] {
    if (this->chosen_->fetch_add(1) == this->kParties / 2) {
      while (!barrier.Broken()) std::this_thread::yield();
    }
    EXPECT_FALSE(barrier.Wait().ok());
  });
  EXPECT_TRUE(barrier.Broken());
}

// test_single_thread
TYPED_TEST(PythonBarrierTest, SingleThread) {
  const mp::Barrier barrier(1);
  EXPECT_TRUE(barrier.Wait().ok());
  EXPECT_TRUE(barrier.Wait().ok());
}

// test_thousand: what each says of each pass comes in the order of the passes.
TYPED_TEST(PythonBarrierTest, Thousand) {
  constexpr int kPasses = 1000;
  const RawArray<int> said(size_t{kPasses} * this->kParties);
  const Inherited<std::atomic<size_t>> next(0);
  this->RunAll([&, this] {
    for (int pass = 0; pass < kPasses; ++pass) {
      ASSERT_TRUE(this->barrier_.Wait().ok());
      said[next->fetch_add(1)] = pass;
      ASSERT_TRUE(this->barrier_.Wait().ok());
    }
  });
  for (size_t i = 0; i < said.size(); ++i) ASSERT_EQ(said[i], static_cast<int>(i) / this->kParties);
}

}  // namespace
}  // namespace mp
