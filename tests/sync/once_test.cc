// What a Once promises to threads and processes, those that run it and die included.

#include "sync/once.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/object_info.h"
#include "shared/shared.h"
#include "tests/support/alarms.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/listed.h"
#include "tests/support/peer.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::Alarms;
using testing::Child;
using testing::kSanitized;
using testing::Listed;
using testing::PeerNames;
using testing::Peers;
using testing::SleepsOnAfterAlarms;

// Small, so that a test can use it up.
const absl::Status configured = ConfigureDomain({.commit_limit = size_t{48} << 20});

void Nothing() {}

// What one thread alone sees.

TEST(OnceTest, HandsItsArgumentsOn) {
  const Once once;
  int sum = 0;
  EXPECT_TRUE(
      once.Call([count = 1](int& to, std::unique_ptr<int> what) mutable { to += *what + count++; },
                sum, std::make_unique<int>(2)));
  EXPECT_EQ(sum, 3);
  EXPECT_FALSE(once.Call([](int& to) { to = 0; }, sum));
  EXPECT_EQ(sum, 3);
}

TEST(OnceTest, IsRunOnce) {
  const Once once;
  EXPECT_FALSE(once.Done());
  int runs = 0;
  EXPECT_TRUE(once.Call([&] {
    ++runs;
    EXPECT_FALSE(once.Done());
    EXPECT_FALSE(once.owner_died());
  }));
  EXPECT_TRUE(once.Done());
  EXPECT_FALSE(once.Call([&] { ++runs; }));
  const Once copy = once;
  EXPECT_FALSE(copy.Call([&] { ++runs; }));
  EXPECT_EQ(runs, 1);
}

TEST(OnceTest, WhatIsThrownGoesThroughAndTheNextOneRunsIt) {
  const Once once;
  for (int i = 0; i < 2; ++i) {
    EXPECT_THROW(once.Call([] { throw std::runtime_error("not now"); }), std::runtime_error);
    EXPECT_FALSE(once.Done());
  }
  EXPECT_TRUE(once.Call([&] { EXPECT_FALSE(once.owner_died()); }));
  EXPECT_TRUE(once.Done());
}

TEST(OnceTest, OneMayBeCalledWithinAnother) {
  const Once outer;
  const Once inner;
  EXPECT_TRUE(outer.Call([&] { EXPECT_TRUE(inner.Call(Nothing)); }));
  EXPECT_TRUE(outer.Done() && inner.Done());
}

TEST(OnceTest, IsListedWithItsNameAndWhoRunsIt) {
  const absl::StatusOr<Once> once = Once::Create({.name = "fill"});
  ASSERT_TRUE(once.ok());
  ASSERT_NE(Listed("fill"), std::nullopt);
  EXPECT_EQ(Listed("fill")->type, "Once");
  EXPECT_EQ(Listed("fill")->acquired_by, 0);
  once->Call([] { EXPECT_EQ(Listed("fill")->acquired_by, gettid()); });
  EXPECT_EQ(Listed("fill")->acquired_by, 0);
}

TEST(OnceTest, TakesNoMoreThanItSays) {
  const uint64_t before = Stats().in_use;
  const Once once;
  EXPECT_LE(Stats().in_use - before, 120u);
}

TEST(OnceTest, CreateTellsThatThereIsNoMemory) {
  Child child([] {
    Domain& domain = **Domain::Get();
    for (const size_t size : {size_t{1} << 20, size_t{4096}}) {
      while (domain.Allocate(size).ok()) {
      }
    }
    std::vector<Once> all;
    absl::StatusOr<Once> once = Once::Create();
    for (; once.ok(); once = Once::Create()) all.push_back(*once);
    EXPECT_EQ(once.status().code(), absl::StatusCode::kResourceExhausted) << once.status();
    EXPECT_DEATH(Once({.name = "full"}), "^mp: Once \"full\": cannot be made \\([0-9]+ bytes\\): ");
    for (const Once& each : all) EXPECT_TRUE(each.Call(Nothing));
  });
  EXPECT_EQ(child.Finish(), 0);
}

