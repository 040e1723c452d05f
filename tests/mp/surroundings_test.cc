// What a process has of its starter's surroundings, however it was started: where its output goes,
// the environment, its name for the system, what becomes of its memory when it aborts. And what it
// says where it cannot begin.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "mp/fd.h"
#include "mp/or_die.h"
#include "mp/process.h"
#include "mp/start_method.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/raw_array.h"
#include "tests/mp/replaced.h"
#include "tests/mp/start_methods.h"
#include "tests/mp/text_pipe.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::Replaced;
using testing::TextPipe;

constexpr char kTaken[] = "MP_TEST_TAKEN_ADDRESS";

// Before main(): there the domain cannot be mapped any more.
[[maybe_unused]] const bool kTakesAnAddress = [] {
  const char* const text = std::getenv(kTaken);
  if (text == nullptr) return false;
  const auto address = static_cast<uintptr_t>(std::strtoull(text, nullptr, 10));
  return mmap(reinterpret_cast<void*>(address), 1, PROT_NONE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != MAP_FAILED;
}();

class SurroundingsTest : public ::testing::TestWithParam<StartMethod> {
 protected:
  // So that there is a fork server, from before what a test changes.
  SurroundingsTest() {
    EXPECT_EQ(Run([] {}), 0);
  }

  template <class... A>
  std::optional<int> Run(A&&... a) {
    Process child({.name = "worker", .start_method = GetParam()}, std::forward<A>(a)...);
    const absl::Status started = child.Start();
    EXPECT_TRUE(started.ok()) << started;
    if (!started.ok()) return std::nullopt;
    child.Join();
    return child.exitcode();
  }
};

INSTANTIATE_TEST_SUITE_P(All, SurroundingsTest, testing::AllStartMethods(),
                         testing::StartMethodName);

TEST_P(SurroundingsTest, WhatItsStarterHasBufferedIsWrittenFirst) {
  FILE* const file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  std::fputs("before", file);
  EXPECT_EQ(Run(
                [](const Fd& same) {
                  struct stat facts;
                  return fstat(same.get(), &facts) == 0 ? static_cast<int>(facts.st_size) : 255;
                },
                Fd(dup(fileno(file)))),
            6);
  std::fclose(file);
}

TEST_P(SurroundingsTest, WritesToWhereItsStarterDoesNow) {
  TextPipe out;
  TextPipe err;
  std::fflush(stdout);
  {
    const Replaced out_too(STDOUT_FILENO, out.writer());
    const Replaced err_too(STDERR_FILENO, err.writer());
    EXPECT_EQ(Run([]() -> absl::Status {
                std::printf("out");
                std::fputs("err ", stderr);
                return absl::NotFoundError("as the test wants it");
              }),
              1);
  }
  EXPECT_EQ(out.ReadAll(), "out");
  EXPECT_EQ(err.ReadAll(), "err Process worker: NOT_FOUND: as the test wants it\n");
}

TEST_P(SurroundingsTest, BothMayBeTheSame) {
  TextPipe said;
  std::fflush(stdout);
  {
    const Replaced out_too(STDOUT_FILENO, said.writer());
    const Replaced err_too(STDERR_FILENO, said.writer());
    EXPECT_EQ(Run([] {
                return write(STDOUT_FILENO, "out ", 4) == 4 && write(STDERR_FILENO, "err", 3) == 3
                           ? 0
                           : 1;
              }),
              0);
  }
  EXPECT_EQ(said.ReadAll(), "out err");
}

TEST_P(SurroundingsTest, WhatItsStarterHasClosedIsClosed) {
  std::fflush(stdout);
  std::optional<int> code;
  {
    const Replaced none(STDOUT_FILENO, Replaced::kClosed);
    code = Run([] {
      return fcntl(STDOUT_FILENO, F_GETFD) < 0 && fcntl(STDERR_FILENO, F_GETFD) >= 0 ? 0 : 1;
    });
  }
  EXPECT_EQ(code, 0);
}

TEST_P(SurroundingsTest, HasTheEnvironmentThatItsStarterHasNow) {
  setenv("MP_TEST_VARIABLE", "here", 1);
  setenv("MP_TEST_EMPTY", "", 1);
  auto is_there = [] {
    const char* const value = std::getenv("MP_TEST_VARIABLE");
    const char* const empty = std::getenv("MP_TEST_EMPTY");
    if (value == nullptr || std::string_view(value) != "here") return 1;
    if (empty == nullptr || *empty != '\0') return 2;
    if (std::getenv("MP_SPAWNED") != nullptr) return 3;  // the mark of one that is spawned
    // It is the child's own.
    if (setenv("MP_TEST_VARIABLE", "there", 1) != 0 || unsetenv("MP_TEST_EMPTY") != 0) return 4;
    return std::string_view(std::getenv("MP_TEST_VARIABLE")) == "there" ? 0 : 5;
  };
  EXPECT_EQ(Run(is_there), 0);
  EXPECT_EQ(Run(is_there), 0);
  unsetenv("MP_TEST_VARIABLE");
  EXPECT_EQ(Run([] { return std::getenv("MP_TEST_VARIABLE") == nullptr ? 0 : 1; }), 0);
}

std::string TextOf(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_P(SurroundingsTest, HasTheNameOfTheProgram) {
  const std::string name = TextOf("/proc/self/comm");
  EXPECT_EQ(name, "surroundings_te\n");
  EXPECT_EQ(
      Run([](const std::string& its) { return TextOf("/proc/self/comm") == its ? 0 : 1; }, name),
      0);
}

// When it aborts ---------------------------------------------------------------------------------

TEST_P(SurroundingsTest, ItsCoreIsAsTheSystemHasIt) {
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_CORE, &limit), 0);
  EXPECT_EQ(Run(
                [](rlim_t soft, rlim_t hard) {
                  rlimit its;
                  getrlimit(RLIMIT_CORE, &its);
                  return its.rlim_cur == soft && its.rlim_max == hard ? 0 : 1;
                },
                limit.rlim_cur, limit.rlim_max),
            0);
  EXPECT_EQ(Run([] { std::abort(); }), -SIGABRT);
}

