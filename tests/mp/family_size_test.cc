// Families of thousands of processes, alive at once and one after another: everybody is
// known, and nothing grows.

#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "mp/process.h"
#include "mp/process_info.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/lane.h"
#include "shared/internal/wait.h"
#include "shared/raw_array.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/fork.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/settings.h"
#include "tests/support/shared_word.h"
#include "tests/support/watchdog.h"

namespace mp {
namespace {

using testing::Child;
using testing::ForkMortal;
using testing::Gate;
using testing::Inherited;
using testing::kSanitized;
using testing::PetWatchdog;
using testing::SharedWord;
using testing::Stress;

using Value = RawValue<int>;
using Values = std::vector<Value, Allocator<Value>>;

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// As many as there are to be at once, for each of which this process can have a descriptor.
int Many() {
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  const int wanted = Stress() ? 4000 : kSanitized ? 100 : 300;
  return static_cast<int>(std::min<rlim_t>(files.rlim_max - 50, static_cast<rlim_t>(wanted)));
}

// Of this process alone, in bytes.
size_t PrivateMemory() {
  FILE* file = fopen("/proc/self/statm", "re");
  unsigned long size = 0;
  unsigned long resident = 0;
  unsigned long shared = 0;
  if (file == nullptr || fscanf(file, "%lu %lu %lu", &size, &resident, &shared) != 3) return 0;
  fclose(file);
  return (resident - shared) * 4096;
}

class FamilySizeTest : public ::testing::Test {
 protected:
  FamilySizeTest() : domain_(**Domain::Get()) {
    { const Value first; }
    { const Lock lock; }
    internal::LaneForNotes();
    Settle();
    before_ = Stats().in_use;
    lanes_before_ = LanesInUse();
  }
  ~FamilySizeTest() override {
    Settle();
    EXPECT_EQ(Stats().in_use, before_) << Stats().ToString();
    EXPECT_EQ(LanesInUse(), lanes_before_);
    EXPECT_EQ(Check(), absl::OkStatus());
  }

  // Until nobody else is left of the family. All others have ended, or will.
  static void Settle() {
    testing::Settle();
    while (testing::AllIds().size() > 1) {
      PetWatchdog();
      std::this_thread::yield();
      testing::Settle();
    }
  }

  template <typename Counts>
  int CountLanes(const Counts& counts) {
    int count = 0;
    internal::LaneTable& lanes = domain_.lanes();
    for (uint32_t i = 0; i < lanes.committed(); ++i) count += counts(lanes[i]);
    return count;
  }
  int LanesInUse() {
    return CountLanes([](const internal::Lane& lane) { return lane.process.load() != 0; });
  }
  int Sleeping() {
    return CountLanes([](const internal::Lane& lane) { return lane.SleepsOn() != 0; });
  }
  void WaitUntilSleeping(int count) {
    while (Sleeping() < count) std::this_thread::yield();
  }

