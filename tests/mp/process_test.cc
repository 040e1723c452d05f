// The life of a process: the cases of CPython's test_process and their kin.

#include "mp/process.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/process_info.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "tests/mp/text_pipe.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/pause.h"

namespace mp {
namespace {

using testing::Gate;
using testing::Inherited;
using testing::PauseForEver;
using testing::TextPipe;

bool Readable(int fd) {
  pollfd poll_fd = {.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&poll_fd, 1, 0) == 1;
}

TEST(ProcessTest, RunsItsTargetWithItsArgumentsInAnotherProcess) {
  TextPipe said;
  Process child(
      [&said](int number, const std::string& word) {
        said.Say(absl::StrCat(number, " ", word, " ", getppid() != 0 ? getpid() : 0));
      },
      1, "two");
  EXPECT_EQ(child.pid(), 0);
  EXPECT_EQ(child.exitcode(), std::nullopt);
  EXPECT_FALSE(child.IsAlive());

  ASSERT_TRUE(child.Start().ok());
  EXPECT_GT(child.pid(), 0);
  EXPECT_NE(child.pid(), getpid());
  child.Join();

  EXPECT_EQ(said.ReadAll(), absl::StrCat("1 two ", child.pid()));
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_FALSE(child.IsAlive());
}

TEST(ProcessTest, IsAliveFromItsStartToItsEnd) {
  Inherited<Gate> gate;
  Process child([&] { gate->Wait(); });
  EXPECT_FALSE(child.IsAlive());
  ASSERT_TRUE(child.Start().ok());
  EXPECT_TRUE(child.IsAlive());
  EXPECT_EQ(child.exitcode(), std::nullopt);
  gate->Open();
  child.Join();
  EXPECT_FALSE(child.IsAlive());
  EXPECT_EQ(child.exitcode(), 0);
}

TEST(ProcessTest, KeepsItsPidAndExitCodeAndMayBeJoinedAgain) {
  Process child([] { return 3; });
  ASSERT_TRUE(child.Start().ok());
  const pid_t pid = child.pid();
  child.Join();
  child.Join();
  EXPECT_TRUE(child.Join(absl::ZeroDuration()));
  EXPECT_EQ(child.pid(), pid);
  EXPECT_EQ(child.exitcode(), 3);
}

TEST(ProcessTest, IsNamedByItsNumberAndByItsFamily) {
  TextPipe said;
  Process first([] {});
  Process second([&said] {
    const Process child([] {});
    Process grand([&said] { said.Say(Process([] {}).name()); });
    said.Say(absl::StrCat(CurrentProcess().name(), " ", child.name(), " ", grand.name(), " "));
    (void)grand.Start();
    grand.Join();
  });
  // What comes before it in this test program is counted, too.
  const int number = std::stoi(first.name().substr(sizeof("Process-") - 1));
  EXPECT_EQ(first.name(), absl::StrCat("Process-", number));
  const std::string name = absl::StrCat("Process-", number + 1);
  EXPECT_EQ(second.name(), name);
  ASSERT_TRUE(second.Start().ok());
  EXPECT_EQ(said.ReadAll(), absl::StrCat(name, " ", name, ":1 ", name, ":2 ", name, ":2:1"));
  second.Join();
}

TEST(ProcessTest, TakesANameThatIsGivenAndCountsAllTheSame) {
  const Process first([] {});
  const Process named({.name = "worker"}, [] {});
  const Process third([] {});
  EXPECT_EQ(named.name(), "worker");
  const int number = std::stoi(first.name().substr(sizeof("Process-") - 1));
  EXPECT_EQ(third.name(), absl::StrCat("Process-", number + 2));
}

TEST(ProcessTest, StartsOnlyOnce) {
  Process child([] {});
  ASSERT_TRUE(child.Start().ok());
  const absl::Status again = child.Start();
  EXPECT_EQ(again.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(again.message().find(child.name()), std::string::npos) << again;
  child.Join();
  EXPECT_EQ(child.Start().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(child.exitcode(), 0);
}

TEST(ProcessTest, EmptyDoesNotStartAndIsNobody) {
  Process none;
  EXPECT_EQ(none.Start().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(none.name(), "");
  EXPECT_FALSE(none.daemon());
  EXPECT_EQ(none.pid(), 0);
  EXPECT_FALSE(none.IsAlive());
  EXPECT_EQ(none.exitcode(), std::nullopt);
  EXPECT_TRUE(none.Close().ok());
}

TEST(ProcessTest, StartsOnlyInTheProcessThatMadeIt) {
  Process made_here([] {});
  Process child(
      [&] { return made_here.Start().code() == absl::StatusCode::kFailedPrecondition ? 0 : 1; });
  ASSERT_TRUE(child.Start().ok());
  child.Join();
  EXPECT_EQ(child.exitcode(), 0);
}

// Signals -----------------------------------------------------------------------------

template <class Send>
int CodeAfter(Send send) {
  Process child(&PauseForEver);
  EXPECT_TRUE(child.Start().ok());
  EXPECT_TRUE(child.IsAlive());
  EXPECT_FALSE(child.Join(absl::ZeroDuration()));
  EXPECT_FALSE(child.Join(absl::Seconds(-1)));
  send(child);
  child.Join();
  EXPECT_FALSE(child.IsAlive());
  send(child);  // too late: nothing
  return child.exitcode().value_or(1);
}

TEST(ProcessTest, EndsOfTheSignalThatItIsSent) {
  EXPECT_EQ(CodeAfter([](const Process& child) { child.Terminate(); }), -SIGTERM);
  EXPECT_EQ(CodeAfter([](const Process& child) { child.Kill(); }), -SIGKILL);
  EXPECT_EQ(CodeAfter([](const Process& child) { child.Interrupt(); }), -SIGINT);
}

TEST(ProcessTest, ThatAbortsHasTheNumberOfSigabrt) {
  Process child([] { std::abort(); });
  ASSERT_TRUE(child.Start().ok());
  child.Join();
  EXPECT_EQ(child.exitcode(), -SIGABRT);
}

TEST(ProcessTest, TerminateSparesTheChildrenOfTheChild) {
  Inherited<Gate> gate;
  Inherited<std::atomic<pid_t>> grandchild;
  TextPipe said;
  Process child([&] {
    Process grand([&] {
      gate->Wait();
      said.Say("still here");
    });
    (void)grand.Start();
    *grandchild = grand.pid();
    said.Say(".");
    PauseForEver();
  });
  ASSERT_TRUE(child.Start().ok());
  EXPECT_EQ(said.Read(1), ".");
  child.Terminate();
  child.Join();
  EXPECT_EQ(child.exitcode(), -SIGTERM);
  gate->Open();
  EXPECT_EQ(said.ReadAll(), "still here");
}

TEST(ProcessTest, AHundredAtOnceStartAndTerminate) {
  constexpr int kCount = 100;
  std::vector<Process> children;
  for (int i = 0; i < kCount; ++i) children.emplace_back(&PauseForEver);
  for (Process& child : children) ASSERT_TRUE(child.Start().ok());
  for (const Process& child : children) EXPECT_FALSE(child.Join(absl::ZeroDuration()));
  for (const Process& child : children) child.Terminate();
  for (const Process& child : children) {
    child.Join();
    EXPECT_EQ(child.exitcode(), -SIGTERM);
  }
}

// Exit codes --------------------------------------------------------------------------

template <class F>
std::optional<int> CodeOf(F target) {
  Process child(std::move(target));
  EXPECT_TRUE(child.Start().ok());
  child.Join();
  return child.exitcode();
}

TEST(ProcessTest, ExitCodeIsTheLowByteOfWhatTheTargetReturns) {
  EXPECT_EQ(CodeOf([] { return 0; }), 0);
  EXPECT_EQ(CodeOf([] { return 42; }), 42);
  EXPECT_EQ(CodeOf([] { return 300; }), 44);
  EXPECT_EQ(CodeOf([] { return -1; }), 255);
}

TEST(ProcessTest, ExitCodeIsThatOfExit) {
  EXPECT_EQ(CodeOf([] { std::exit(0); }), 0);
  EXPECT_EQ(CodeOf([] { std::exit(300); }), 44);
  EXPECT_EQ(CodeOf([] { _exit(9); }), 9);
  EXPECT_EQ(CodeOf([] { std::quick_exit(8); }), 8);
}

TEST(ProcessTest, PthreadExitEndsTheProcessAndNotTheTestThatForkedIt) {
  EXPECT_EQ(CodeOf([] { pthread_exit(nullptr); }), 0);
}

// The object --------------------------------------------------------------------------

TEST(ProcessTest, SentinelIsReadableOnceTheChildHasEnded) {
  Inherited<Gate> gate;
  Process child([&] { gate->Wait(); });
  ASSERT_TRUE(child.Start().ok());
  EXPECT_FALSE(Readable(child.sentinel()));
  gate->Open();
  pollfd ended = {.fd = child.sentinel(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&ended, 1, -1), 1);
  EXPECT_EQ(child.exitcode(), 0);  // no Join() is needed
  EXPECT_TRUE(Readable(child.sentinel()));
}

TEST(ProcessTest, SentinelIsReadableThoughAGrandchildLives) {
  Inherited<Gate> gate;
  TextPipe grand_lives;
  Process child([&] {
    Process grand([&] {
      grand_lives.Say(".");
      gate->Wait();
    });
    (void)grand.Start();
    grand_lives.Read(1);
    _exit(0);
  });
  ASSERT_TRUE(child.Start().ok());
  child.Join();
  EXPECT_TRUE(Readable(child.sentinel()));
  gate->Open();
}

TEST(ProcessTest, CloseGivesTheDescriptorBackAndIsIdempotent) {
  Inherited<Gate> gate;
  Process child({.name = "closed"}, [&] { gate->Wait(); });
  ASSERT_TRUE(child.Start().ok());
  const absl::Status too_early = child.Close();
  EXPECT_EQ(too_early.code(), absl::StatusCode::kFailedPrecondition);
  gate->Open();
  child.Join();
  const int fd = child.sentinel();
  EXPECT_TRUE(child.Close().ok());
  EXPECT_EQ(fcntl(fd, F_GETFD), -1);
  EXPECT_TRUE(child.Close().ok());
  EXPECT_EQ(child.name(), "closed");
  EXPECT_FALSE(child.daemon());
  EXPECT_EQ(child.Start().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(ProcessTest, ClosesOnlyInTheProcessThatStartedIt) {
  Inherited<Gate> gate;
  Process brother([&] { gate->Wait(); });
  ASSERT_TRUE(brother.Start().ok());
  Process child(
      [&] { return brother.Close().code() == absl::StatusCode::kFailedPrecondition ? 0 : 1; });
  ASSERT_TRUE(child.Start().ok());
  child.Join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_TRUE(brother.IsAlive());
  gate->Open();
  brother.Join();
  EXPECT_TRUE(brother.Close().ok());
}

TEST(ProcessTest, ClosedBeforeItsStartDoesNotStart) {
  Process child([] {});
  EXPECT_TRUE(child.Close().ok());
  EXPECT_EQ(child.Start().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(ProcessTest, TheParentsCopyOfTheTargetEndsWithTheStart) {
  const auto token = std::make_shared<int>(1);
  Process child([](const std::shared_ptr<int>& held) { return static_cast<int>(held.use_count()); },
                token);
  EXPECT_EQ(token.use_count(), 2);
  ASSERT_TRUE(child.Start().ok());
  EXPECT_EQ(token.use_count(), 1);
  child.Join();
  EXPECT_EQ(child.exitcode(), 2);  // the child's own
}

// Says, where it is destroyed, the pid of that process.
struct Farewell {
  explicit Farewell(const TextPipe* said) : said(said) {}
  Farewell(Farewell&& other) noexcept : said(std::exchange(other.said, nullptr)) {}
  ~Farewell() {
    if (said != nullptr) said->Say(absl::StrCat(getpid()));
  }
  const TextPipe* said;
};

TEST(ProcessTest, TheChildDestroysItsCopyOfTheTarget) {
  TextPipe said;
  Inherited<Gate> gate;
  Process child([&gate, farewell = Farewell(&said)] { gate->Wait(); });
  ASSERT_TRUE(child.Start().ok());
  gate->Open();
  child.Join();
  EXPECT_EQ(said.ReadAll(), absl::StrCat(getpid(), child.pid()));
}

TEST(ProcessTest, TheChildDestroysItsCopyOfATargetThatThrows) {
  TextPipe said;
  Inherited<Gate> gate;
  Process child([&gate, farewell = Farewell(&said)] {
    gate->Wait();
    throw 1;
  });
  ASSERT_TRUE(child.Start().ok());
  gate->Open();
  child.Join();
  EXPECT_EQ(said.ReadAll(), absl::StrCat(getpid(), child.pid()));
}

TEST(ProcessTest, IsMovedWithWhatItRuns) {
  Inherited<Gate> gate;
  Process first({.name = "moved"}, [&] {
    gate->Wait();
    return 5;
  });
  Process second = std::move(first);
  EXPECT_EQ(second.name(), "moved");
  EXPECT_EQ(first.name(), "");  // NOLINT(bugprone-use-after-move): it is empty
  ASSERT_TRUE(second.Start().ok());
  Process third;
  third = std::move(second);
  EXPECT_EQ(second.pid(), 0);  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(third.IsAlive());
  gate->Open();
  third.Join();
  EXPECT_EQ(third.exitcode(), 5);
}

TEST(ProcessTest, GoesOnWithoutItsObject) {
  Inherited<Gate> gate;
  TextPipe said;
  {
    Process child([&] {
      gate->Wait();
      said.Say("done");
    });
    ASSERT_TRUE(child.Start().ok());
    Process assigned_over([&] {
      gate->Wait();
      said.Say("done");
    });
    ASSERT_TRUE(assigned_over.Start().ok());
    assigned_over = Process();
  }
  EXPECT_EQ(ActiveChildren().size(), 2u);
  gate->Open();
  EXPECT_EQ(said.ReadAll(), "donedone");
  for (const ProcessInfo& child : ActiveChildren())
    EXPECT_TRUE(child.Join(absl::InfiniteDuration()));
  EXPECT_TRUE(ActiveChildren().empty());
}

TEST(ProcessTest, AChildThatIsForgottenIsReapedByTheNextStart) {
  {
    Process forgotten([] {});
    ASSERT_TRUE(forgotten.Start().ok());
    pollfd ended = {.fd = forgotten.sentinel(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&ended, 1, -1), 1);
  }
  Process next([] {});
  ASSERT_TRUE(next.Start().ok());
  next.Join();
  EXPECT_EQ(waitid(P_ALL, 0, nullptr, WEXITED | WNOHANG), -1);  // no zombie
}

TEST(ProcessTest, TheTargetMayDestroyTheObjectThatStartedIt) {
  std::vector<Process> children;
  const std::string word(100, 'x');
  children.emplace_back(ProcessOptions{.name = word}, [&children, word] {
    children.clear();
    return CurrentProcess().name() == word ? 0 : 1;
  });
  ASSERT_TRUE(children[0].Start().ok());
  children[0].Join();
  EXPECT_EQ(children[0].exitcode(), 0);
}

// Families ----------------------------------------------------------------------------

// Each process says its place, and has two children, down to depth 2.
void Recurse(const TextPipe& said, const std::string& place) {
  said.Say("(" + place + ")");
  if (place.size() == 2) return;
  for (int i = 0; i < 2; ++i) {
    Process child(&Recurse, std::ref(said), place + std::to_string(i));
    if (!child.Start().ok()) std::abort();
    child.Join();
  }
}

TEST(ProcessTest, ChildrenHaveChildren) {
  TextPipe said;
  Recurse(said, "");
  EXPECT_EQ(said.ReadAll(), "()(0)(00)(01)(1)(10)(11)");
}

TEST(ProcessTest, StartsFromAnyThreadOfABusyProgram) {
  std::atomic<bool> stop = false;
  std::vector<std::thread> busy;
  for (int i = 0; i < 3; ++i) {
    busy.emplace_back([&stop] {
      while (!stop) {
        const std::string text = absl::StrCat("some memory ", getpid(), std::string(200, ' '));
        const auto copy = std::make_unique<std::string>(text);
        std::fprintf(stdout, "%s", copy->c_str() + copy->size());
      }
    });
  }
  std::vector<std::thread> starters;
  std::atomic<int> right = 0;
  constexpr int kRounds = 15;
  for (int i = 0; i < 2; ++i) {
    starters.emplace_back([&right, i] {
      for (int round = 0; round < kRounds; ++round) {
        Process child([i] {
          const auto memory = std::make_unique<std::string>(1000, 'x');
          std::fprintf(stdout, "%s", "");
          return i + static_cast<int>(memory->size() / 1000);
        });
        if (!child.Start().ok()) continue;
        child.Join();
        if (child.exitcode() == i + 1) ++right;
      }
    });
  }
  for (std::thread& starter : starters) starter.join();
  stop = true;
  for (std::thread& thread : busy) thread.join();
  EXPECT_EQ(right, 2 * kRounds);
}

int OpenDescriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<int>(std::distance(begin(all), end(all)));
}

TEST(ProcessTest, AChildHasOneDescriptorMoreHoweverDeepTheFamilyIs) {
  const int here = OpenDescriptors();
  Process child([] {
    Process grand([] { return OpenDescriptors(); });
    if (!grand.Start().ok()) return 0;
    grand.Join();
    return grand.exitcode() == OpenDescriptors() - 1 ? *grand.exitcode() : 0;  // its sentinel
  });
  ASSERT_TRUE(child.Start().ok());
  child.Join();
  EXPECT_EQ(child.exitcode(), here + 1);
}

// As in Python: what a child has got is there, whoever else has dropped it.
TEST(ProcessTest, AnArgumentMayBeTheChildsAlone) {
  const RawValue<int> sum(0);
  auto add = [](const Lock& lock, const RawValue<int>& value, const RawValue<int>& sum) {
    for (int i = 0; i < 100; ++i) {
      const LockGuard guard(lock);
      *sum += *value;
    }
  };
  for (int i = 0; i < 10; ++i) {
    Process child(add, Lock(), RawValue<int>(1), sum);
    ASSERT_TRUE(child.Start().ok());
    // Whose place would it be?
    const Lock lock;
    const RawValue<int> value(1'000'000);
    lock.Acquire();
    child.Join();
    lock.Release();
  }
  EXPECT_EQ(*sum, 1000);
}

// An object that a child may have ends when the child is joined; its destructor may ask.
TEST(ProcessTest, ADestructorMayAskForTheChildThatKeptItsObject) {
  struct Asks {
    Process* child;
    bool* alive;
    ~Asks() { *alive = child->IsAlive(); }
  };
  bool alive = true;
  Process child([] {});
  auto asks = std::make_unique<Shared<Asks>>(Asks{&child, &alive});
  alive = true;  // the temporary one has asked, too
  ASSERT_TRUE(child.Start().ok());
  asks.reset();
  child.Join();
  EXPECT_FALSE(alive);
}

}  // namespace
}  // namespace mp
