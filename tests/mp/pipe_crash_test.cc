// A process is killed at every instruction of what can be done with a pipe.

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/pipe.h"
#include "shared/inspect.h"
#include "shared/internal/wait.h"
#include "sync/value.h"
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

constexpr size_t kShort = 40;
constexpr size_t kFull = 1500;    // of which one is all that there is room for, see kNarrow
constexpr size_t kLong = 20'000;  // in a block
constexpr size_t kWide = size_t{1} << 20;
constexpr size_t kNarrow = 2048;

std::string Message(size_t size, uint64_t seed) {
  std::string message(size, '\0');
  for (char& c : message) c = static_cast<char>((seed = seed * 6364136223846793005 + 1) >> 56);
  return message;
}

// How far the victim came.
struct Seen {
  volatile int begun = 0;
  volatile int done = 0;
};

// Of what spins for a while, never twice as long: each takes its time.
constexpr size_t kFew = 20;

class PipeCrashTest : public ::testing::Test {
 protected:
  // Messages 0, 1 ... of `size` that are in it.
  void SetUpPoint(int messages, size_t size, size_t capacity) {
    receiving_.reset();
    sending_.reset();
    Settle();
    internal::LaneForNotes();
    // What a victim left, whoever looked after it, is gone with its pipe.
    const size_t in_use = Stats().in_use;
    if (before_.has_value()) {
      EXPECT_EQ(in_use, *before_);
    }
    before_ = in_use;
    absl::StatusOr<std::pair<Connection, Connection>> pipe =
        CreatePipe({.duplex = false, .capacity = capacity});
    ASSERT_TRUE(pipe.ok()) << pipe.status();
    receiving_.emplace(pipe->first);
    sending_.emplace(pipe->second);
    for (int i = 0; i < messages; ++i) {
      ASSERT_TRUE(sending_->SendBytes(Message(size, i)).ok());
    }
    *seen_ = Seen();
  }
  CrashCase Case(const std::string& name, int messages, size_t size, size_t capacity = kWide) {
    CrashCase crash;
    crash.name = absl::StrCat("pipe: ", name, ", ", size, " bytes");
    crash.set_up = [this, messages, size, capacity] { SetUpPoint(messages, size, capacity); };
    crash.prepare = [] { TouchAll(); };
    return crash;
  }
  // So that nothing in the operation happens for the first time.
  static void TouchAll() {
    const auto [end, other] = Pipe();
    for (const size_t size : {kShort, kLong}) {
      (void)end.SendBytes(Message(size, 0));
      (void)other.RecvBytes();
    }
    (void)other.RecvBytes(absl::ZeroDuration());
    (void)other.RecvBytes(absl::Microseconds(100));
  }
  // `most`: points, where it is no full sweep.
  static void Sweep(const CrashCase& crash, bool sleeps = false, size_t most = 200) {
    CrashOptions options;
    options.sample = std::min(options.sample, most);
    const CrashReport report = RunCrashSweep(crash, options);
    EXPECT_TRUE(report.Clean()) << report.Summary();
    if (sleeps) {
      EXPECT_GT(report.sleeps, 0u);
    }
  }

  // Of those in it, from `first` on, up to the victim's; and one more that is sent then. At least
  // `least`, at most `most` in all.
  std::string Check(int first, int least, int most, size_t size) {
    const std::string last = Message(size, 1'000'000);
    if (!sending_->SendBytes(last).ok()) return "nothing can be sent any more";
    int next = first;
    for (;; ++next) {
      const absl::StatusOr<std::string> message = receiving_->RecvBytes(absl::ZeroDuration());
      if (!message.ok())
        return absl::StrCat("the last message is lost: ", message.status().ToString());
      if (*message == last) break;
      if (*message != Message(size, next))
        return absl::StrCat("instead of message ", next, " another");
    }
    if (next < least) return absl::StrCat("there are ", next, " messages, and were ", least);
    if (next > most) return absl::StrCat("there are ", next, " messages, but at most ", most);
    if (*receiving_->Poll()) return "what is empty says that it is not";
    return std::string(mp::Check().message());
  }

