// A process is killed at every instruction of sending and receiving descriptors.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/fd.h"
#include "mp/pipe.h"
#include "shared/inspect.h"
#include "shared/internal/wait.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/inherited.h"

namespace mp {
namespace {

using testing::CrashCase;
using testing::CrashOptions;
using testing::CrashReport;
using testing::Inherited;
using testing::RunCrashSweep;
using testing::Settle;

using Numbered = std::pair<int, Fd>;
using NumberedEnd = std::pair<int, Connection>;

// How far the victim came.
struct Seen {
  volatile int begun = 0;
  volatile int done = 0;
};

// A pipe of the kernel's, which learns when nobody has `in` any more.
struct Plain {
  Plain() {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) return;
    out = Fd(fds[0]);
    in = Fd(fds[1]);
  }
  bool AtItsEnd() const {
    char byte;
    return read(out.get(), &byte, 1) == 0;
  }

  Fd out;
  Fd in;
};

class PipeDescriptorCrashTest : public ::testing::Test {
 protected:
  // Messages 0, 1 ... with a descriptor each, that are in it.
  void SetUpPoint(int messages) {
    receiving_.reset();
    sending_.reset();
    end_.reset();
    other_.reset();
    Settle();
    internal::LaneForNotes();
    const size_t in_use = Stats().in_use;
    if (before_.has_value()) {
      EXPECT_EQ(in_use, *before_);
    }
    before_ = in_use;
    absl::StatusOr<std::pair<Connection, Connection>> pipe = CreatePipe({.duplex = false});
    ASSERT_TRUE(pipe.ok()) << pipe.status();
    receiving_.emplace(pipe->first);
    sending_.emplace(pipe->second);
    absl::StatusOr<std::pair<Connection, Connection>> more = CreatePipe({.duplex = false});
    ASSERT_TRUE(more.ok()) << more.status();
    other_.emplace(more->first);
    end_.emplace(more->second);
    plain_.emplace();
    for (int i = 0; i < messages; ++i) ASSERT_TRUE(Send(i));
    *seen_ = Seen();
  }
  CrashCase Case(const std::string& name, int messages) {
    CrashCase crash;
    crash.name = absl::StrCat("pipe: ", name, ", behind ", messages);
    crash.set_up = [this, messages] { SetUpPoint(messages); };
    crash.prepare = [] { TouchAll(); };
    return crash;
  }
  // So that nothing in the operation happens for the first time.
  static void TouchAll() {
    const auto [end, other] = Pipe();
    const auto [one, two] = Pipe();
    (void)end.Send(Numbered(1, dup(STDIN_FILENO)));
    (void)other.Recv<Numbered>();
    (void)end.Send(NumberedEnd(1, one));
    (void)other.Recv<NumberedEnd>();
    (void)other.Recv<Numbered>(absl::ZeroDuration());
  }
  static void Sweep(const CrashCase& crash) {
    CrashOptions options;
    options.sample = std::min(options.sample, size_t{50});  // each takes its time
    const CrashReport report = RunCrashSweep(crash, options);
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }

  // Its descriptor is that of a file of which `number` is the offset.
  bool Send(int number) const {
    const int file = memfd_create("numbered", MFD_CLOEXEC);
    lseek(file, number, SEEK_SET);
    return sending_->Send(Numbered(number, file)).ok();
  }
  // Of those in it, from `first` on; at least `least`, at most `most` in all.
  std::string Check(int first, int least, int most) const {
    constexpr int kLast = 1'000'000;
    if (!Send(kLast)) return "nothing can be sent any more";
    int next = first;
    for (;; ++next) {
      const absl::StatusOr<Numbered> message = receiving_->Recv<Numbered>(absl::ZeroDuration());
      if (!message.ok()) return absl::StrCat("a message is lost: ", message.status().ToString());
      if (lseek(message->second.get(), 0, SEEK_CUR) != message->first) {
        return absl::StrCat("message ", message->first, " has another's descriptor");
      }
      if (message->first == kLast) break;
      if (message->first != next) return absl::StrCat("instead of message ", next, " another");
    }
    if (next < least) return absl::StrCat("there are ", next, " messages, and were ", least);
    if (next > most) return absl::StrCat("there are ", next, " messages, but at most ", most);
    return std::string(mp::Check().message());
  }

