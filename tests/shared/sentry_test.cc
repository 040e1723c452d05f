// Whoever sleeps learns of a death, whoever dies, and nobody polls.

#include "shared/internal/sentry.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "shared/domain.h"
#include "shared/internal/process_table.h"
#include "shared/internal/wait.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/pause.h"
#include "tests/support/shared_word.h"

namespace mp::internal {
namespace {

using mp::testing::Child;
using mp::testing::Gate;
using mp::testing::Inherited;
using mp::testing::PauseForEver;
using mp::testing::SharedWord;
using Kind = ProcessTable::Kind;

class SentryTest : public ::testing::Test {
 protected:
  SentryTest() : domain_(**Domain::Get()), word_(0) { mp::testing::Settle(); }
  ~SentryTest() override { mp::testing::Settle(); }

  ProcessId IdOf(pid_t pid) {
    const ProcessTable& table = domain_.processes();
    for (auto entry = table.Next(0); entry.kind != Kind::kFree; entry = table.Next(entry.id)) {
      if (entry.pid == pid && entry.kind == Kind::kLive) return entry.id;
    }
    return 0;
  }
  pid_t SentryTid() { return domain_.sentry_post().duty.HolderTid(); }

  // Until a process is buried, by whomever.
  void AwaitDeathOf(ProcessId id) {
    for (;;) {
      const uint32_t deaths = Deaths();
      const Kind kind = domain_.processes().Find(id).kind;
      if (kind == Kind::kFree || kind == Kind::kDead) return;
      Wait(*word_, 0, {.deaths = &deaths});
    }
  }
  // A process that sleeps until another has died.
  std::unique_ptr<Child> StartSleeper(ProcessId mortal) {
    auto child = std::make_unique<Child>([this, mortal](auto& step) {
      step("before");
      AwaitDeathOf(mortal);
    });
    EXPECT_TRUE(child->RunTo("before"));
    child->Go();
    EXPECT_TRUE(child->WaitUntilAsleep());
    return child;
  }
  // Once it sleeps beside a sentry, or is it.
  void AwaitSentry(pid_t tid) {
    while (SentryTid() != tid) std::this_thread::yield();
  }

  // Until a death of the process wakes the sentry.
  void AwaitWatched(ProcessId id) {
    auto is_watched = [&] {
      for (uint32_t i = 0; i < domain_.lanes().committed(); ++i) {
        const Lane& lane = domain_.lanes()[i];
        const bool announced = (lane.alive.word().load() & RobustMutex::kSleepers) != 0;
        if (lane.process.load() == id && announced) return true;
      }
      return false;
    };
    while (!is_watched()) std::this_thread::yield();
  }