  // Where the victim's is there, the sleeper is to find it, or has.
  std::string SendUnlessThere(size_t size) {
    if (*receiving_->Poll()) return "";
    return sending_->SendBytes(Message(size, 1)).ok() ? "" : "nothing can be sent any more";
  }

  std::optional<Connection> receiving_;
  std::optional<Connection> sending_;
  std::optional<size_t> before_;
  Inherited<Seen> seen_;
};

TEST_F(PipeCrashTest, ASendIsAllOrNothing) {
  for (const size_t size : {kShort, kLong}) {
    for (const int messages : {0, 3}) {
      CrashCase crash = Case(absl::StrCat("a send behind ", messages), messages, size);
      crash.operation = [this, message = Message(size, messages)] {
        seen_->begun = 1;
        (void)sending_->SendBytes(message);
        seen_->done = 1;
      };
      crash.check = [this, messages, size] {
        return Check(0, messages + seen_->done, messages + seen_->begun, size);
      };
      Sweep(crash);
    }
  }
}

TEST_F(PipeCrashTest, AReceiveIsAllOrNothing) {
  for (const size_t size : {kShort, kLong}) {
    CrashCase crash = Case("a receive", 3, size);
    crash.operation = [this] {
      seen_->begun = 1;
      (void)receiving_->RecvBytes();
      seen_->done = 1;
    };
    crash.check = [this, size]() -> std::string {
      const absl::StatusOr<std::string> first = receiving_->RecvBytes(absl::ZeroDuration());
      if (!first.ok()) return "nothing is left";
      const bool gone = *first == Message(size, 1);
      if (!gone && *first != Message(size, 0)) return "the first is another";
      if (gone && seen_->begun == 0) return "gone, and nobody has taken it";
      if (!gone && seen_->done != 0) return "there, and somebody has taken it";
      return Check(gone ? 2 : 1, 3, 3, size);
    };
    Sweep(crash);
  }
}

// Its stakes come back with the death, or are the message's, or the receiver's.
TEST_F(PipeCrashTest, HandlesAreWithTheMessage) {
  CrashCase crash = Case("a handle goes through", 0, kShort);
  crash.prepare = [] {
    TouchAll();
    const auto [end, other] = Pipe();
    (void)end.Send(Value<int>(1));
    (void)other.Recv<Value<int>>();
  };
  crash.operation = [this] {
    const Value<int> value(5);
    (void)sending_->Send(value);
    (void)receiving_->Recv<Value<int>>();
    (void)sending_->Send(value);
    seen_->done = 1;
  };
  crash.check = [this]() -> std::string {
    const absl::StatusOr<Value<int>> value = receiving_->Recv<Value<int>>(absl::ZeroDuration());
    if (value.ok() && value->Get() != 5) return "another value";
    if (!value.ok() && seen_->done != 0) return value.status().ToString();
    return Check(0, 0, 0, kShort);
  };
  Sweep(crash);
}

TEST_F(PipeCrashTest, WhoSleepsForAMessageIsWoken) {
  for (const size_t size : {kShort, kLong}) {
    CrashCase crash = Case("a send, and somebody waits for it", 0, size);
    crash.operation = [this, message = Message(size, 0)] { (void)sending_->SendBytes(message); };
    crash.sleeper = [this] { (void)receiving_->RecvBytes(); };
    crash.check = [this, size] { return SendUnlessThere(size); };
    Sweep(crash);
  }
}

