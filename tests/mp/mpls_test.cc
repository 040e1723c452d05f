// mpls, run on families that work, hang, are overwritten, or are none.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "mp/or_die.h"
#include "mp/process.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/internal/domain_file.h"
#include "shared/raw_array.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/lock.h"
#include "sync/rlock.h"
#include "tests/shared/heap_locks.h"
#include "tests/support/child.h"
#include "tests/support/fork.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using ::testing::AllOf;
using testing::Child;
using ::testing::ContainsRegex;
using testing::ForkMortal;
using testing::Gate;
using ::testing::HasSubstr;
using testing::HeapLocks;
using testing::Inherited;
using testing::KillAndReap;
using testing::kSlowness;
using ::testing::Not;
using testing::Seed;
using ::testing::StartsWith;
using testing::Steps;
using Numbers = std::vector<int, Allocator<int>>;

struct Output {
  int code;  // minus the signal that ended it
  std::string out;
  std::string err;
};

Output Mpls(const std::string& arguments) {
  const std::string errors = absl::StrCat(::testing::TempDir(), "/mpls_errors.", getpid());
  FILE* const program = popen(("exec mp/mpls " + arguments + " 2>" + errors).c_str(), "r");
  EXPECT_NE(program, nullptr);
  Output output;
  char text[4096];
  for (size_t got; (got = fread(text, 1, sizeof(text), program)) > 0;) {
    output.out.append(text, got);
  }
  const int status = pclose(program);
  output.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  FILE* const file = fopen(errors.c_str(), "r");
  EXPECT_NE(file, nullptr);
  const size_t got = fread(text, 1, sizeof(text), file);
  output.err.assign(text, got);
  fclose(file);
  unlink(errors.c_str());
  return output;
}

Output Mpls(pid_t pid) { return Mpls(std::to_string(pid)); }

// One line that begins so, on stderr alone, and exit code 1.
void ExpectRefused(const Output& output, const std::string& words) {
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.out, "");
  EXPECT_THAT(output.err, StartsWith("mpls: pid "));
  EXPECT_THAT(output.err, HasSubstr(words));
  EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
}

// No test makes a domain in the test's own process: each family is a child's.

