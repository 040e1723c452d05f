// Descriptors and Connections that go through a pipe: CPython's test_fd_transfer and its kin, and
// TestPicklingConnections.

#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/fd.h"
#include "mp/pipe.h"
#include "mp/queue.h"
#include "shared/inspect.h"
#include "sync/value.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/status_matchers.h"

namespace mp {
namespace {

using absl::StatusCode;
using testing::Child;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::Settle;
using testing::StatusIs;
using testing::Steps;

constexpr absl::Duration kAtOnce = absl::ZeroDuration();

// One who has slept in an end keeps a descriptor for the next time.
void SleepOnce() {
  const auto [end, other] = Pipe();
  EXPECT_THAT(other.Recv<int>(absl::Milliseconds(1)), StatusIs(StatusCode::kDeadlineExceeded));
}

int Descriptors() {
  static const bool slept = (SleepOnce(), true);
  EXPECT_TRUE(slept);
  int count = 0;
  DIR* const all = opendir("/proc/self/fd");
  while (readdir(all) != nullptr) ++count;
  closedir(all);
  return count;
}

// A pipe of the kernel's.
struct Plain {
  Plain() {
    int fds[2];
    EXPECT_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    out = Fd(fds[0]);
    in = Fd(fds[1]);
  }
  // What is in it; "end": nobody has `in` any more.
  std::string Read() const {
    char bytes[64];
    const ssize_t size = read(out.get(), bytes, sizeof(bytes));
    if (size < 0) return "nothing";
    return size == 0 ? "end" : std::string(bytes, size);
  }