TEST(OnceDeathTest, ToCallItWithinItsCallEndsTheProcess) {
  const Once once({.name = "fill"});
  EXPECT_DEATH(once.Call([&] { once.Call(Nothing); }),
               "^mp: Once \"fill\": called within its call by pid [0-9]+ \\(thread [0-9]+\\), but "
               "it is the holder already; call what it runs from there\n");
  // That was a death.
  EXPECT_TRUE(once.Call([&] { EXPECT_TRUE(once.owner_died()); }));
}

// Threads, or processes.
template <typename P>
class OncePeersTest : public ::testing::Test {
 protected:
  std::unique_ptr<P> Runner(const std::function<void()>& end) {
    auto peer = std::make_unique<P>([this, end](auto& step) {
      try {
        EXPECT_TRUE(once_.Call([&] {
          step("runs it");
          end();
        }));
      } catch (const std::runtime_error&) {
      }
    });
    EXPECT_TRUE(peer->RunTo("runs it"));
    return peer;
  }
  static std::unique_ptr<P> Sleeper(const std::function<void()>& wait) {
    auto peer = std::make_unique<P>([wait](auto& step) {
      step("before");
      wait();
    });
    EXPECT_TRUE(peer->RunTo("before"));
    peer->Go();
    EXPECT_TRUE(peer->WaitUntilAsleep());
    return peer;
  }

  const Once once_;
};
TYPED_TEST_SUITE(OncePeersTest, Peers, PeerNames);

TYPED_TEST(OncePeersTest, TheOthersSleepUntilItHasBeenRun) {
  const Shared<int> table(0);
  auto runner = this->Runner([&] { *table = 7; });
  EXPECT_FALSE(this->once_.Done());
  std::vector<std::unique_ptr<TypeParam>> sleepers;
  for (int i = 0; i < 5; ++i) {
    sleepers.push_back(this->Sleeper([&] {
      EXPECT_FALSE(this->once_.Call([] { ADD_FAILURE() << "run again"; }));
      EXPECT_EQ(*table, 7);
    }));
  }
  EXPECT_EQ(runner->Finish(), 0);
  for (auto& sleeper : sleepers) EXPECT_EQ(sleeper->Finish(), 0);
}

// One after the other, each of which may find that the one before it has failed.
TYPED_TEST(OncePeersTest, WhereItThrowsTheNextOneThatSleepsRunsIt) {
  constexpr int kFailures = 4;
  const Shared<std::atomic<int>> runs;
  auto run = [&] {
    if (runs->fetch_add(1) < kFailures) throw std::runtime_error("not now");
  };
  auto runner = this->Runner(run);
  const Shared<std::atomic<int>> ran;
  std::vector<std::unique_ptr<TypeParam>> sleepers;
  for (int i = 0; i < kFailures + 2; ++i) {
    sleepers.push_back(this->Sleeper([&] {
      try {
        ran->fetch_add(this->once_.Call(run));
      } catch (const std::runtime_error&) {
      }
      EXPECT_TRUE(this->once_.Done() || runs->load() <= kFailures);
    }));
  }
  EXPECT_EQ(runner->Finish(), 0);
  for (auto& sleeper : sleepers) EXPECT_EQ(sleeper->Finish(), 0);
  EXPECT_EQ(runs->load(), kFailures + 1);
  EXPECT_EQ(ran->load(), 1);
  EXPECT_TRUE(this->once_.Done());
}

TYPED_TEST(OncePeersTest, OfManyThatCallAtOnceOneRunsItAndAllSeeIt) {
  constexpr int kRounds = kSanitized ? 30 : 300;
  constexpr int kPeers = 4;
  struct Round {
    Once once;
    int value = 0;  // plain memory: the thread sanitizer would tell
    std::atomic<int> runs = 0;
  };
  const Shared<std::array<Round, kRounds>> rounds;
  std::vector<std::unique_ptr<TypeParam>> peers;
  for (int i = 0; i < kPeers; ++i) {
    peers.push_back(std::make_unique<TypeParam>([&] {
      for (Round& round : *rounds) {
        const bool ran = round.once.Call([&] { ++round.value; });
        EXPECT_EQ(round.value, 1);
        round.runs.fetch_add(ran);
      }
    }));
  }
  for (auto& peer : peers) EXPECT_EQ(peer->Finish(), 0);
  for (Round& round : *rounds) EXPECT_EQ(round.runs.load(), 1);
  EXPECT_EQ(Check(), absl::OkStatus());
}

