// What a process writes is written once, and what it reads is its own.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <iostream>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <streambuf>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/process.h"
#include "mp/process_info.h"
#include "tests/mp/replaced.h"
#include "tests/mp/text_pipe.h"
#include "tests/support/look.h"

namespace mp {
namespace {

using testing::Replaced;
using testing::TextPipe;

// Buffers as a filebuf does after sync_with_stdio(false).
class Buffering : public std::streambuf {
 public:
  explicit Buffering(const TextPipe& said) : said_(said) { setp(text_, text_ + sizeof(text_)); }

 private:
  int sync() override {
    said_.Say({pbase(), static_cast<size_t>(pptr() - pbase())});
    setp(text_, text_ + sizeof(text_));
    return 0;
  }

  const TextPipe& said_;
  char text_[100];
};

TEST(ProcessOutputTest, WhatStdioHasBufferedComesOnce) {
  TextPipe said;
  std::fflush(stdout);
  {
    const Replaced replaced(STDOUT_FILENO, said.writer());
    std::printf("before ");
    Process child([] { std::printf("child "); });
    ASSERT_TRUE(child.Start().ok());
    child.Join();
    std::printf("after");
    std::fflush(stdout);
  }
  EXPECT_EQ(said.ReadAll(), "before child after");
}

TEST(ProcessOutputTest, WhatAFileOfTheProgramHasBufferedComesOnce) {
  TextPipe said;
  FILE* const file = fdopen(dup(said.writer()), "w");
  std::fprintf(file, "before ");
  Process child([file] { std::fprintf(file, "child "); });
  ASSERT_TRUE(child.Start().ok());
  child.Join();
  std::fprintf(file, "after");
  std::fclose(file);
  EXPECT_EQ(said.ReadAll(), "before child after");
}

TEST(ProcessOutputTest, WhatACppStreamHasBufferedComesOnce) {
  TextPipe said;
  Buffering buffer(said);
  for (std::ostream* const stream : {&std::cout, &std::clog}) {
    std::streambuf* const saved = stream->rdbuf(&buffer);
    *stream << "before ";
    Process child([stream] { *stream << "child "; });
    const bool started = child.Start().ok();
    EXPECT_TRUE(started);
    if (started) child.Join();
    *stream << "after ";
    stream->flush();
    stream->rdbuf(saved);
  }
  EXPECT_EQ(said.ReadAll(), "before child after before child after ");
}

TEST(ProcessOutputTest, AStreamThatThrowsDoesNotStopTheStart) {
  class Throwing : public std::streambuf {
    int sync() override { throw std::runtime_error("no"); }
  } buffer;
  std::streambuf* const saved = std::cout.rdbuf(&buffer);
  std::cout.exceptions(std::ios::badbit);
  Process child([] { return 7; });
  const bool started = child.Start().ok();
  std::cout.exceptions(std::ios::goodbit);
  std::cout.clear();
  std::cout.rdbuf(saved);
  ASSERT_TRUE(started);
  child.Join();
  EXPECT_EQ(child.exitcode(), 7);
}

TEST(ProcessOutputTest, AFullDiskDoesNotChangeTheExitCode) {
  std::fflush(stdout);
  Process child([] {
    dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO);
    std::printf("lost");
    std::cout << "lost";
  });
  ASSERT_TRUE(child.Start().ok());
  child.Join();
  EXPECT_EQ(child.exitcode(), 0);
}

TEST(ProcessOutputTest, AClosedStdoutDoesNotChangeTheExitCode) {
  Process child([] {
    std::printf("lost");
    close(STDOUT_FILENO);
  });
  ASSERT_TRUE(child.Start().ok());
  child.Join();
  EXPECT_EQ(child.exitcode(), 0);
}

TEST(ProcessOutputTest, StartDoesNotWaitForAThreadThatReadsStdin) {
  TextPipe input;
  const Replaced replaced(STDIN_FILENO, input.reader());
  std::atomic<pid_t> reader_tid = 0;
  std::thread reader([&reader_tid] {
    reader_tid = gettid();
    while (std::fgetc(stdin) != '\n') {
    }
  });
  while (reader_tid == 0) std::this_thread::yield();
  ASSERT_TRUE(testing::WaitUntilAsleep(reader_tid, {SYS_read}));
  TextPipe said;
  std::fflush(stdout);
  {
    const Replaced stdout_too(STDOUT_FILENO, said.writer());
    std::printf("before ");
    Process child([] { std::printf("child"); });
    ASSERT_TRUE(child.Start().ok());
    child.Join();
  }
  input.Say("\n");
  reader.join();
  EXPECT_EQ(said.ReadAll(), "before child");
}

// A thread that waits for a line in a file that is not stdin.
struct WaitingReader {
  explicit WaitingReader(const TextPipe& input) : file(fdopen(dup(input.reader()), "r")) {
    std::atomic<pid_t> tid = 0;
    thread = std::thread([this, &tid] {
      tid = gettid();
      while (std::fgetc(file) != '\n') {
      }
    });
    while (tid == 0) std::this_thread::yield();
    EXPECT_TRUE(testing::WaitUntilAsleep(tid, {SYS_read}));
  }