  Fd out;
  Fd in;
};

void Write(const Fd& to, const std::string& text) {
  EXPECT_EQ(write(to.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

struct Labelled {
  std::string label;
  Fd fd;
};

// Fd -------------------------------------------------------------------------------------------

TEST(FdTest, OwnsADescriptor) {
  const int before = Descriptors();
  {
    Fd one(open("/dev/null", O_RDONLY | O_CLOEXEC));
    EXPECT_TRUE(one.has_value());
    Fd other = std::move(one);
    EXPECT_EQ(one.get(), -1);  // NOLINT(bugprone-use-after-move)
    one = std::move(other);
    EXPECT_EQ(Descriptors(), before + 1);
    one = Fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(Descriptors(), before + 1);
    const int released = one.release();
    EXPECT_FALSE(one);
    EXPECT_EQ(Descriptors(), before + 1);
    close(released);
  }
  EXPECT_EQ(Descriptors(), before);
  EXPECT_FALSE(Fd(-7).has_value());
}

TEST(FdTest, TravelsOnlyThroughAConnection) {
  static_assert(!Encodable<Fd> && EncodableThroughConnection<Fd>);
  static_assert(!Encodable<Connection> && EncodableThroughConnection<Connection>);
  static_assert(!Encodable<std::vector<std::pair<int, Fd>>>);
  static_assert(!Encodable<Labelled> && EncodableThroughConnection<Labelled>);
  SUCCEED();
}

// Descriptors ----------------------------------------------------------------------------------

// test_fd_transfer
TEST(PipeDescriptorTest, ADescriptorArrivesInAChild) {
  const Plain plain;
  auto [mine, its] = Pipe();
  Child child([&its = its, &mine = mine] {
    mine.Close();
    const absl::StatusOr<Fd> fd = its.Recv<Fd>();
    ASSERT_THAT(fd, IsOk());
    EXPECT_GT(fd->get(), STDERR_FILENO);
    EXPECT_EQ(fcntl(fd->get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    Write(*fd, "hello");
  });
  Plain own;
  Write(own.in, "own");
  ASSERT_THAT(mine.Send(plain.in), IsOk());
  EXPECT_TRUE(plain.in.has_value());
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_EQ(plain.Read(), "hello");
}

// test_large_fd_transfer
TEST(PipeDescriptorTest, ADescriptorOfALargeNumberArrives) {
  const Plain plain;
  auto [mine, its] = Pipe();
  const Fd large(fcntl(plain.in.get(), F_DUPFD_CLOEXEC, 300));
  ASSERT_GE(large.get(), 300);
  Child child([&its = its] {
    const absl::StatusOr<Fd> fd = its.Recv<Fd>();
    ASSERT_THAT(fd, IsOk());
    const Fd far(fcntl(fd->get(), F_DUPFD_CLOEXEC, 400));
    ASSERT_THAT(its.Send(far), IsOk());
    Write(far, "large");
  });
  ASSERT_THAT(mine.Send(large), IsOk());
  const absl::StatusOr<Fd> back = mine.Recv<Fd>();
  ASSERT_THAT(back, IsOk());
  EXPECT_EQ(child.Finish(), 0);
  Write(*back, "+back");
  EXPECT_EQ(plain.Read(), "large+back");
}

// test_missing_fd_transfer
TEST(PipeDescriptorTest, WhereThereIsNoDescriptorNoneArrives) {
  const int before = Descriptors();
  {
    const auto [end, other] = Pipe();
    ASSERT_THAT(end.Send(7), IsOk());
    EXPECT_THAT(other.Recv<Fd>(), StatusIs(StatusCode::kInvalidArgument, HasSubstr("int")));
    EXPECT_EQ(*other.Recv<int>(), 7);
    // One that was closed behind its back.
    Fd closed(open("/dev/null", O_RDONLY | O_CLOEXEC));
    close(closed.get());
    EXPECT_THAT(end.Send(closed), StatusIs(StatusCode::kInvalidArgument, HasSubstr("not open")));
    static_cast<void>(closed.release());
    EXPECT_THAT(other.Recv<Fd>(kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
    // An empty one.
    ASSERT_THAT(end.Send(Fd()), IsOk());
    EXPECT_FALSE(other.Recv<Fd>()->has_value());
    // Another type stays with its descriptor.
    ASSERT_THAT(end.Send(Plain().in), IsOk());
    EXPECT_THAT(other.Recv<int>(), StatusIs(StatusCode::kInvalidArgument, HasSubstr("Fd")));
    EXPECT_TRUE(other.Recv<Fd>()->has_value());
  }
  EXPECT_EQ(Descriptors(), before);
}

TEST(PipeDescriptorTest, DescriptorsArePartsOfValues) {
  const auto [end, other] = Pipe();
  const int before = Descriptors();
  {
    const Plain one;
    const Plain two;
    ASSERT_THAT(end.Send(std::pair<int, Fd>(3, dup(one.in.get()))), IsOk());
    std::vector<Fd> many;
    for (int i = 0; i < 3; ++i) many.emplace_back(dup(i == 1 ? two.in.get() : one.in.get()));
    many.emplace_back();
    ASSERT_THAT(end.Send(many), IsOk());
    std::map<std::string, std::optional<Fd>> map;
    map["a"].emplace(dup(two.in.get()));
    map["b"];
    ASSERT_THAT(end.Send(map), IsOk());
    // In a block.
    ASSERT_THAT(end.Send(Labelled{std::string(100'000, 'x'), Fd(dup(one.in.get()))}), IsOk());

    const auto pair = other.Recv<std::pair<int, Fd>>();
    ASSERT_THAT(pair, IsOk());
    EXPECT_EQ(pair->first, 3);
    Write(pair->second, "a");
    const auto vector = other.Recv<std::vector<Fd>>();
    ASSERT_THAT(vector, IsOk());
    ASSERT_EQ(vector->size(), 4u);
    Write((*vector)[0], "b");
    Write((*vector)[1], "c");
    Write((*vector)[2], "d");
    EXPECT_FALSE((*vector)[3].has_value());
    const auto received = other.Recv<std::map<std::string, std::optional<Fd>>>();
    ASSERT_THAT(received, IsOk());
    Write(*received->at("a"), "e");
    EXPECT_EQ(received->at("b"), std::nullopt);
    const auto labelled = other.Recv<Labelled>();
    ASSERT_THAT(labelled, IsOk());
    EXPECT_EQ(labelled->label, std::string(100'000, 'x'));
    Write(labelled->fd, "f");
    EXPECT_EQ(one.Read(), "abdf");
    EXPECT_EQ(two.Read(), "ce");
  }
  EXPECT_EQ(Descriptors(), before);
}

TEST(PipeDescriptorTest, ManyGoInOneMessage) {
  const auto [end, other] = Pipe();
  const Plain plain;
  const int before = Descriptors();
  {
    std::vector<Fd> many;
    for (int i = 0; i < 253; ++i) many.emplace_back(dup(plain.in.get()));
    ASSERT_THAT(end.Send(many), IsOk());
    const auto received = other.Recv<std::vector<Fd>>();
    ASSERT_THAT(received, IsOk());
    ASSERT_EQ(received->size(), 253u);
    Write(received->back(), "last");
    EXPECT_EQ(plain.Read(), "last");
    many.emplace_back(dup(plain.in.get()));
    EXPECT_THAT(end.Send(many), StatusIs(StatusCode::kInvalidArgument, HasSubstr("253")));
    EXPECT_THAT(other.Recv<std::vector<Fd>>(kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
  }
  EXPECT_EQ(Descriptors(), before);
}

// More than a socket holds: who sends waits.
TEST(PipeDescriptorTest, ManyMessagesWaitForOneAnother) {
  const Plain plain;
  auto [mine, its] = Pipe();
  int count = 0;
  while (mine.Send(plain.in, kAtOnce).ok()) ++count;
  EXPECT_GT(count, 100);
  EXPECT_THAT(mine.Send(plain.in, kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
  // What has none goes on.
  ASSERT_THAT(mine.Send(5), IsOk());
  Child child([&its = its, &mine = mine, count](Steps& step) {
    mine.Close();
    step("before");
    for (int i = 0; i < count; ++i) ASSERT_THAT(its.Recv<Fd>(), IsOk());
    EXPECT_EQ(*its.Recv<int>(), 5);
    for (int i = 0; i < 1000; ++i) {
      const absl::StatusOr<std::pair<int, Fd>> fd = its.Recv<std::pair<int, Fd>>();
      ASSERT_THAT(fd, IsOk());
      ASSERT_EQ(fd->first, i);
    }
  });
  its.Close();
  ASSERT_TRUE(child.RunTo("before"));
  child.Go();
  for (int i = 0; i < 1000; ++i) {
    ASSERT_THAT(mine.Send(std::pair<int, Fd>(i, dup(plain.in.get()))), IsOk());
  }
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_THAT(mine.Send(plain.in), StatusIs(StatusCode::kUnavailable));
}

TEST(PipeDescriptorTest, WhereNoDescriptorIsLeftTheMessageStays) {
  const Plain plain;
  const auto [end, other] = Pipe();
  std::vector<Fd> three;
  for (int i = 0; i < 3; ++i) three.emplace_back(dup(plain.in.get()));
  ASSERT_THAT(end.Send(three), IsOk());
  ASSERT_THAT(end.Send(7), IsOk());
  Child child([&end = end, &other = other, &plain, &three] {
    rlimit limit = {.rlim_cur = 256, .rlim_max = 256};
    setrlimit(RLIMIT_NOFILE, &limit);
    std::vector<int> taken;
    for (int fd = dup(STDIN_FILENO); fd >= 0; fd = dup(STDIN_FILENO)) taken.push_back(fd);
    close(taken.back());  // one is not enough
    taken.pop_back();
    const absl::Status received = other.Recv<std::vector<Fd>>().status();
    const int free = dup(STDIN_FILENO);
    const int too_many = dup(STDIN_FILENO);
    const absl::Status sent = end.Send(plain.in);
    for (const int fd : taken) close(fd);
    EXPECT_GE(free, 0);
    EXPECT_LT(too_many, 0);
    EXPECT_THAT(received, StatusIs(StatusCode::kResourceExhausted, HasSubstr("RLIMIT_NOFILE")));
    EXPECT_THAT(sent, StatusIs(StatusCode::kResourceExhausted));
    const auto again = other.Recv<std::vector<Fd>>();
    ASSERT_THAT(again, IsOk());
    EXPECT_EQ(again->size(), three.size());
    Write(again->back(), "at last");
    EXPECT_EQ(*other.Recv<int>(), 7);
  });
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_EQ(plain.Read(), "at last");
}

TEST(PipeDescriptorTest, AFileIsOpenAsLongAsItIsOnItsWay) {
  auto [end, other] = Pipe();
  Plain plain;
  ASSERT_THAT(end.Send(plain.in), IsOk());
  plain.in.Close();
  EXPECT_EQ(plain.Read(), "nothing");
  {
    const absl::StatusOr<Fd> fd = other.Recv<Fd>();
    ASSERT_THAT(fd, IsOk());
    EXPECT_EQ(plain.Read(), "nothing");
  }
  EXPECT_EQ(plain.Read(), "end");
  // One that nobody receives goes with the pipe.
  Plain lost;
  ASSERT_THAT(end.Send(lost.in), IsOk());
  lost.in.Close();
  EXPECT_EQ(lost.Read(), "nothing");
  end.Close();
  other.Close();
  EXPECT_EQ(lost.Read(), "end");
}

// Hides from the types what it has.
struct Hidden {
  std::shared_ptr<Fd> fd;
};

}  // namespace

template <>
struct Codec<Hidden> {
  static void Encode(const Hidden& value, Encoder& encoder) { encoder.Put(*value.fd); }
  static Hidden Decode(Decoder& decoder) {
    Hidden value{std::make_shared<Fd>(decoder.Get<Fd>())};
    if (decoder.left() == 0) decoder.Fail("bad");
    return value;
  }
};

namespace {

TEST(PipeDescriptorTest, AQueueHasNoPlaceForWhatTypesHide) {
  const int before = Descriptors();
  {
    const Plain plain;
    const Queue<Hidden> queue;
    EXPECT_THAT(queue.Put(Hidden{std::make_shared<Fd>(dup(plain.in.get()))}),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("only through a Connection")));
    EXPECT_TRUE(queue.Empty());
    // And what is received and then found to be bad is closed.
    const auto [end, other] = Pipe();
    ASSERT_THAT(end.Send(Hidden{std::make_shared<Fd>(dup(plain.in.get()))}), IsOk());
    EXPECT_THAT(other.Recv<Hidden>(), StatusIs(StatusCode::kDataLoss));
  }
  EXPECT_EQ(Descriptors(), before);
}

// Connections ----------------------------------------------------------------------------------

// TestPicklingConnections
TEST(PipeDescriptorTest, AChildTalksThroughAConnectionThatItReceived) {
  auto [mine, its] = Pipe();
  Child child([&its = its, &mine = mine] {
    mine.Close();
    for (;;) {
      const absl::StatusOr<std::pair<std::string, Connection>> job =
          its.Recv<std::pair<std::string, Connection>>();
      if (!job.ok()) return;
      ASSERT_THAT(job->second.Send(job->first + "!"), IsOk());
    }
  });
  its.Close();
  // It was made after the child, and a third process has its other end.
  auto [one, other] = Pipe();
  Child third([&other = other, &one = one, &mine = mine] {
    mine.Close();
    one.Close();
    EXPECT_EQ(*other.Recv<std::string>(), "a!");
    EXPECT_EQ(*other.Recv<std::string>(), "b!");
    EXPECT_THAT(other.Recv<std::string>(), StatusIs(StatusCode::kOutOfRange));
  });
  other.Close();
  ASSERT_THAT(mine.Send(std::pair(std::string("a"), one)), IsOk());
  ASSERT_THAT(mine.Send(std::pair(std::string("b"), one)), IsOk());
  one.Close();
  mine.Close();
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_EQ(third.Finish(), 0);
}

TEST(PipeDescriptorTest, AnEndGoesToAnotherProcessWithWhatIsInIt) {
  Settle();
  const size_t in_use = Stats().in_use;
  const int before = Descriptors();
  {
    auto [mine, its] = Pipe();
    auto [receiving, sending] = Pipe(/*duplex=*/false);
    ASSERT_THAT(sending.Send(1), IsOk());
    ASSERT_THAT(sending.Send(Value<int>(2)), IsOk());
    ASSERT_THAT(mine.Send(receiving), IsOk());
    receiving.Close();
    // The end is in the pipe.
    ASSERT_THAT(sending.Send(3), IsOk());
    {
      const absl::StatusOr<Connection> arrived = its.Recv<Connection>();
      ASSERT_THAT(arrived, IsOk());
      EXPECT_TRUE(arrived->readable());
      EXPECT_FALSE(arrived->writable());
      EXPECT_EQ(*arrived->Recv<int>(), 1);
      EXPECT_EQ(arrived->Recv<Value<int>>()->Get(), 2);
      EXPECT_EQ(*arrived->Recv<int>(), 3);
      EXPECT_THAT(arrived->Recv<int>(kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
      ASSERT_THAT(mine.Send(sending), IsOk());
      sending.Close();
      EXPECT_THAT(arrived->Recv<int>(kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
      EXPECT_THAT(mine.Send(sending), StatusIs(StatusCode::kFailedPrecondition));
      {
        const absl::StatusOr<Connection> last = its.Recv<Connection>();
        ASSERT_THAT(last, IsOk());
        ASSERT_THAT(last->Send(4), IsOk());
      }
      EXPECT_EQ(*arrived->Recv<int>(), 4);
      EXPECT_THAT(arrived->Recv<int>(), StatusIs(StatusCode::kOutOfRange));
    }
  }
  Settle();
  EXPECT_EQ(Stats().in_use, in_use);
  EXPECT_EQ(Descriptors(), before);
}

TEST(PipeDescriptorTest, AnEndThatNobodyReceivesIsClosedWithItsPipe) {
  Settle();
  const size_t in_use = Stats().in_use;
  {
    auto [mine, its] = Pipe();
    auto [one, other] = Pipe();
    ASSERT_THAT(mine.Send(one), IsOk());
    one.Close();
    EXPECT_THAT(other.Recv<int>(kAtOnce), StatusIs(StatusCode::kDeadlineExceeded));
    mine.Close();
    its.Close();
    EXPECT_THAT(other.Recv<int>(), StatusIs(StatusCode::kOutOfRange));
    EXPECT_THAT(other.Send(1), StatusIs(StatusCode::kUnavailable));
  }
  Settle();
  EXPECT_EQ(Stats().in_use, in_use);
}

TEST(PipeDescriptorTest, ManyConnectionsAndDescriptorsGoTogether) {
  const int before = Descriptors();
  {
    const auto [mine, its] = Pipe();
    std::vector<Connection> ends;
    std::vector<Connection> others;
    for (int i = 0; i < 20; ++i) {
      auto [end, other] = Pipe();
      ends.push_back(end);
      others.push_back(other);
    }
    ASSERT_THAT(mine.Send(ends), IsOk());
    ends.clear();
    const auto received = its.Recv<std::vector<Connection>>();
    ASSERT_THAT(received, IsOk());
    for (int i = 0; i < 20; ++i) {
      ASSERT_THAT((*received)[i].Send(i), IsOk());
      EXPECT_EQ(*others[i].Recv<int>(), i);
    }
  }
  EXPECT_EQ(Descriptors(), before);
}

}  // namespace
}  // namespace mp