// Fork.

TEST(OnceForkTest, AParentsCallGoesOnInTheParentAlone) {
  const Once once;
  const Shared<int> runs(0);
  std::optional<Child> child;
  EXPECT_TRUE(once.Call([&] {
    child.emplace([&](auto& step) {
      step("before");
      EXPECT_FALSE(once.Call([&] { ++*runs; }));
      EXPECT_EQ(*runs, 1);
    });
    ASSERT_TRUE(child->RunTo("before"));
    child->Go();
    ASSERT_TRUE(child->WaitUntilAsleep());
    ++*runs;
  }));
  EXPECT_EQ(child->Finish(), 0);
  EXPECT_EQ(*runs, 1);
}

TEST(OnceForkTest, AChildThatComesOutOfItsParentsCallEndsNothing) {
  for (const bool throws : {false, true}) {
    const Once once;
    Child parent([&] {
      const pid_t self = getpid();
      auto run = [&] {
        const pid_t child = fork();
        if (child == 0 && throws) throw std::runtime_error("in the child");
        if (child == 0) return;
        int status = 0;
        EXPECT_EQ(waitpid(child, &status, 0), child);
        EXPECT_EQ(status, 0);
        EXPECT_FALSE(once.Done());
      };
      try {
        once.Call(run);
      } catch (const std::runtime_error&) {
      }
      if (getpid() != self) _exit(once.Done() ? 1 : 0);
    });
    EXPECT_EQ(parent.Finish(), 0);
    EXPECT_FALSE(once.Call(Nothing));
  }
}

TEST(OnceForkTest, AForkMayComeWhileAnotherThreadRunsIt) {
  const Once once;
  std::atomic<bool> go_on = false;
  std::atomic<bool> runs = false;
  std::thread runner([&] {
    once.Call([&] {
      runs.store(true);
      runs.notify_all();
      go_on.wait(false);
    });
  });
  runs.wait(false);
  Child child([&](auto& step) {
    step("before");
    EXPECT_FALSE(once.Call(Nothing));
  });
  ASSERT_TRUE(child.RunTo("before"));
  child.Go();
  ASSERT_TRUE(child.WaitUntilAsleep());
  go_on.store(true);
  go_on.notify_all();
  EXPECT_EQ(child.Finish(), 0);
  runner.join();
}

TEST(OnceForkTest, OneThatIsRunOutlivesItsLastHandle) {
  auto once = std::make_unique<Once>();
  Child child([&](auto& step) {
    once->Call([&] { step("runs it"); });
    EXPECT_TRUE(once->Done());
  });
  ASSERT_TRUE(child.RunTo("runs it"));
  Child waiter([&](auto& step) {
    step("before");
    EXPECT_FALSE(once->Call(Nothing));
  });
  ASSERT_TRUE(waiter.RunTo("before"));
  waiter.Go();
  ASSERT_TRUE(waiter.WaitUntilAsleep());
  once.reset();
  // None of these is in its place.
  const std::array<Once, 10> others;
  for (const Once& other : others) EXPECT_TRUE(other.Call(Nothing));
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_EQ(waiter.Finish(), 0);
  testing::Settle();
  EXPECT_EQ(Check(), absl::OkStatus());
}

// Death.

TEST(OnceOwnerDeathTest, TheNextOneRunsItAndIsTold) {
  const Once once;
  for (int i = 0; i < 2; ++i) {
    Child child([&](auto& step) {
      once.Call([&] {
        EXPECT_EQ(once.owner_died(), i > 0);
        step("runs it");
      });
    });
    ASSERT_TRUE(child.RunTo("runs it"));
    child.Kill();
    EXPECT_FALSE(once.Done());
  }
  EXPECT_TRUE(once.Call([&] { EXPECT_TRUE(once.owner_died()); }));
  EXPECT_TRUE(once.Done());
  EXPECT_FALSE(once.Call(Nothing));
}

