#include "tests/support/child.h"

#include <fcntl.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <exception>
#include <string>

#include "tests/support/fork.h"
#include "tests/support/look.h"
#include "tests/support/settings.h"
#include "tests/support/watchdog.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

namespace mp::testing {
namespace {

// A message on the channel, a SOCK_SEQPACKET pair. To the parent: kStep and the
// name; kFailure, the line, a space, the file, a newline, the text. To the
// child: kGo.
constexpr char kStep = 'S';
constexpr char kFailure = 'F';
constexpr char kGo = 'G';
constexpr size_t kMessageLimit = size_t{16} * 1024;

void Send(int channel, std::string_view message) {
  while (send(channel, message.data(), message.size(), MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

// Sends each failure to the parent at once, so that what was said before a
// crash is not lost.
class Reporter : public ::testing::ScopedFakeTestPartResultReporter {
 public:
  Reporter(InterceptMode mode, int channel, bool& failed)
      : ScopedFakeTestPartResultReporter(mode, &unused_), channel_(channel), failed_(failed) {}

  void ReportTestPartResult(const ::testing::TestPartResult& result) override {
    if (!result.failed()) return;
    failed_ = true;
    const char* file = result.file_name() == nullptr ? "" : result.file_name();
    std::string message =
        kFailure + std::to_string(result.line_number()) + " " + file + "\n" + result.message();
    message.resize(std::min(message.size(), kMessageLimit));
    Send(channel_, message);
  }

 private:
  ::testing::TestPartResultArray unused_;
  const int channel_;
  bool& failed_;
};

void FailAsChildDid(pid_t pid, std::string_view message) {
  const size_t name = message.find(' ');
  const size_t text = message.find('\n');
  if (name == std::string_view::npos || text == std::string_view::npos) return;
  const int line = atoi(std::string(message.substr(0, name)).c_str());
  const std::string file(message.substr(name + 1, text - name - 1));
  ADD_FAILURE_AT(file.empty() ? "child" : file.c_str(), line)
      << "In child " << pid << ": " << message.substr(text + 1);
}

int RunReporting(const std::function<int()>& body) {
  try {
    return body();
  } catch (const std::exception& e) {
    ADD_FAILURE() << "the body threw: " << e.what();
  } catch (...) {
    ADD_FAILURE() << "the body threw";
  }
  return kThrew;
}

}  // namespace

void Steps::operator()(std::string_view step) {
  std::string message(1, kStep);
  message += step;
  Send(channel_, message);
  char answer = 0;
  ssize_t n = 0;
  while ((n = recv(channel_, &answer, 1, 0)) < 0 && errno == EINTR) {
  }
  // A parent that is gone has taken us along; one that closed the channel does
  // not want more of us.
  if (n != 1 || answer != kGo) _exit(0);
}

Child::Child(Tag, const Main& main) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    perror("test child: socketpair");
    abort();
  }
  fflush(stdout);  // so that the child's own flush does not repeat it
  pid_ = ForkMortal([&] {
    close(ends[0]);
    RunInChild(ends[1], main);
  });
  close(ends[1]);
  channel_ = ends[0];
  pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  if (pidfd_ < 0) {
    perror("test child: pidfd_open");
    abort();
  }
}

void Child::RunInChild(int channel, const Main& main) {
  bool failed = false;
  Steps steps(channel);
  // Both, since the test may itself catch the failures of its thread.
  const Reporter all(Reporter::INTERCEPT_ALL_THREADS, channel, failed);
  const Reporter own(Reporter::INTERCEPT_ONLY_CURRENT_THREAD, channel, failed);
  const int code = RunReporting([&] { return main(steps); });
  fflush(stdout);
  _exit(code == 0 && failed ? 1 : code);
}

Child::~Child() {
  if (!reaped_) Kill();
  close(channel_);
  close(pidfd_);
}

bool Child::RunTo(std::string_view step) {
  Go();
  for (;;) {
    switch (NextEvent(HangLimit())) {
      case Event::kStep:
        if (step_ == step) return true;
        Go();
        break;
      case Event::kEnd:
        ADD_FAILURE() << "child " << pid_ << " ended (" << exitcode_ << ") before its step \""
                      << step << "\"";
        return false;
      case Event::kLate:
        ADD_FAILURE() << "child did not come to its step \"" << step << "\": " << Describe();
        return false;
    }
  }
}

void Child::Go() {
  if (!standing_) return;
  standing_ = false;
  Send(channel_, std::string_view(&kGo, 1));
}

bool Child::WaitUntilAsleep() {
  const bool asleep = mp::testing::WaitUntilAsleep(pid_);
  // What it said before it fell asleep is here by now.
  switch (NextEvent(std::chrono::milliseconds(0))) {
    case Event::kStep:
      ADD_FAILURE() << "child " << pid_ << " is to sleep, but came to its step \"" << step_ << "\"";
      return false;
    case Event::kEnd:
      ADD_FAILURE() << "child " << pid_ << " is to sleep, but ended: " << exitcode_;
      return false;
    case Event::kLate:
      break;
  }
  if (!asleep) ADD_FAILURE() << "child does not fall asleep: " << Describe();
  return asleep;
}

int Child::Finish() {
  while (!reaped_) {
    Go();
    if (NextEvent(HangLimit()) == Event::kLate) {
      ADD_FAILURE() << "child does not end: " << Describe();
      Kill();
    }
  }
  return exitcode_;
}

void Child::Kill(int signal) {
  if (reaped_) return;
  kill(pid_, signal);
  if (signal != SIGKILL) {
    Finish();
    return;
  }
  Reap();
}

void Child::Stop() {
  if (reaped_) return;
  kill(pid_, SIGSTOP);
  siginfo_t info = {};
  while (waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WEXITED | WNOWAIT) < 0 &&
         errno == EINTR) {
  }
}

void Child::Continue() {
  if (!reaped_) kill(pid_, SIGCONT);
}

bool Child::Running() {
  if (reaped_) return false;
  pollfd end = {pidfd_, POLLIN, 0};
  return poll(&end, 1, 0) == 0;
}

// The next step or the end, reporting failures on the way. Everything that the
// child said comes before its end.
Child::Event Child::NextEvent(std::chrono::milliseconds limit) {
  if (reaped_) return Event::kEnd;
  if (standing_) return Event::kStep;
  const bool for_ever = limit == HangLimit() && limit.count() == 0;
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(
        start + limit - std::chrono::steady_clock::now());
    pollfd fds[2] = {{channel_, POLLIN, 0}, {pidfd_, POLLIN, 0}};
    const int timeout = for_ever ? -1 : std::clamp<int>(static_cast<int>(left.count()), 0, INT_MAX);
    const int n = poll(fds, 2, timeout);
    if (n < 0) continue;  // EINTR
    if (n == 0) return Event::kLate;
    if ((fds[1].revents & POLLIN) != 0) {
      Reap();
      return Event::kEnd;
    }
    if (!Receive()) {
      // It closed its end but lives: only its death can follow.
      poll(&fds[1], 1, timeout);
    } else if (standing_) {
      return Event::kStep;
    }
  }
}

// Takes one message without waiting; false if there is none.
bool Child::Receive() {
  static thread_local char message[kMessageLimit];
  const ssize_t n = recv(channel_, message, sizeof(message), MSG_DONTWAIT);
  if (n <= 0) return false;
  PetWatchdog();
  const std::string_view rest(message + 1, static_cast<size_t>(n) - 1);
  if (message[0] == kStep) {
    step_ = rest;
    standing_ = true;
  } else if (message[0] == kFailure) {
    FailAsChildDid(pid_, rest);
  }
  return true;
}

void Child::Reap() {
  int status = 0;
  while (waitpid(pid_, &status, __WALL) < 0 && errno == EINTR) {
  }
  reaped_ = true;
  exitcode_ = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  while (Receive()) {
  }
  standing_ = false;
}

std::string Child::Describe() const {
  return DescribeProcess(pid_) +
         (step_.empty() ? ", no step yet" : ", last step \"" + step_ + "\"");
}

}  // namespace mp::testing