TEST_F(PipeCrashTest, WhoSleepsForRoomIsWoken) {
  for (const size_t size : {kFull, kLong}) {
    CrashCase crash = Case("a receive, and somebody waits for room", 1, size, kNarrow);
    crash.operation = [this] { (void)receiving_->RecvBytes(); };
    crash.sleeper = [this, size] { (void)sending_->SendBytes(Message(size, 1)); };
    crash.check = [this]() -> std::string {
      // Where the victim has taken it, the sleeper has room, and is to know.
      if (!*receiving_->Poll()) return "";
      return receiving_->RecvBytes().ok() ? "" : "nothing can be received any more";
    };
    Sweep(crash);
  }
}

// Another one sleeps behind the victim.
TEST_F(PipeCrashTest, WhoQueuesBehindADeadSleeperIsWoken) {
  CrashCase receive = Case("two wait for a message", 0, kShort);
  receive.operation = [this] { (void)receiving_->RecvBytes(); };
  receive.sleeper = [this] { (void)receiving_->RecvBytes(); };
  receive.sleeper_queues_behind = true;
  receive.unblock = [this] { (void)sending_->SendBytes(Message(kShort, 0)); };
  receive.check = [this]() -> std::string {
    return sending_->SendBytes(Message(kShort, 1)).ok() ? "" : "nothing can be sent any more";
  };
  Sweep(receive, /*sleeps=*/true);

  CrashCase send = Case("two wait for room", 1, kFull, kNarrow);
  send.operation = [this, message = Message(kFull, 1)] { (void)sending_->SendBytes(message); };
  send.sleeper = [this] { (void)sending_->SendBytes(Message(kFull, 1)); };
  send.sleeper_queues_behind = true;
  send.unblock = [this] { (void)receiving_->RecvBytes(); };
  send.check = [this]() -> std::string {
    // The victim's, or the sleeper's, if that has come so far.
    (void)receiving_->RecvBytes(absl::ZeroDuration());
    return "";
  };
  Sweep(send, /*sleeps=*/true);
}

TEST_F(PipeCrashTest, ATimeoutIsSafe) {
  CrashCase receive = Case("a receive in vain", 0, kShort);
  receive.operation = [this] { (void)receiving_->RecvBytes(absl::Milliseconds(1)); };
  receive.check = [this] { return Check(0, 0, 0, kShort); };
  Sweep(receive, /*sleeps=*/false, kFew);
  CrashCase send = Case("a send in vain", 1, kLong, kNarrow);
  send.operation = [this, message = Message(kLong, 1)] {
    (void)sending_->SendBytes(message, 0, {}, absl::Milliseconds(1));
  };
  send.check = [this]() -> std::string {
    const absl::StatusOr<std::string> message = receiving_->RecvBytes();
    if (!message.ok() || *message != Message(kLong, 0)) return "another message";
    return Check(1, 0, 1, kLong);
  };
  Sweep(send, /*sleeps=*/false, kFew);
}

// The sleeper's poll(2) is its own.
TEST_F(PipeCrashTest, WhoWaitsByDescriptorIsCalled) {
  auto wait_for_one = [this] {
    sending_->Close();
    const int fd = receiving_->fileno().value();
    for (;;) {
      pollfd one = {.fd = fd, .events = POLLIN, .revents = 0};
      poll(&one, 1, -1);
      const absl::StatusOr<std::string> message = receiving_->RecvBytes(absl::ZeroDuration());
      if (message.ok() || !absl::IsDeadlineExceeded(message.status())) return;
    }
  };
  for (const size_t size : {kShort, kLong}) {
    CrashCase send = Case("a send, and somebody polls", 0, size);
    send.operation = [this, message = Message(size, 0)] { (void)sending_->SendBytes(message); };
    send.sleeper = wait_for_one;
    send.check = [this, size] { return SendUnlessThere(size); };
    Sweep(send);
  }
  // Of one who takes what it has sent, and another one that it has not got.
  CrashCase take = Case("a send and receives, and somebody polls", 0, kShort);
  take.operation = [this, message = Message(kShort, 0)] {
    (void)sending_->SendBytes(message);
    (void)receiving_->RecvBytes(absl::ZeroDuration());
    (void)receiving_->RecvBytes(absl::ZeroDuration());
  };
  take.sleeper = wait_for_one;
  take.check = [this]() -> std::string {
    return sending_->SendBytes(Message(kShort, 1)).ok() ? "" : "nothing can be sent any more";
  };
  Sweep(take, /*sleeps=*/false, kFew);
}

