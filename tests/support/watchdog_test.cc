#include "tests/support/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "tests/support/fork.h"

namespace mp::testing {
namespace {

using ::testing::HasSubstr;

// Runs one of the tests below in a program of its own that gives each test one
// second. Returns all that it printed; reading ends when nobody is left of it.
std::string RunWithOneSecond(const std::string& test, int& status) {
  char self[4096] = {};
  if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0) return "";
  const std::string command = std::string("env -u XML_OUTPUT_FILE MP_TEST_TIMEOUT=1 '") + self +
                              "' --gtest_also_run_disabled_tests --gtest_filter=" + test + " 2>&1";
  FILE* output = popen(command.c_str(), "r");
  if (output == nullptr) return "";
  std::string text;
  for (int c = 0; (c = fgetc(output)) != EOF;) text += static_cast<char>(c);
  status = pclose(output);
  return text;
}

TEST(WatchdogTest, DISABLED_HangsWithAChild) {
  const pid_t child = ForkMortal([] {
    ForkMortal([] { pause(); });
    pause();
  });
  waitpid(child, nullptr, 0);
}

TEST(WatchdogTest, DISABLED_TakesItsTimeButMoves) {
  for (int i = 0; i < 15; ++i) {
    const timespec nap = {0, 100'000'000};
    nanosleep(&nap, nullptr);
    PetWatchdog();
  }
}

TEST(WatchdogTest, EndsATestThatHangsAndAllItsChildren) {
  int status = 0;
  const std::string text = RunWithOneSecond("WatchdogTest.DISABLED_HangsWithAChild", status);
  EXPECT_NE(status, 0);
  EXPECT_THAT(text, HasSubstr("[ WATCHDOG ] WatchdogTest.DISABLED_HangsWithAChild"));
  EXPECT_THAT(text, HasSubstr("S in wait4"));
  EXPECT_THAT(text, HasSubstr("S in pause"));
}

TEST(WatchdogTest, LetsATestGoOnThatPetsIt) {
  int status = -1;
  const std::string text = RunWithOneSecond("WatchdogTest.DISABLED_TakesItsTimeButMoves", status);
  EXPECT_EQ(status, 0) << text;
  EXPECT_THAT(text, HasSubstr("[  PASSED  ] 1 test"));
}

TEST(WatchdogTest, IsNotSeenByAWaitForAnyChild) {
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

}  // namespace
}  // namespace mp::testing
