// Whoever sleeps learns of a death, whoever dies, and nobody polls.

#include "shared/internal/sentry.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/futex.h"
#include "shared/internal/process_table.h"
#include "shared/internal/robust_mutex.h"
#include "shared/internal/wait.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/fork.h"
#include "tests/support/futex_waitv.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/look.h"
#include "tests/support/pause.h"
#include "tests/support/settings.h"
#include "tests/support/shared_word.h"

namespace mp::internal {
namespace {

using mp::testing::Child;
using mp::testing::ForkMortal;
using mp::testing::Gate;
using mp::testing::HasFutexWaitv;
using mp::testing::Inherited;
using mp::testing::PauseForEver;
using mp::testing::SharedWord;
using mp::testing::Stress;
using mp::testing::WaitUntilAsleep;
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

  // Until the sentry sleeps on a lane of the process, so that the kernel wakes it at its death.
  void AwaitWatched(ProcessId id) {
    auto is_watched = [&] {
      for (uint32_t i = 0; i < domain_.lanes().committed(); ++i) {
        const Lane& lane = domain_.lanes()[i];
        if (lane.process.load() == id && FutexWake(lane.alive.word(), 1) != 0) return true;
      }
      return false;
    };
    while (HasFutexWaitv() && !is_watched()) std::this_thread::yield();
  }

  Domain& domain_;
  const SharedWord word_;
};

// The death of one that nobody has reaped cannot be proved without a descriptor.
TEST_F(SentryTest, WhoHasNoDescriptorLeftLeavesTheLookToOthers) {
  if (!HasFutexWaitv()) GTEST_SKIP() << "no futex_waitv here";
  const pid_t mortal = ForkMortal([] {
    LaneForNotes();
    PauseForEver();
  });
  ProcessId id = 0;
  while ((id = IdOf(mortal)) == 0) std::this_thread::yield();
  Child starved([this, id](auto& step) {
    const rlimit none = {0, 0};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    step("before");
    AwaitDeathOf(id);
  });
  ASSERT_TRUE(starved.RunTo("before"));
  starved.Go();
  AwaitSentry(starved.pid());
  const auto sleeper = StartSleeper(id);
  kill(mortal, SIGKILL);
  EXPECT_EQ(sleeper->Finish(), 0);
  EXPECT_EQ(starved.Finish(), 0);
  EXPECT_EQ(waitpid(mortal, nullptr, 0), mortal);
}

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
  if (!HasFutexWaitv()) GTEST_SKIP() << "no futex_waitv here";
  for (int round = 0; round < 2; ++round) {
    mp::testing::Settle();  // or the sentry would leave for the death of another
    Child mortal([](auto& step) { step("ready"); });
    ASSERT_TRUE(mortal.RunTo("ready"));
    const ProcessId id = IdOf(mortal.pid());
    auto sentry = StartSleeper(id);
    AwaitSentry(sentry->pid());
    // It sleeps on the duty before any other, so it is woken to follow; and dies of that. (One
    // that is stopped does not sleep any more: the wake would be another's.)
    Child successor([&](auto& step) {
      RobustMutex& duty = domain_.sentry_post().duty;
      step("before");
      uint32_t seen = duty.word().load();
      while (RobustMutex::HolderIn(seen) == 0 || !duty.AnnounceSleeper(seen)) {
        seen = duty.word().load();
      }
      if (FutexWait(duty.word(), seen, nullptr) == FutexResult::kWoken) raise(SIGKILL);
    });
    ASSERT_TRUE(successor.RunTo("before"));
    successor.Go();
    ASSERT_TRUE(WaitUntilAsleep(successor.pid(), {SYS_futex}));
    auto other = StartSleeper(id);
    ASSERT_TRUE(WaitUntilAsleep(other->pid(), {SYS_futex_waitv}));
    sentry->Kill();
    EXPECT_EQ(successor.Finish(), -SIGKILL);
    AwaitSentry(other->pid());
    mortal.Kill();
    EXPECT_EQ(other->Finish(), 0);
  }
}