TEST(MplsTest, PrintsProcessesAndObjects) {
  const Inherited<Gate> there;
  const Inherited<Gate> gate;
  const Inherited<std::atomic<pid_t>> worker_pid(0);
  Child child([&](Steps& step) {
    const Lock lock({.name = "jobs"});
    const RLock rlock;
    const RawArray<char> array(100'000, {.name = "pixels"});
    const Shared<Numbers> numbers(1000);
    Process worker({.name = "a worker", .daemon = true}, [&] {
      const RawValue<int> value(0, {.name = "worker's"});
      *worker_pid = getpid();
      there->Open();
      gate->Wait();
    });
    OrDie(worker.Start());
    there->Wait();
    step("all there");
    gate->Open();
    worker.Join();
    step("joined");
  });
  ASSERT_TRUE(child.RunTo("all there"));
  const pid_t worker = *worker_pid;
  for (const pid_t pid : {child.pid(), worker}) {
    const Output output = Mpls(pid);
    EXPECT_EQ(output.code, 0);
    EXPECT_EQ(output.err, "");
    EXPECT_THAT(output.out, StartsWith("     PID   PARENT  STATE     DAEMON          AGE  NAME\n"));
    EXPECT_THAT(output.out,
                ContainsRegex(absl::StrCat("\n *", child.pid(),
                                           " +-  running +no +[0-9.a-z]+  \"MainProcess\"\n")));
    EXPECT_THAT(output.out,
                ContainsRegex(absl::StrCat("\n *", worker, " +", child.pid(),
                                           "  running +yes +[0-9.a-z]+  \"a worker\"\n")));
    EXPECT_THAT(output.out,
                ContainsRegex(
                    "\nADDRESS +TYPE +BYTES +MAKER +STAKES +HOLDERS +ACQUIRED +SLEEPERS +NAME\n"));
    for (const auto& [type, name, maker] :
         {std::tuple("Lock", "\"jobs\"", child.pid()), std::tuple("RLock", "", child.pid()),
          std::tuple("RawArray", "\"pixels\"", child.pid()), std::tuple("Shared", "", child.pid()),
          std::tuple("RawValue", "\"worker's\"", worker)}) {
      EXPECT_THAT(output.out,
                  ContainsRegex(absl::StrCat("\n0x55[0-9a-f]+ +", type, " +[0-9]+ +", maker, " +1 ",
                                             maker, " +- -  +", name, "\n")));
    }
    EXPECT_THAT(output.out,
                ContainsRegex("\n2 processes, 5 objects; [0-9]+ bytes in [0-9]+ blocks; [0-9]+ "
                              "bytes of memory, of [0-9]+ for blocks and [0-9]+ reserved\n$"));
  }
  ASSERT_TRUE(child.RunTo("joined"));
  const Output output = Mpls(child.pid());
  EXPECT_THAT(output.out, AllOf(HasSubstr("\"jobs\""), Not(HasSubstr("worker"))));
  EXPECT_THAT(output.out, HasSubstr("\n1 process, 4 objects;"));
}

TEST(MplsTest, ToldOfADeadProcessIsWhatItLeft) {
  Child child([](Steps& step) {
    const Lock lock;
    const pid_t dead = ForkMortal([] { static const RawValue<int> value(0, {.name = "orphan"}); });
    waitpid(dead, nullptr, 0);
    step("dead");
  });
  ASSERT_TRUE(child.RunTo("dead"));
  EXPECT_THAT(Mpls(child.pid()).out,
              AllOf(ContainsRegex("  ended +no "), HasSubstr("2 processes, 2 objects;"),
                    ContainsRegex("RawValue +[0-9]+ +- +1 - +- - +\"orphan\"\n")));
}

TEST(MplsTest, NamesDoNothingToATerminal) {
  Child child([](Steps& step) {
    const Lock lock({.name = "\x1b[31m\nred\xff\"\\"});
    step("made");
  });
  ASSERT_TRUE(child.RunTo("made"));
  EXPECT_THAT(Mpls(child.pid()).out, HasSubstr(R"("\x1b[31m\nred)"));
  EXPECT_THAT(Mpls(child.pid()).out, Not(HasSubstr("\x1b")));
}

TEST(MplsTest, LooksAtAFamilyThatIsStoppedWithTheLocksOfTheHeap) {
  Child child([](Steps& step) {
    const Lock lock({.name = "jobs"});
    const LockGuard guard(lock);
    const HeapLocks locks;
    step("holds them");
  });
  ASSERT_TRUE(child.RunTo("holds them"));
  child.Stop();
  const Output output = Mpls(child.pid());
  EXPECT_EQ(output.code, 0);
  EXPECT_THAT(output.out, HasSubstr("\"jobs\""));
  child.Continue();
  EXPECT_EQ(child.Finish(), 0);
}

TEST(MplsTest, LooksAtAFamilyWhereverItIsStopped) {
  const Inherited<std::atomic<bool>> enough(false);
  Child child([&](Steps& step) {
    const Lock lock({.name = "jobs"});
    step("made");
    for (int i = 0; !*enough; ++i) {
      const Shared<Numbers> numbers(static_cast<size_t>(i % 50'000));
      const RawArray<char> array(static_cast<size_t>(i % 300'000), {.name = "passing"});
    }
  });
  ASSERT_TRUE(child.RunTo("made"));
  child.Go();
  for (int i = 0; i < 50 / kSlowness && !HasFailure(); ++i) {
    // And in motion.
    if (i % 2 == 0) child.Stop();
    const Output output = Mpls(child.pid());
    EXPECT_EQ(output.code, 0) << output.err;
    EXPECT_THAT(output.out, HasSubstr("\"jobs\""));
    if (i % 2 == 0) child.Continue();
  }
  *enough = true;
  EXPECT_EQ(child.Finish(), 0);
}

TEST(MplsTest, LooksAtAFamilyWhoseDomainWasOverwritten) {
  const uint64_t seed = Seed(20'260'713);
  SCOPED_TRACE("MP_SEED=" + std::to_string(seed));
  for (uint64_t round = 0; round < 10 && !HasFailure(); ++round) {
    Child child([seed, round](Steps& step) {
      OrDie(ConfigureDomain({.reserve = size_t{8} << 20}));
      const Lock lock({.name = "jobs"});
      std::mt19937_64 random(seed + round);
      auto* const bytes = reinterpret_cast<std::byte*>(*Domain::Get());
      // All but the header, or half of it.
      for (size_t at = sizeof(internal::DomainHeader); at < size_t{8} << 20; at += 8) {
        const uint64_t word = random();
        if (round % 2 == 0 || at % 4096 < 2048) std::memcpy(bytes + at, &word, sizeof(word));
      }
      step("overwritten");
      // Not to where handles would be dropped.
      _exit(0);
    });
    ASSERT_TRUE(child.RunTo("overwritten"));
    const Output output = Mpls(child.pid());
    EXPECT_EQ(output.code, 0) << output.err;
    EXPECT_THAT(output.out, HasSubstr(" reserved\n"));
  }
}

TEST(MplsTest, RefusesAnotherVersionOfTheLibrary) {
  Child child([](Steps& step) {
    auto& header = const_cast<internal::DomainHeader&>((*Domain::Get())->header());
    ++header.layout;
    step("changed");
  });
  ASSERT_TRUE(child.RunTo("changed"));
  ExpectRefused(Mpls(child.pid()), "another version of this library");
}

TEST(MplsTest, RefusesAFileThatIsNoDomain) {
  Child child([](Steps& step) {
    const int fd = memfd_create("mp-domain", MFD_CLOEXEC);
    EXPECT_EQ(ftruncate(fd, 4096), 0);
    EXPECT_NE(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
    step("mapped");
  });
  ASSERT_TRUE(child.RunTo("mapped"));
  ExpectRefused(Mpls(child.pid()), "not sealed");
}

TEST(MplsTest, RefusesAProcessWithoutADomain) {
  Child child([](Steps& step) { step("there"); });
  ASSERT_TRUE(child.RunTo("there"));
  ExpectRefused(Mpls(child.pid()), "has no domain of mp");
}

TEST(MplsTest, RefusesAPidThatIsNobodys) {
  const pid_t gone = ForkMortal([] {});
  KillAndReap(gone);
  ExpectRefused(Mpls(gone), "no such process");
}

TEST(MplsTest, SaysHowItIsCalled) {
  for (const std::string arguments :
       {"", "abc", "0", "-5", "12x", "1 2", "99999999999", "--help"}) {
    const Output output = Mpls(arguments);
    EXPECT_EQ(output.code, 2) << arguments;
    EXPECT_EQ(output.out, "");
    EXPECT_THAT(output.err, StartsWith("usage: mpls PID "));
  }
}

}  // namespace
}  // namespace mp