  Domain& domain_;
  size_t before_;
  int lanes_before_;
};

// A family of many, each of which stands somewhere: a third of them wait for a lock, a third for
// a word, and a third outside of the library.
TEST_F(FamilySizeTest, ManyAliveAtOnceAreAllKnownAndLeaveNothing) {
  const int many = Many();
  std::optional<Value> inherited(std::in_place, 42);
  const Lock lock;
  const Shared<Values> values;
  const Lock closed;
  const SharedWord word(0);
  Inherited<Gate> gate;
  Inherited<std::atomic<int>> ready(0);
  auto live = [&](int i) {
    domain_.TellName(absl::StrCat("worker ", i), false);
    const Value mine(i);
    {
      const LockGuard guard(lock);
      values->push_back(mine);
    }
    ++*ready;
    if (i % 3 == 0) {
      const LockGuard guard(closed);
    } else if (i % 3 == 1) {
      while (word->load() == 0) internal::Wait(*word, 0);
    } else {
      gate->Wait();
    }
    if (**inherited != 42 || *mine != i) _exit(1);
  };

  double began = Seconds();
  const auto lap = [&began](const char* what) {
    const double now = Seconds();
    printf("  %6.2f s  %s\n", now - began, what);
    began = now;
    PetWatchdog();
  };
  printf("%d processes at once:\n", many);
  fflush(stdout);
  closed.Acquire();
  std::vector<pid_t> pids;
  for (int i = 0; i < many; ++i) {
    pids.push_back(ForkMortal([&] { live(i); }));
    PetWatchdog();
  }
  while (*ready < many) std::this_thread::yield();
  inherited.reset();  // theirs now
  WaitUntilSleeping((many + 2) / 3 + (many + 1) / 3);
  lap("forked, each with an object of its own; two in three asleep");

  std::set<std::string> names;
  std::set<pid_t> known;
  for (const ProcessInfo& process : AllProcesses()) {
    if (process.pid() == getpid()) continue;
    names.insert(process.name());
    known.insert(process.pid());
  }
  EXPECT_EQ(known, std::set<pid_t>(pids.begin(), pids.end()));
  EXPECT_EQ(names.size(), static_cast<size_t>(many));
  EXPECT_TRUE(names.contains(absl::StrCat("worker ", many - 1)));
  EXPECT_EQ(Check(), absl::OkStatus());
  lap("all named");

  for (int i = 0; i < many; i += 4) kill(pids[static_cast<size_t>(i)], SIGKILL);
  for (int i = 0; i < many; i += 4) {
    EXPECT_EQ(waitpid(pids[static_cast<size_t>(i)], nullptr, 0), pids[static_cast<size_t>(i)]);
  }
  lap("one in four killed");
  {
    const LockGuard guard(lock);
    std::set<int> seen;
    for (const Value& value : *values) seen.insert(*value);
    EXPECT_EQ(seen.size(), static_cast<size_t>(many)) << "also what the dead made is there";
  }
  closed.Release();
  word->store(1);
  internal::WakeAll(*word);
  gate->Open();
  for (int i = 0; i < many; ++i) {
    if (i % 4 == 0) continue;
    int status = 0;
    EXPECT_EQ(waitpid(pids[static_cast<size_t>(i)], &status, 0), pids[static_cast<size_t>(i)]);
    EXPECT_EQ(status, 0) << "worker " << i;
    PetWatchdog();
  }
  lap("the others woken and ended");
  Settle();
  lap("all buried");
  EXPECT_EQ(values->size(), static_cast<size_t>(many));
  EXPECT_EQ(Stats().by_type.at("RawValue").count, static_cast<size_t>(many)) << "one was inherited";
  values->clear();
  domain_.Free(word.get());
  lap("their objects dropped");
}

// A program that forks for ever, with objects made before, within and after the fork.
TEST_F(FamilySizeTest, ForksInARowLeaveNoTrace) {
  const int forks = Stress() ? 1'000'000 : kSanitized ? 400 : 3000;
  const int warm = forks / 3 < 1000 ? forks / 3 : 1000;
  struct Size {
    size_t in_use;
    size_t committed;
    uint32_t slots;
    uint32_t lanes;
    size_t own;
  };
  const auto measure = [this] {
    Settle();
    const DomainStats stats = Stats();
    return Size{stats.in_use, stats.committed, domain_.processes().committed(),
                domain_.lanes().committed(), PrivateMemory()};
  };
  std::optional<Size> first;
  const double began = Seconds();
  for (int i = 0; i < forks; ++i) {
    if (i == warm) first = measure();
    PetWatchdog();
    std::optional<Value> mine;
    if (i % 2 == 0) mine.emplace(i);
    const bool makes = i % 3 == 0;
    auto body = [&] {
      if (mine.has_value() && **mine != i) _exit(1);
      if (!makes) return;
      const Value value(i);
      const RawArray<int> array(1000);
      if (i % 9 == 0) raise(SIGKILL);
    };
    const int expected = makes && i % 9 == 0 ? -SIGKILL : 0;
    if (i % 8 == 0) {
      Process child(body);
      ASSERT_TRUE(child.Start().ok());
      mine.reset();
      child.Join();
      ASSERT_EQ(child.exitcode(), expected);
    } else {
      const pid_t pid = ForkMortal(body);
      mine.reset();  // the child may have it for a while
      int status = 0;
      ASSERT_EQ(waitpid(pid, &status, 0), pid);
      ASSERT_EQ(WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status), expected);
    }
  }
  const Size last = measure();
  const auto print = [](const char* when, const Size& size) {
    printf("  %s: %zu bytes in use, %zu committed, %u slots, %u lanes, %zu KiB of its own\n", when,
           size.in_use, size.committed, size.slots, size.lanes, size.own / 1024);
  };
  printf("%d forks in %.0f s\n", forks, Seconds() - began);
  print("after the first of them", *first);
  print("at the end", last);
  EXPECT_EQ(last.in_use, first->in_use);
  EXPECT_EQ(last.committed, first->committed);
  EXPECT_EQ(last.slots, first->slots);
  EXPECT_EQ(last.lanes, first->lanes);
  if (!kSanitized) {
    EXPECT_LE(last.own, first->own + (size_t{1} << 20));
  }
}

TEST_F(FamilySizeTest, ThreadsThatHaveSleptLeaveNoLanes) {
  const int many = Many();
  constexpr int kProcesses = 3;
  const SharedWord word(0);
  const auto sleep_once = [&] {
    while (word->load() == 0) internal::Wait(*word, 0);
  };
  const auto sleep_in_threads = [&](int count) {
    std::vector<std::thread> threads;
    threads.reserve(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) threads.emplace_back(sleep_once);
    return threads;
  };
  const int each = many / (kProcesses + 1);
  {
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < kProcesses; ++i) {
      children.push_back(std::make_unique<Child>([&] {
        for (std::thread& thread : sleep_in_threads(each)) thread.join();
      }));
    }
    std::vector<std::thread> threads = sleep_in_threads(each);
    WaitUntilSleeping(each * (kProcesses + 1));
    EXPECT_GE(LanesInUse(), each * (kProcesses + 1));
    printf("%d threads of %d processes asleep\n", each * (kProcesses + 1), kProcesses + 1);
    children.front()->Kill();
    word->store(1);
    internal::WakeAll(*word);
    for (std::thread& thread : threads) thread.join();
    for (size_t i = 1; i < children.size(); ++i) EXPECT_EQ(children[i]->Finish(), 0);
  }
  Settle();
  EXPECT_EQ(LanesInUse(), lanes_before_);
  const uint32_t committed = domain_.lanes().committed();
  // And once more, one after another: what was left is used again.
  word->store(0);
  for (int i = 0; i < many; ++i) {
    std::thread thread(sleep_once);
    WaitUntilSleeping(1);
    word->store(1);
    internal::WakeAll(*word);
    thread.join();
    word->store(0);
    PetWatchdog();
  }
  EXPECT_EQ(LanesInUse(), lanes_before_);
  EXPECT_EQ(domain_.lanes().committed(), committed);
  domain_.Free(word.get());
}

}  // namespace
}  // namespace mp