// The kernel gives back the newest 2,048 of the robust mutexes that a dying thread holds; its
// lane's is the oldest.
TEST_F(SentryTest, ADeathIsToldOfWhoHoldsMoreMutexesThanTheKernelGivesBack) {
  constexpr size_t kMutexes = 3000;
  const Inherited<std::array<pthread_mutex_t, kMutexes>> mutexes;
  Child mortal([&](auto& step) {
    LaneForNotes();
    pthread_mutexattr_t robust;
    pthread_mutexattr_init(&robust);
    pthread_mutexattr_setpshared(&robust, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    for (pthread_mutex_t& mutex : *mutexes) {
      EXPECT_EQ(pthread_mutex_init(&mutex, &robust), 0);
      EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
    }
    step("ready");
  });
  ASSERT_TRUE(mortal.RunTo("ready"));
  auto sleeper = StartSleeper(IdOf(mortal.pid()));
  AwaitSentry(sleeper->pid());
  AwaitWatched(IdOf(mortal.pid()));
  mortal.Kill();
  EXPECT_EQ(sleeper->Finish(), 0);
  mp::testing::Settle();
  EXPECT_EQ(Check(), absl::OkStatus());
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

// In milliseconds, of both kinds.
int64_t ProcessorTime(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/schedstat"));
  int64_t nanoseconds = 0;
  return file >> nanoseconds ? nanoseconds / 1'000'000 : 0;
}

TEST_F(SentryTest, ManySleepersCostAsMuchAsOne) {
  const int many = Stress() ? 1000 : mp::testing::kSanitized ? 50 : 200;
  const Inherited<std::atomic<int>> ready(0);
  std::vector<pid_t> sleepers;
  for (int i = 0; i < many; ++i) {
    sleepers.push_back(mp::testing::ForkMortal([&] {
      LaneForNotes();
      ready->fetch_add(1);
      while (word_->load() == 0) Wait(*word_, 0);
    }));
  }
  while (ready->load() != many) std::this_thread::yield();
  // Until the sentry has counted them.
  while (domain_.sentry_post().sleepers.load() != static_cast<uint64_t>(many)) {
    std::this_thread::yield();
  }
  const pid_t sentry = SentryTid();
  auto sum = [&] {
    int64_t total = 0;
    for (const pid_t sleeper : sleepers) total += VoluntarySwitches(sleeper);
    return total;
  };
  const int64_t begin = Milliseconds();
  const int64_t before = sum();
  const int64_t of_sentry = VoluntarySwitches(sentry);
  const int64_t time_of_sentry = ProcessorTime(sentry);
  const timespec pause = {.tv_sec = 2, .tv_nsec = 0};
  nanosleep(&pause, nullptr);
  const double seconds = static_cast<double>(Milliseconds() - begin) / 1000;
  const auto switches = static_cast<double>(sum() - before);
  // A system call that sleeps is one voluntary switch; those that do not sleep are not counted.
  printf(
      "%d sleepers: %.1f sleeping system calls (voluntary context switches) a second, %.1f of "
      "them of the sentry, with %.1f ms of a processor\n",
      many, switches / seconds,
      static_cast<double>(VoluntarySwitches(sentry) - of_sentry) / seconds,
      static_cast<double>(ProcessorTime(sentry) - time_of_sentry) / seconds);
  // Whoever fell asleep before they were counted has one short nap. And then there are ten naps
  // and twenty looks a second, of however many: naps of 50 ms for each were 20 times as many as
  // there are sleepers.
  EXPECT_LT(switches, many + 100 * seconds);
  WakeAll(*word_);
  for (const pid_t sleeper : sleepers) {
    int status = -1;
    EXPECT_EQ(waitpid(sleeper, &status, 0), sleeper);
    EXPECT_EQ(status, 0);
  }
}

}  // namespace
}  // namespace mp::internal