  std::optional<Connection> receiving_;
  std::optional<Connection> sending_;
  std::optional<Connection> other_;  // of one whose other end is sent
  std::optional<Connection> end_;
  std::optional<Plain> plain_;
  std::optional<size_t> before_;
  Inherited<Seen> seen_;
};

TEST_F(PipeDescriptorCrashTest, ASendIsAllOrNothing) {
  for (const int messages : {0, 2}) {
    CrashCase crash = Case("a descriptor is sent", messages);
    crash.operation = [this, messages] {
      seen_->begun = 1;
      (void)Send(messages);
      seen_->done = 1;
    };
    crash.check = [this, messages] {
      return Check(0, messages + seen_->done, messages + seen_->begun);
    };
    Sweep(crash);
  }
}

TEST_F(PipeDescriptorCrashTest, AReceiveIsAllOrNothing) {
  CrashCase crash = Case("a descriptor is received", 3);
  crash.operation = [this] {
    seen_->begun = 1;
    (void)receiving_->Recv<Numbered>();
    seen_->done = 1;
  };
  crash.check = [this]() -> std::string {
    const absl::StatusOr<Numbered> first = receiving_->Recv<Numbered>(absl::ZeroDuration());
    if (!first.ok()) return "nothing is left";
    if (lseek(first->second.get(), 0, SEEK_CUR) != first->first) return "another's descriptor";
    const bool gone = first->first == 1;
    if (!gone && first->first != 0) return "the first is another";
    if (gone && seen_->begun == 0) return "gone, and nobody has taken it";
    if (!gone && seen_->done != 0) return "there, and somebody has taken it";
    return Check(gone ? 2 : 1, 3, 3);
  };
  Sweep(crash);
}

// Nothing is sent after the victim's: a look is all.
TEST_F(PipeDescriptorCrashTest, WhatTheDeadSentIsClosed) {
  CrashCase send = Case("a descriptor is sent, and nothing else", 0);
  send.operation = [this] { (void)sending_->Send(plain_->in); };
  send.unblock = [this] { plain_->in.Close(); };  // in the parent of all
  send.check = [this]() -> std::string {
    plain_->in.Close();
    const absl::StatusOr<Fd> fd = receiving_->Recv<Fd>(absl::ZeroDuration());
    if (fd.ok()) return "";
    return plain_->AtItsEnd() ? "" : "a file that nobody has is open";
  };
  Sweep(send);

  CrashCase receive = Case("a descriptor is received, and nothing else", 0);
  receive.set_up = [this] {
    SetUpPoint(0);
    ASSERT_TRUE(sending_->Send(plain_->in).ok());
    plain_->in.Close();
  };
  receive.operation = [this] { (void)receiving_->Recv<Fd>(); };
  receive.check = [this]() -> std::string {
    if (receiving_->Recv<Fd>(absl::ZeroDuration()).ok()) return "";
    return plain_->AtItsEnd() ? "" : "a file that nobody has is open";
  };
  Sweep(receive);
}

// Nobody so much as looks: who sleeps sees to it, or has received it.
TEST_F(PipeDescriptorCrashTest, WhatTheDeadSentIsClosedByWhoWaits) {
  CrashCase crash = Case("a descriptor is sent, and somebody waits", 0);
  crash.operation = [this] { (void)sending_->Send(plain_->in); };
  crash.unblock = [this] { plain_->in.Close(); };  // in the parent of all
  crash.sleeper = [this] {
    plain_->in.Close();
    const int fd = receiving_->Recv<Fd>().value().release();
    close(fd);
  };
  crash.check = [this]() -> std::string {
    plain_->in.Close();
    pollfd end = {.fd = plain_->out.get(), .events = 0, .revents = 0};
    poll(&end, 1, -1);  // until nobody has it
    return sending_->Send(Fd()).ok() ? "" : "nothing can be sent any more";
  };
  Sweep(crash);
}

TEST_F(PipeDescriptorCrashTest, WhoSleepsForADescriptorIsWoken) {
  CrashCase crash = Case("a descriptor is sent, and somebody waits for it", 0);
  crash.operation = [this] { (void)Send(0); };
  crash.sleeper = [this] { (void)receiving_->Recv<Numbered>(); };
  // Where the victim's is there, the sleeper is to find it, or has.
  crash.check = [this]() -> std::string {
    if (*receiving_->Poll()) return "";
    return Send(1) ? "" : "nothing can be sent any more";
  };
  Sweep(crash);
}

TEST_F(PipeDescriptorCrashTest, AConnectionIsSentOrNot) {
  CrashCase crash = Case("a Connection goes through", 0);
  crash.operation = [this] {
    (void)sending_->Send(NumberedEnd(0, *end_));
    (void)receiving_->Recv<NumberedEnd>();
    (void)sending_->Send(NumberedEnd(1, *end_));
    seen_->done = 1;
  };
  crash.check = [this]() -> std::string {
    const absl::StatusOr<NumberedEnd> got = receiving_->Recv<NumberedEnd>(absl::ZeroDuration());
    if (!got.ok() && seen_->done != 0) return got.status().ToString();
    if (got.ok()) {
      if (!got->second.Send(7).ok()) return "what arrived does not send";
      const absl::StatusOr<int> seven = other_->Recv<int>(absl::ZeroDuration());
      if (!seven.ok() || *seven != 7) return "what arrived leads elsewhere";
    }
    return Check(0, 0, 0);
  };
  Sweep(crash);
}

}  // namespace
}  // namespace mp
