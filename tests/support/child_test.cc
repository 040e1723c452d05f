#include "tests/support/child.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>

#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/look.h"
#include "tests/support/settings.h"

namespace mp::testing {
namespace {

TEST(ChildTest, EndsWithTheCodeOfItsBody) {
  Child nothing([] {});
  Child seven([] { return 7; });
  Child killed([] { raise(SIGKILL); });
  EXPECT_EQ(nothing.Finish(), 0);
  EXPECT_EQ(seven.Finish(), 7);
  EXPECT_EQ(killed.Finish(), -SIGKILL);
  EXPECT_FALSE(killed.Running());
}

TEST(ChildTest, StandsAtItsStepUntilItIsLetGo) {
  Inherited<std::atomic<int>> done;
  Child child([&](Steps& step) {
    *done = 1;
    step("one");
    *done = 2;
    step("two");
    *done = 3;
    step("three");
  });
  ASSERT_TRUE(child.RunTo("one"));
  EXPECT_EQ(*done, 1);
  ASSERT_TRUE(child.RunTo("three"));
  EXPECT_EQ(*done, 3);
  EXPECT_TRUE(child.Running());
  EXPECT_EQ(child.Finish(), 0);
}

TEST(ChildTest, IsSeenAsleepInALock) {
  Inherited<Gate> gate;
  Child child([&](Steps& step) {
    step("before");
    gate->Wait();
    step("after");
  });
  ASSERT_TRUE(child.RunTo("before"));
  child.Go();
  ASSERT_TRUE(child.WaitUntilAsleep());
  gate->Open();
  ASSERT_TRUE(child.RunTo("after"));
  EXPECT_EQ(child.Finish(), 0);
}

void ExpectInChild() {
  Child child([] { EXPECT_EQ(1 + 1, 3) << "the child's own words"; });
  EXPECT_EQ(child.Finish(), 1);
}

TEST(ChildTest, FailedExpectationFailsTheTestWithItsWords) {
  EXPECT_NONFATAL_FAILURE(ExpectInChild(), "the child's own words");
}

TEST(ChildTest, FailedExpectationCarriesItsFileAndLine) {
  ::testing::TestPartResultArray results;
  int line = 0;
  {
    ::testing::ScopedFakeTestPartResultReporter reporter(
        ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &results);
    line = __LINE__ + 1;
    Child child([] { ADD_FAILURE(); });
    child.Finish();
  }
  ASSERT_EQ(results.size(), 1);
  EXPECT_STREQ(results.GetTestPartResult(0).file_name(), __FILE__);
  EXPECT_EQ(results.GetTestPartResult(0).line_number(), line);
}

TEST(ChildTest, WhatItSaidBeforeItWasKilledIsNotLost) {
  EXPECT_NONFATAL_FAILURE(
      {
        Child child([](Steps& step) {
          ADD_FAILURE() << "last words";
          step("dying");
        });
        child.RunTo("dying");
        child.Kill();
      },
      "last words");
}

TEST(ChildTest, FailureInAThreadOfTheChildIsReported) {
  if (kSanitized) GTEST_SKIP() << "no new threads after a fork";
  EXPECT_NONFATAL_FAILURE(
      {
        Child child([] { std::thread([] { ADD_FAILURE() << "in a thread"; }).join(); });
        child.Finish();
      },
      "in a thread");
}

TEST(ChildTest, ExceptionIsAFailure) {
  EXPECT_NONFATAL_FAILURE(
      {
        Child child([] { throw std::runtime_error("thrown words"); });
        child.Finish();
      },
      "thrown words");
}

TEST(ChildTest, FatalAssertionEndsTheBodyOnly) {
  Inherited<std::atomic<int>> reached;
  EXPECT_NONFATAL_FAILURE(
      {
        Child child([&] {
          ASSERT_TRUE(false) << "fatal in the child";
          *reached = 1;
        });
        EXPECT_EQ(child.Finish(), 1);
      },
      "fatal in the child");
  EXPECT_EQ(*reached, 0);
}

TEST(ChildTest, StepThatNeverComesIsAFailure) {
  EXPECT_NONFATAL_FAILURE(
      {
        Child child([](Steps& step) { step("another"); });
        EXPECT_FALSE(child.RunTo("missing"));
      },
      "before its step \"missing\"");
}

TEST(ChildTest, SleepThatNeverComesIsAFailure) {
  EXPECT_NONFATAL_FAILURE(
      {
        Child child([](Steps& step) { step("here"); });
        child.RunTo("here");
        EXPECT_FALSE(child.WaitUntilAsleep());
      },
      "came to its step \"here\"");
}

TEST(ChildTest, DiesWithItsParent) {
  Inherited<std::atomic<pid_t>> grandchild;
  Child parent([&](Steps& step) {
    Child child([] { pause(); });
    *grandchild = child.pid();
    step("has a child");
  });
  ASSERT_TRUE(parent.RunTo("has a child"));
  parent.Kill();
  // Ours to wait for by looking only: it is another's child.
  while (LookAt(*grandchild).exists()) usleep(100);
}

TEST(ChildTest, NeverRunsWhatTheTestLeftOnItsStack) {
  struct OnExit {
    pid_t owner = getpid();
    ~OnExit() { EXPECT_EQ(owner, getpid()); }
  } on_exit;
  Child child([] {});
  EXPECT_EQ(child.Finish(), 0);
}

TEST(ChildTest, StoppedChildStandsStill) {
  Inherited<std::atomic<long>> count;
  Child child([&] {
    for (;;) ++*count;
  });
  while (*count == 0) usleep(100);
  child.Stop();
  const long before = *count;
  EXPECT_EQ(LookAt(child.pid()).state, 'T');
  EXPECT_EQ(*count, before);
  child.Continue();
  while (*count == before) usleep(100);
  child.Kill();
  EXPECT_EQ(child.Finish(), -SIGKILL);
}

TEST(ChildTest, WorksInAProgramWithThreads) {
  Inherited<Gate> gate;
  std::thread other([&] { gate->Wait(); });
  Child child([](Steps& step) { step("alive"); });
  EXPECT_TRUE(child.RunTo("alive"));
  EXPECT_EQ(child.Finish(), 0);
  gate->Open();
  other.join();
}

}  // namespace
}  // namespace mp::testing