// A core with the domain in it has no end.
constexpr rlim_t kMostCore = rlim_t{512} << 20;

TEST_P(SurroundingsTest, TheDomainIsInNoCore) {
  if (testing::kSanitized) GTEST_SKIP() << "a sanitizer maps more than fits in a core";
  const std::string pattern = TextOf("/proc/sys/kernel/core_pattern");
  if (pattern.find_first_of("|/") != std::string::npos) GTEST_SKIP() << "cores go to " << pattern;
  std::string folder = absl::StrCat(::testing::TempDir(), "/coreXXXXXX");
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  // Words that are there as such only in the domain: the child may have all else that is here.
  std::string in_domain = absl::StrCat(getpid(), " ni era yeht");
  const RawArray<char> shared(in_domain.size());
  std::copy(in_domain.rbegin(), in_domain.rend(), shared.begin());
  const std::string own = absl::StrCat("they are its own, of ", getpid());
  const std::optional<int> code = Run(
      [](const std::string& place, const RawArray<char>& theirs, const std::string& mine) {
        const rlimit most = {.rlim_cur = kMostCore, .rlim_max = kMostCore};
        if (setrlimit(RLIMIT_CORE, &most) != 0 || chdir(place.c_str()) != 0) return 1;
        return theirs[0] == mine[0] ? std::abort(), 0 : 2;
      },
      folder, shared, own);
  if (code == 1) GTEST_SKIP() << "cores are not allowed here";
  EXPECT_EQ(code, -SIGABRT);
  std::vector<std::string> cores;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    cores.push_back(entry.path());
  }
  ASSERT_EQ(cores.size(), 1U);
  const bool is_whole = std::filesystem::file_size(cores[0]) < kMostCore;
  const std::string core = is_whole ? TextOf(cores[0]) : "";
  std::filesystem::remove_all(folder);
  ASSERT_TRUE(is_whole);
  EXPECT_TRUE(absl::StrContains(core, own));
  std::reverse(in_domain.begin(), in_domain.end());
  EXPECT_FALSE(absl::StrContains(core, in_domain));
}

// When it cannot begin ---------------------------------------------------------------------------

TEST(BeginTest, OneThatCannotMapTheDomainWhereItIsSaysSoAndEnds) {
  setenv(kTaken, absl::StrCat(OrDie(Domain::Get())->header().base).c_str(), 1);
  TextPipe said;
  Process child({.start_method = StartMethod::kSpawn}, [] {});
  {
    const Replaced err_too(STDERR_FILENO, said.writer());
    const absl::Status started = child.Start();
    EXPECT_TRUE(started.ok()) << started;
    if (started.ok()) child.Join();
  }
  unsetenv(kTaken);
  EXPECT_EQ(child.exitcode(), 1);
  const std::string words = said.ReadAll();
  EXPECT_TRUE(absl::StartsWith(
      words, absl::StrCat("Process (pid ", child.pid(), "): it was spawned, but cannot begin: ")))
      << words;
  EXPECT_TRUE(absl::EndsWith(words, "\n")) << words;
  EXPECT_EQ(Check(), absl::OkStatus());
}

}  // namespace
}  // namespace mp