TEST(OnceOwnerDeathTest, OneOfThoseThatSleepRunsIt) {
  const Once once;
  const Shared<std::atomic<int>> runs;
  Child runner([&](auto& step) { once.Call([&] { step("runs it"); }); });
  ASSERT_TRUE(runner.RunTo("runs it"));
  std::vector<std::unique_ptr<Child>> sleepers;
  for (int i = 0; i < 4; ++i) {
    sleepers.push_back(std::make_unique<Child>([&](auto& step) {
      step("before");
      once.Call([&] {
        EXPECT_TRUE(once.owner_died());
        runs->fetch_add(1);
      });
      EXPECT_TRUE(once.Done());
    }));
    ASSERT_TRUE(sleepers.back()->RunTo("before"));
    sleepers.back()->Go();
    ASSERT_TRUE(sleepers.back()->WaitUntilAsleep());
  }
  // A dead waiter is not missed.
  sleepers.front()->Kill();
  sleepers.erase(sleepers.begin());
  runner.Kill();
  for (auto& sleeper : sleepers) EXPECT_EQ(sleeper->Finish(), 0);
  EXPECT_EQ(runs->load(), 1);
}

TEST(OnceOwnerDeathTest, ExecveIsADeath) {
  const Once once;
  Child child([&](auto& step) {
    once.Call([&] {
      step("runs it");
      execl("/bin/sleep", "sleep", "1000", nullptr);
    });
  });
  ASSERT_TRUE(child.RunTo("runs it"));
  child.Go();
  EXPECT_TRUE(once.Call([&] { EXPECT_TRUE(once.owner_died()); }));
  EXPECT_TRUE(child.Running());
}

TEST(OnceOwnerDeathTest, TheEndOfTheThreadIsADeath) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer would wait for the end of the thread";
  const Once once;
  pthread_t thread;
  // By a system call, which passes by all that stands around the call.
  auto run = [](void* argument) -> void* {
    static_cast<const Once*>(argument)->Call([] { syscall(SYS_exit, 0); });
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, nullptr, run, const_cast<Once*>(&once)), 0);
  pthread_join(thread, nullptr);
  EXPECT_FALSE(once.Done());
  EXPECT_TRUE(once.Call([&] { EXPECT_TRUE(once.owner_died()); }));
}

// Signals.

TEST(OnceSignalTest, AWaitGoesOnAfterAHandler) {
  for (const int flags : {0, SA_RESTART}) {
    const Once once;
    Child runner([&](auto& step) { once.Call([&] { step("runs it"); }); });
    ASSERT_TRUE(runner.RunTo("runs it"));
    Child waiter([&](auto& step) {
      const Alarms alarms(
          Alarms::kNever, [](int) {}, flags);
      step("before");
      EXPECT_FALSE(once.Call(Nothing));
    });
    ASSERT_TRUE(waiter.RunTo("before"));
    waiter.Go();
    ASSERT_TRUE(SleepsOnAfterAlarms(waiter));
    EXPECT_EQ(runner.Finish(), 0);
    EXPECT_EQ(waiter.Finish(), 0);
  }
}

// What a handler of a signal asks.
const Once* in_handler = nullptr;

TEST(OnceSignalTest, MayBeAskedInAHandler) {
  Child child([&] {
    const Once first;
    in_handler = &first;
    static std::atomic<int> seen = 0;
    const Alarms alarms(200, [](int) { seen.fetch_add(1 + in_handler->Done()); });
    while (seen.load() < 20) {
      const Once own;
      own.Call(Nothing);
    }
    first.Call([&] {
      for (const int now = seen.load(); seen.load() == now;) {
      }
    });
    for (const int now = seen.load(); seen.load() == now;) {
    }
  });
  EXPECT_EQ(child.Finish(), 0);
}

}  // namespace
}  // namespace mp