  Domain& domain_;
  const SharedWord word_;
};

TEST_F(SentryTest, ADeathIsToldOfAProcessWithALaneAndWithout) {
  for (const bool lane : {true, false}) {
    Child mortal([&](auto& step) {
      if (lane) LaneForNotes();
      step("ready");
    });
    ASSERT_TRUE(mortal.RunTo("ready"));
    auto sleeper = StartSleeper(IdOf(mortal.pid()));
    AwaitSentry(sleeper->pid());
    // The kernel is to tell, not the look of each second.
    if (lane) AwaitWatched(IdOf(mortal.pid()));
    mortal.Kill();
    EXPECT_EQ(sleeper->Finish(), 0);
  }
}

TEST_F(SentryTest, ExecveIsTold) {
  Child mortal([&](auto& step) {
    LaneForNotes();
    step("ready");
    execl("/bin/sleep", "sleep", "1000", nullptr);
  });
  ASSERT_TRUE(mortal.RunTo("ready"));
  auto sleeper = StartSleeper(IdOf(mortal.pid()));
  mortal.Go();
  EXPECT_EQ(sleeper->Finish(), 0);
  EXPECT_TRUE(mortal.Running());
}

TEST_F(SentryTest, AMainThreadThatEndedIsNoDeath) {
  const Inherited<Gate> ended;
  Child mortal([&](auto& step) {
    step("ready");
    LaneForNotes();
    std::thread([&] {
      ended->Open();
      PauseForEver();
    }).detach();
    // As the kernel sees it, without destructors.
    syscall(SYS_exit, 0);
  });
  ASSERT_TRUE(mortal.RunTo("ready"));
  const ProcessId id = IdOf(mortal.pid());
  auto sleeper = StartSleeper(id);
  mortal.Go();
  ended->Wait();
  // The lane of the thread is freed, and its process lives on.
  auto has_lane = [&] {
    for (uint32_t i = 0; i < domain_.lanes().committed(); ++i) {
      if (domain_.lanes()[i].process.load() == id) return true;
    }
    return false;
  };
  while (has_lane()) std::this_thread::yield();
  EXPECT_TRUE(sleeper->Running());
  EXPECT_EQ(domain_.processes().Find(id).kind, Kind::kLive);
  mortal.Kill();
  EXPECT_EQ(sleeper->Finish(), 0);
}

TEST_F(SentryTest, AnotherTakesOverWhenTheSentryIsKilled) {
  Child mortal([](auto& step) { step("ready"); });
  ASSERT_TRUE(mortal.RunTo("ready"));
  auto first = StartSleeper(IdOf(mortal.pid()));
  AwaitSentry(first->pid());
  auto second = StartSleeper(IdOf(mortal.pid()));
  first->Kill();
  AwaitSentry(second->pid());
  mortal.Kill();
  EXPECT_EQ(second->Finish(), 0);
}

TEST_F(SentryTest, ASleeperIsToldOfTheSentrysDeath) {
  Child mortal([](auto& step) { step("ready"); });
  ASSERT_TRUE(mortal.RunTo("ready"));
  auto first = StartSleeper(IdOf(mortal.pid()));
  AwaitSentry(first->pid());
  auto second = StartSleeper(IdOf(first->pid()));
  first->Kill();
  EXPECT_EQ(second->Finish(), 0);
}

TEST_F(SentryTest, TheSentryAndItsSuccessorMayDieAtOnce) {
  for (int round = 0; round < 2; ++round) {
    Child mortal([](auto& step) { step("ready"); });
    ASSERT_TRUE(mortal.RunTo("ready"));
    const ProcessId id = IdOf(mortal.pid());
    auto first = StartSleeper(id);
    AwaitSentry(first->pid());
    auto second = StartSleeper(id);
    auto third = StartSleeper(id);
    // Stopped, the successor is woken and does not come to take the duty.
    second->Stop();
    kill(first->pid(), SIGKILL);
    second->Kill();
    first->Kill();
    AwaitSentry(third->pid());
    mortal.Kill();
    EXPECT_EQ(third->Finish(), 0);
  }
}

TEST_F(SentryTest, WhereTheSentryIsStoppedOthersLook) {
  Child mortal([](auto& step) {
    LaneForNotes();
    step("ready");
  });
  ASSERT_TRUE(mortal.RunTo("ready"));
  const ProcessId id = IdOf(mortal.pid());
  auto first = StartSleeper(id);
  AwaitSentry(first->pid());
  auto second = StartSleeper(id);
  first->Stop();
  mortal.Kill();
  EXPECT_EQ(second->Finish(), 0);
  EXPECT_EQ(SentryTid(), first->pid());
  first->Continue();
  EXPECT_EQ(first->Finish(), 0);
}

TEST_F(SentryTest, AnEndedThreadOfALivingProcessPassesItsWakeOn) {
  // It was woken, and ends: another sleeps on the same word.
  Child child([&](auto& step) {
    step("before");
    std::thread([&] {
      const SleepsOn note(LaneForNotes(), *word_);
      word_->store(1);
      syscall(SYS_exit, 0);
    }).detach();
    PauseForEver();
  });
  ASSERT_TRUE(child.RunTo("before"));
  Child sleeper([&](auto& step) {
    step("before");
    while (word_->load() == 0) Wait(*word_, 0);
  });
  ASSERT_TRUE(sleeper.RunTo("before"));
  sleeper.Go();
  ASSERT_TRUE(sleeper.WaitUntilAsleep());
  AwaitSentry(sleeper.pid());
  child.Go();
  EXPECT_EQ(sleeper.Finish(), 0);
}

int64_t Milliseconds() {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

TEST_F(SentryTest, AChildThatNeverBeganIsBuried) {
  // The kernel tells when a process began in steps of 10 ms: the watchdog did before.
  const int64_t begin = Milliseconds();
  while (Milliseconds() - begin < 30) std::this_thread::yield();
  Child parent([&](auto& step) {
    const auto id = domain_.processes().ClaimForChild(domain_.ThisProcess().identity());
    EXPECT_TRUE(id.ok());
    domain_.processes().ChildForked(*id);
    step("forked");
  });
  ASSERT_TRUE(parent.RunTo("forked"));
  ProcessId orphan = 0;
  const ProcessTable& table = domain_.processes();
  for (auto entry = table.Next(0); entry.kind != Kind::kFree; entry = table.Next(entry.id)) {
    if (entry.kind == Kind::kForked) orphan = entry.id;
  }
  ASSERT_NE(orphan, 0u);
  parent.Kill();
  auto sleeper = StartSleeper(orphan);
  EXPECT_EQ(sleeper->Finish(), 0);
}

int64_t VoluntarySwitches(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/status"));
  for (std::string word; file >> word;) {
    int64_t count = 0;
    if (word == "voluntary_ctxt_switches:" && file >> count) return count;
  }
  return 0;
}

TEST_F(SentryTest, ManySleepersCostAsMuchAsOne) {
  constexpr int kSleepers = 50;
  constexpr int kSeconds = 2;
  std::vector<std::unique_ptr<Child>> sleepers;
  for (int i = 0; i < kSleepers; ++i) {
    sleepers.push_back(std::make_unique<Child>([this](auto& step) {
      step("before");
      while (word_->load() == 0) Wait(*word_, 0);
    }));
    ASSERT_TRUE(sleepers.back()->RunTo("before"));
  }
  for (auto& sleeper : sleepers) sleeper->Go();
  for (auto& sleeper : sleepers) ASSERT_TRUE(sleeper->WaitUntilAsleep());
  // Until the sentry has counted them.
  while (domain_.sentry_post().sleepers.load() != kSleepers) std::this_thread::yield();
  auto sum = [&] {
    int64_t total = 0;
    for (auto& sleeper : sleepers) total += VoluntarySwitches(sleeper->pid());
    return total;
  };
  const int64_t before = sum();
  const timespec pause = {.tv_sec = kSeconds, .tv_nsec = 0};
  nanosleep(&pause, nullptr);
  const int64_t switches = sum() - before;
  printf("%d sleepers: %d voluntary context switches in %d seconds\n", kSleepers,
         static_cast<int>(switches), kSeconds);
  EXPECT_LT(switches, kSleepers * 20 * kSeconds / 4);
  WakeAll(*word_);
  for (auto& sleeper : sleepers) EXPECT_EQ(sleeper->Finish(), 0);
}

}  // namespace
}  // namespace mp::internal
