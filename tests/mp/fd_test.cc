// Reading and writing of plain descriptors, and the pipes that they are made for.

#include "mp/fd.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "mp/os_pipe.h"
#include "tests/support/alarms.h"
#include "tests/support/child.h"
#include "tests/support/status_matchers.h"

namespace mp {
namespace {

using absl::StatusCode;
using testing::Alarms;
using testing::Child;
using testing::IsOk;
using testing::StatusIs;
using testing::Steps;

// More than a pipe holds, and no two parts of it alike.
std::string Much() {
  std::string bytes;
  for (int i = 0; bytes.size() < (size_t{1} << 20); ++i) bytes += std::to_string(i) + " ";
  return bytes;
}

TEST(FdTest, WhatIsWrittenIsRead) {
  auto [reading, writing] = *OsPipe();
  ASSERT_THAT(writing.WriteAll("hello"), IsOk());
  EXPECT_EQ(*reading.Read(3), "hel");
  EXPECT_EQ(*reading.Read(), "lo");
  EXPECT_EQ(*reading.Read(0), "");
  ASSERT_THAT(writing.WriteAll(""), IsOk());
  ASSERT_THAT(writing.WriteAll("world"), IsOk());
  char place[8];
  EXPECT_EQ(*reading.ReadInto(absl::MakeSpan(place)), 5);
  EXPECT_EQ(std::string_view(place, 5), "world");
  writing.Close();
  EXPECT_THAT(reading.Read(), StatusIs(StatusCode::kOutOfRange));
  EXPECT_EQ(*reading.ReadAll(), "");
}

TEST(FdTest, AllIsWrittenAndReadWhateverItsSize) {
  for (const bool blocking : {true, false}) {
    auto [reading, writing] = *OsPipe();
    if (!blocking) {
      fcntl(reading.get(), F_SETFL, O_NONBLOCK);
      fcntl(writing.get(), F_SETFL, O_NONBLOCK);
    }
    const std::string bytes = Much();
    std::thread writer(
        [&bytes, writing = std::move(writing)] { EXPECT_THAT(writing.WriteAll(bytes), IsOk()); });
    EXPECT_EQ(*reading.ReadAll(), bytes);
    writer.join();
  }
}

TEST(FdTest, ASignalInterruptsNeither) {
  auto [reading, writing] = *OsPipe();
  Child writer([&reading = reading, &writing = writing](Steps& step) {
    reading.Close();
    const Alarms alarms(Alarms::kNever);
    step("begin");
    EXPECT_THAT(writing.WriteAll(Much()), IsOk());
  });
  Child reader([&reading = reading, &writing = writing](Steps& step) {
    writing.Close();
    const Alarms alarms(Alarms::kNever);
    step("begin");
    EXPECT_EQ(*reading.Read(1), Much().substr(0, 1));
    EXPECT_EQ(*reading.ReadAll(), Much().substr(1));
  });
  writing.Close();
  reading.Close();
  writer.RunTo("begin");
  reader.RunTo("begin");
  reader.Go();
  EXPECT_TRUE(SleepsOnAfterAlarms(reader));
  writer.Go();
  EXPECT_EQ(reader.Finish(), 0);
  EXPECT_EQ(writer.Finish(), 0);
}

TEST(FdTest, AWriterThatSleepsGoesOnAfterASignal) {
  auto [reading, writing] = *OsPipe();
  Child writer([&reading = reading, &writing = writing](Steps& step) {
    reading.Close();
    const Alarms alarms(Alarms::kNever);
    step("begin");
    EXPECT_THAT(writing.WriteAll(Much()), IsOk());
  });
  writing.Close();
  writer.RunTo("begin");
  writer.Go();
  EXPECT_TRUE(SleepsOnAfterAlarms(writer));
  EXPECT_EQ(*reading.ReadAll(), Much());
  EXPECT_EQ(writer.Finish(), 0);
}

TEST(FdTest, NobodyReadsIsAStatusAndNoSignal) {
  Child writer([] {
    signal(SIGPIPE, SIG_DFL);
    auto [reading, writing] = *OsPipe();
    reading.Close();
    EXPECT_THAT(writing.WriteAll("x"), StatusIs(StatusCode::kUnavailable));
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    close(ends[0]);
    EXPECT_THAT(Fd(ends[1]).WriteAll("x"), StatusIs(StatusCode::kUnavailable));
  });
  EXPECT_EQ(writer.Finish(), 0);
}

TEST(FdTest, SigpipesOfOthersStay) {
  Child writer([] {
    static int handled = 0;
    signal(SIGPIPE, [](int) { ++handled; });
    sigset_t sigpipe;
    sigemptyset(&sigpipe);
    sigaddset(&sigpipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe, nullptr);
    auto [reading, writing] = *OsPipe();
    reading.Close();
    // It stays blocked, and none is left.
    EXPECT_THAT(writing.WriteAll("x"), StatusIs(StatusCode::kUnavailable));
    sigset_t set;
    sigpending(&set);
    EXPECT_EQ(sigismember(&set, SIGPIPE), 0);
    pthread_sigmask(SIG_SETMASK, nullptr, &set);
    EXPECT_EQ(sigismember(&set, SIGPIPE), 1);
    // One that was there before is not taken away.
    raise(SIGPIPE);
    EXPECT_THAT(writing.WriteAll("x"), StatusIs(StatusCode::kUnavailable));
    EXPECT_EQ(handled, 0);
    pthread_sigmask(SIG_UNBLOCK, &sigpipe, nullptr);
    EXPECT_EQ(handled, 1);
    EXPECT_THAT(writing.WriteAll("x"), StatusIs(StatusCode::kUnavailable));
    EXPECT_EQ(handled, 1);
  });
  EXPECT_EQ(writer.Finish(), 0);
}

TEST(FdTest, WithoutADescriptorOrForTheOtherDirectionItIsAStatus) {
  const Fd none;
  EXPECT_THAT(none.Read(), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(none.ReadAll(), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(none.WriteAll("x"), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(none.WriteAll(""), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(none.Flush(), StatusIs(StatusCode::kFailedPrecondition));
  const auto [reading, writing] = *OsPipe();
  EXPECT_THAT(reading.WriteAll("x"), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(writing.Read(), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_THAT(Fd(open("/dev/full", O_WRONLY | O_CLOEXEC)).WriteAll("x"),
              StatusIs(StatusCode::kResourceExhausted));
}

TEST(FdTest, WhatHasADiskIsFlushedToIt) {
  const std::string path = ::testing::TempDir() + "flushed";
  const Fd file(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  ASSERT_THAT(file.WriteAll("x"), IsOk());
  EXPECT_THAT(file.Flush(), IsOk());
  unlink(path.c_str());
  const auto [reading, writing] = *OsPipe();
  EXPECT_THAT(writing.Flush(), IsOk());
}

TEST(OsPipeTest, IsInheritableOnlyIfAskedFor) {
  const auto [reading, writing] = *OsPipe();
  const auto [reading2, writing2] = *OsPipe({.inheritable = true});
  EXPECT_EQ(fcntl(reading.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(writing.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(reading2.get(), F_GETFD), 0);
  EXPECT_EQ(fcntl(writing2.get(), F_GETFD), 0);
}

TEST(OsPipeTest, HasNoneOfTheStandardDescriptors) {
  Child child([] {
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    for (const bool inheritable : {false, true}) {
      const auto [reading, writing] = *OsPipe({.inheritable = inheritable});
      EXPECT_GT(reading.get(), STDERR_FILENO);
      EXPECT_GT(writing.get(), STDERR_FILENO);
      EXPECT_EQ(fcntl(writing.get(), F_GETFD), inheritable ? 0 : FD_CLOEXEC);
      ASSERT_THAT(writing.WriteAll("x"), IsOk());
      EXPECT_EQ(*reading.Read(), "x");
      EXPECT_EQ(fcntl(STDIN_FILENO, F_GETFD), -1);
      EXPECT_EQ(fcntl(STDOUT_FILENO, F_GETFD), -1);
    }
  });
  EXPECT_EQ(child.Finish(), 0);
}

TEST(OsPipeTest, WithoutDescriptorsItIsAStatusAndNothingIsLeft) {
  Child child([] {
    const rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    // Without a matcher: a sanitizer that looks at one needs descriptors.
    auto failure = [] { return OsPipe().status().code(); };
    int last = -1;
    for (int fd = dup(1); fd >= 0; fd = dup(1)) last = fd;
    EXPECT_EQ(failure(), StatusCode::kResourceExhausted);
    close(last);
    EXPECT_EQ(failure(), StatusCode::kResourceExhausted);
    EXPECT_EQ(dup(1), last);
    // Two numbers are left, of which one is for standard input.
    close(last);
    close(STDIN_FILENO);
    EXPECT_EQ(failure(), StatusCode::kResourceExhausted);
    close(last - 1);
    EXPECT_TRUE(OsPipe().ok());
  });
  EXPECT_EQ(child.Finish(), 0);
}

}  // namespace
}  // namespace mp