  FILE* const file;
  std::thread thread;
};

TEST(ProcessOutputTest, StartDoesNotWaitForAThreadThatReadsAFile) {
  TextPipe input;
  WaitingReader reader(input);
  TextPipe said;
  FILE* const own = fdopen(dup(said.writer()), "w");
  std::fputs("before ", own);
  Process child([own] { std::fputs("child", own); });
  ASSERT_TRUE(child.Start().ok());
  child.Join();
  input.Say("\n");
  reader.thread.join();
  std::fclose(reader.file);
  std::fclose(own);
  EXPECT_EQ(said.ReadAll(), "before child");
}

TEST(ProcessOutputTest, AChildEndsWhileAThreadOfItsReadsAFile) {
  TextPipe input;
  TextPipe said;
  Process child([&] {
    new WaitingReader(input);
    std::fputs("child", fdopen(dup(said.writer()), "w"));
  });
  ASSERT_TRUE(child.Start().ok());
  const bool ended = child.Join(absl::Seconds(20));
  input.Say("\n");
  child.Join();
  EXPECT_TRUE(ended);
  EXPECT_EQ(said.ReadAll(), "child");
}

// Input -------------------------------------------------------------------------------

TEST(ProcessOutputTest, AChildReadsNothingOfItsParentsInput) {
  TextPipe input;
  input.Say("first\nsecond\n");
  const Replaced replaced(STDIN_FILENO, input.reader());
  char line[20];
  ASSERT_EQ(std::fgets(line, sizeof(line), stdin), line);
  EXPECT_STREQ(line, "first\n");  // stdio has read ahead
  Process child([] {
    char byte;
    return std::fgetc(stdin) == EOF && read(STDIN_FILENO, &byte, 1) == 0 ? 0 : 1;
  });
  ASSERT_TRUE(child.Start().ok());
  child.Join();
  EXPECT_EQ(child.exitcode(), 0);
  ASSERT_EQ(std::fgets(line, sizeof(line), stdin), line);
  EXPECT_STREQ(line, "second\n");
}

TEST(ProcessOutputTest, AProgramWithoutStandardDescriptorsCanStart) {
  Process program([] {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) close(fd);
    Process child({.daemon = true}, [] { return ParentProcess()->IsAlive() ? 6 : 1; });
    if (!child.Start().ok()) return 1;
    child.Join();
    return child.exitcode().value_or(2);
  });
  ASSERT_TRUE(program.Start().ok());
  program.Join();
  EXPECT_EQ(program.exitcode(), 6);
}

// What a failure says -------------------------------------------------------------------

struct Failure {
  std::optional<int> code;
  std::string words;
};

template <class F>
Failure Fail(F target) {
  TextPipe said;
  Process child({.name = "worker"}, [&] {
    said.Take(STDERR_FILENO);
    return target();
  });
  EXPECT_TRUE(child.Start().ok());
  child.Join();
  return {child.exitcode(), said.ReadAll()};
}

TEST(ProcessOutputTest, AnExceptionIsToldWithTheProcessAndItsType) {
  const Failure failure = Fail([] { throw std::runtime_error("no more tea"); });
  EXPECT_EQ(failure.code, 1);
  EXPECT_EQ(failure.words, "Process worker: no more tea (std::runtime_error)\n");
}

TEST(ProcessOutputTest, AnExceptionOfAnotherKindIsToldByItsType) {
  const Failure failure = Fail([] { throw 5; });
  EXPECT_EQ(failure.code, 1);
  EXPECT_EQ(failure.words, "Process worker: threw a int\n");
}

TEST(ProcessOutputTest, AStatusThatIsNotOkIsTold) {
  const Failure failure = Fail([]() -> absl::Status { return absl::NotFoundError("no tea"); });
  EXPECT_EQ(failure.code, 1);
  EXPECT_EQ(failure.words, "Process worker: NOT_FOUND: no tea\n");
}

TEST(ProcessOutputTest, AStatusThatIsOkSaysNothing) {
  const Failure failure = Fail([] { return absl::OkStatus(); });
  EXPECT_EQ(failure.code, 0);
  EXPECT_EQ(failure.words, "");
}

TEST(ProcessOutputTest, WhatWasPrintedComesBeforeTheFailure) {
  const Failure failure = Fail([]() -> int {
    dup2(STDERR_FILENO, STDOUT_FILENO);
    std::printf("printed\n");
    throw std::logic_error("then");
  });
  EXPECT_EQ(failure.words, "printed\nProcess worker: then (std::logic_error)\n");
}

}  // namespace
}  // namespace mp