// Of one who polls later.
TEST_F(PipeCrashTest, WhoeverTookTheLastTheNextIsTold) {
  CrashCase crash = Case("the last is taken, and somebody has a descriptor", 0, kShort);
  crash.set_up = [this] {
    SetUpPoint(0, kShort, kWide);
    ASSERT_TRUE(receiving_->fileno().ok());
    ASSERT_TRUE(sending_->SendBytes(Message(kShort, 0)).ok());
  };
  crash.operation = [this] { (void)receiving_->RecvBytes(); };
  crash.check = [this]() -> std::string {
    if (!sending_->SendBytes(Message(kShort, 1)).ok()) return "nothing can be sent any more";
    pollfd one = {.fd = receiving_->fileno().value(), .events = POLLIN, .revents = 0};
    return poll(&one, 1, 0) == 1 ? "" : "there is a message, and nobody is told";
  };
  Sweep(crash);
}

TEST_F(PipeCrashTest, WhoAsksForADescriptorHidesNothing) {
  for (const int messages : {0, 1}) {
    CrashCase crash = Case(absl::StrCat("fileno() behind ", messages), messages, kShort);
    crash.operation = [this] { (void)receiving_->fileno(); };
    crash.check = [this, messages]() -> std::string {
      const int fd = receiving_->fileno().value();
      pollfd one = {.fd = fd, .events = POLLIN, .revents = 0};
      if (messages != 0 && poll(&one, 1, 0) != 1) return "there is a message, and nobody is told";
      return Check(0, messages, messages, kShort);
    };
    Sweep(crash);
  }
}

// The others have their own.
TEST_F(PipeCrashTest, AnEndIsClosedOrNot) {
  CrashCase crash = Case("both ends are closed", 1, kShort);
  crash.operation = [this] {
    sending_->Close();
    receiving_->Close();
  };
  crash.check = [this] { return Check(0, 1, 1, kShort); };
  Sweep(crash);
}

// The last one that could send dies with what it was sending, or closes, or dies after that.
TEST_F(PipeCrashTest, WhoSleepsLearnsOfTheEnd) {
  for (const size_t size : {kShort, kLong}) {
    CrashCase crash = Case("the end", 0, size);
    crash.prepare = [this] {
      TouchAll();
      receiving_->Close();
    };
    crash.operation = [this, message = Message(size, 0)] {
      (void)sending_->SendBytes(message);
      sending_->Close();
    };
    crash.sleeper = [this] {
      sending_->Close();
      while (!absl::IsOutOfRange(receiving_->RecvBytes().status())) {
      }
    };
    crash.unblock = [this] { sending_->Close(); };  // in the parent of all
    crash.check = [this]() -> std::string {
      sending_->Close();
      return "";
    };
    Sweep(crash);
  }
}

// The same of the last one that could receive.
TEST_F(PipeCrashTest, WhoSleepsForRoomLearnsThatNobodyIsLeft) {
  for (const size_t size : {kFull, kLong}) {
    CrashCase crash = Case("nobody is left", 1, size, kNarrow);
    crash.prepare = [this] {
      TouchAll();
      sending_->Close();
    };
    crash.operation = [this] {
      (void)receiving_->RecvBytes();
      receiving_->Close();
    };
    crash.sleeper = [this, message = Message(size, 1)] {
      receiving_->Close();
      while (!absl::IsUnavailable(sending_->SendBytes(message))) {
      }
    };
    crash.unblock = [this] { receiving_->Close(); };
    crash.check = [this]() -> std::string {
      receiving_->Close();
      return "";
    };
    Sweep(crash);
  }
}

}  // namespace
}  // namespace mp
