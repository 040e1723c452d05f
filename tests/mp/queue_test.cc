// What a queue of values promises to the living; the names of Python's cases stand beside those
// that say the same.

#include "mp/queue.h"

#include <gtest/gtest.h>
#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mp/internal/queue_calls.h"
#include "mp/or_die.h"
#include "mp/process.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/handle_access.h"
#include "shared/internal/lane.h"
#include "sync/event.h"
#include "sync/lock.h"
#include "sync/value.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/copy.h"
#include "tests/support/futex_waitv.h"
#include "tests/support/held_duty.h"

namespace mp {
namespace {

using Words = std::map<std::string, std::vector<int>>;
using testing::Child;
using testing::Settle;
using testing::Steps;

absl::StatusCode CodeOf(const absl::Status& status) { return status.code(); }
template <class T>
absl::StatusCode CodeOf(const absl::StatusOr<T>& value) {
  return value.status().code();
}

void ExpectEnds(Process& process) {
  process.Join();
  EXPECT_EQ(process.exitcode(), 0);
}

// test_put
TEST(QueueTest, HoldsAsManyAsItMay) {
  const Queue<int> queue(3);
  EXPECT_TRUE(queue.Empty());
  EXPECT_FALSE(queue.Full());
  EXPECT_EQ(queue.Put(1), absl::OkStatus());
  EXPECT_EQ(queue.Put(2, absl::Seconds(10)), absl::OkStatus());
  EXPECT_EQ(queue.TryPut(3), absl::OkStatus());
  EXPECT_TRUE(queue.Full());
  EXPECT_EQ(queue.Qsize(), 3u);
  EXPECT_EQ(CodeOf(queue.TryPut(4)), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(CodeOf(queue.Put(4, absl::ZeroDuration())), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(CodeOf(queue.Put(4, -absl::Seconds(1))), absl::StatusCode::kDeadlineExceeded);
  const absl::Time before = absl::Now();
  EXPECT_EQ(CodeOf(queue.Put(4, absl::Milliseconds(30))), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(29));
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(queue.Get().value(), i);
  EXPECT_TRUE(queue.Empty());
}

// test_get, test_timeout
TEST(QueueTest, AnEmptyOneGivesNothing) {
  const Queue<std::string> queue;
  EXPECT_EQ(CodeOf(queue.TryGet()), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(CodeOf(queue.Get(-absl::InfiniteDuration())), absl::StatusCode::kDeadlineExceeded);
  const absl::Time before = absl::Now();
  EXPECT_EQ(CodeOf(queue.Get(absl::Milliseconds(30))), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(29));
  EXPECT_EQ(CodeOf(queue.GetMany(3, absl::Milliseconds(1))), absl::StatusCode::kDeadlineExceeded);
}

TEST(QueueTest, CarriesValuesOfManyKinds) {
  const Queue<Words> queue;
  Words words;
  for (int i = 0; i < 1000; ++i) words[std::to_string(i)] = {i, i + 1};
  ASSERT_EQ(queue.Put(words), absl::OkStatus());
  ASSERT_EQ(queue.Put({}), absl::OkStatus());
  ASSERT_EQ(queue.Put({{"a", {}}}), absl::OkStatus());
  EXPECT_EQ(queue.Get().value(), words);
  EXPECT_EQ(queue.Get().value(), Words());
  EXPECT_EQ(queue.Get().value(), Words({{"a", {}}}));
}

TEST(QueueTest, CarriesBytesOfEverySize) {
  const Queue<std::string> queue;
  std::vector<std::string> sent;
  for (const size_t size :
       {0, 1, 7, 8, 9, 100, 511, 512, 513, 5000, 16383, 16384, 16385, 70000, 8 << 20}) {
    sent.push_back(std::string(size, static_cast<char>('a' + sent.size())));
    ASSERT_EQ(queue.Put(sent.back()), absl::OkStatus());
  }
  for (const std::string& string : sent) EXPECT_EQ(queue.Get().value(), string);
}

struct Large {
  std::array<int, 10'000> numbers;
};

TEST(QueueTest, CarriesLongValuesThatAreBytes) {
  const Queue<Large> queue;
  Large large = {};
  large.numbers[9999] = 7;
  ASSERT_EQ(queue.Put(large), absl::OkStatus());
  EXPECT_EQ(queue.Get().value().numbers[9999], 7);
  for (int i = 0; i < 3; ++i) {
    large.numbers[9999] = i;
    OrDie(queue.Put(large));
  }
  const std::vector<Large> many = queue.GetMany(5).value();
  ASSERT_EQ(many.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(many[static_cast<size_t>(i)].numbers[9999], i);
}

// test_fork: what was put before the fork is there after it, and each item comes once.
TEST(QueueTest, AChildPutsIntoItsParents) {
  const Queue<int> queue;
  for (int i = 0; i < 10; ++i) OrDie(queue.Put(i));
  Process child([queue] {
    for (int i = 10; i < 20; ++i) OrDie(queue.Put(i));
  });
  OrDie(child.Start());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(queue.Get().value(), i);
  EXPECT_EQ(CodeOf(queue.TryGet()), absl::StatusCode::kDeadlineExceeded);
  ExpectEnds(child);
}

TEST(QueueTest, KeepsTheOrderOfEachProducer) {
  constexpr int kProducers = 3;
  constexpr int kConsumers = 3;
  constexpr int kEach = 5000;
  const Queue<std::pair<int, int>> queue(64);
  const Queue<std::vector<std::pair<int, int>>> results;
  std::vector<Process> processes;
  for (int p = 0; p < kProducers; ++p) {
    processes.emplace_back([queue, p] {
      for (int i = 0; i < kEach; ++i) OrDie(queue.Put({p, i}));
    });
  }
  for (int c = 0; c < kConsumers; ++c) {
    processes.emplace_back([queue, results] {
      std::vector<std::pair<int, int>> mine;
      for (auto item = queue.Get(); item.ok(); item = queue.Get()) mine.push_back(*item);
      OrDie(results.Put(mine));
    });
  }
  for (Process& process : processes) OrDie(process.Start());
  for (int p = 0; p < kProducers; ++p) processes[p].Join();
  queue.Shutdown();
  std::set<std::pair<int, int>> all;
  for (int c = 0; c < kConsumers; ++c) {
    std::map<int, int> last;
    const auto items = results.Get().value();
    for (const auto& [producer, number] : items) {
      const auto before = last.find(producer);
      if (before != last.end()) {
        EXPECT_LT(before->second, number);
      }
      last[producer] = number;
      EXPECT_TRUE(all.insert({producer, number}).second);
    }
  }
  EXPECT_EQ(all.size(), size_t{kProducers * kEach});
  for (Process& process : processes) ExpectEnds(process);
}

TEST(QueueTest, ThreadsShareOne) {
  const Queue<int> queue(8);
  const Queue<int> sums;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 1; i <= 1000; ++i) OrDie(queue.Put(i));
    });
    threads.emplace_back([&] {
      int sum = 0;
      for (auto item = queue.Get(); item.ok(); item = queue.Get()) sum += *item;
      OrDie(sums.Put(sum));
    });
  }
  for (int t = 0; t < 3; ++t) threads[2 * t].join();
  queue.Shutdown();
  int sum = 0;
  for (int t = 0; t < 3; ++t) sum += sums.Get().value();
  EXPECT_EQ(sum, 3 * 500'500);
  for (int t = 0; t < 3; ++t) threads[2 * t + 1].join();
}

TEST(QueueTest, WhoWaitsGetsWhatComes) {
  const Queue<int> questions;
  const Queue<int> answers;
  Process child([questions, answers] {
    for (auto n = questions.Get(); n.ok(); n = questions.Get()) OrDie(answers.Put(*n * 2));
  });
  OrDie(child.Start());
  for (int i = 0; i < 100; ++i) {
    OrDie(questions.Put(i));
    EXPECT_EQ(answers.Get(absl::Seconds(60)).value(), 2 * i);
  }
  questions.Shutdown();
  ExpectEnds(child);
}

// Many at once ------------------------------------------------------------------------------------

TEST(QueueTest, ManyComeTogether) {
  const Queue<int> queue;
  std::vector<int> numbers(100'000);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<int>(i);
  ASSERT_EQ(queue.Put(-1), absl::OkStatus());
  ASSERT_EQ(queue.PutMany(numbers), absl::OkStatus());
  ASSERT_EQ(queue.PutMany({}), absl::OkStatus());
  ASSERT_EQ(queue.Put(-2), absl::OkStatus());
  EXPECT_EQ(queue.Qsize(), 100'002u);
  EXPECT_EQ(queue.Get().value(), -1);
  std::vector<int> all;
  while (all.size() < numbers.size()) {
    const std::vector<int> some = queue.GetMany(777).value();
    ASSERT_FALSE(some.empty());
    ASSERT_LE(some.size(), 777u);
    all.insert(all.end(), some.begin(), some.end());
  }
  if (all.size() > numbers.size()) {
    EXPECT_EQ(all.back(), -2);
    all.pop_back();
  } else {
    EXPECT_EQ(queue.Get().value(), -2);
  }
  EXPECT_EQ(all, numbers);
  EXPECT_EQ(queue.GetMany(0).value(), std::vector<int>());
}

TEST(QueueTest, ManyOfEverySize) {
  const Queue<std::string> queue;
  for (int round = 0; round < 50; ++round) {
    std::vector<std::string> strings;
    for (int i = 0; i < 100; ++i) {
      const size_t size = (round * 31 + i * 677) % (i % 10 == 0 ? 40'000 : 600);
      strings.push_back(std::string(size, static_cast<char>('a' + i % 26)));
    }
    ASSERT_EQ(queue.PutMany(strings), absl::OkStatus());
    if (round % 3 == 0) continue;
    std::vector<std::string> got;
    while (!queue.Empty()) {
      std::vector<std::string> some = queue.GetMany(33).value();
      for (std::string& string : some) got.push_back(std::move(string));
    }
    ASSERT_GE(got.size(), strings.size());
    EXPECT_EQ(std::vector<std::string>(got.end() - 100, got.end()), strings);
  }
}

TEST(QueueTest, ManyGoInTogetherOrNotAtAll) {
  const Queue<int> queue(4);
  EXPECT_EQ(CodeOf(queue.PutMany({1, 2, 3, 4, 5})), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(queue.Put(1), absl::OkStatus());
  EXPECT_EQ(CodeOf(queue.PutMany({2, 3, 4, 5}, absl::Milliseconds(1))),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(queue.Qsize(), 1u);
  EXPECT_EQ(queue.PutMany({2, 3, 4}), absl::OkStatus());
  EXPECT_EQ(queue.GetMany(9).value(), std::vector<int>({1, 2, 3, 4}));
}

TEST(QueueTest, ManyWaitForRoom) {
  const Queue<int> queue(4);
  Process child([queue] {
    for (int i = 0; i < 300; i += 3) OrDie(queue.PutMany({i, i + 1, i + 2}));
  });
  OrDie(child.Start());
  for (int i = 0; i < 300; ++i) ASSERT_EQ(queue.Get().value(), i);
  ExpectEnds(child);
}

// Handles -----------------------------------------------------------------------------------------

TEST(QueueTest, CarriesHandles) {
  using Job = std::pair<Value<int>, Queue<std::string>>;
  const Queue<Job> jobs;
  Process worker([jobs] {
    for (absl::StatusOr<Job> job = jobs.Get(); job.ok(); job = jobs.Get()) {
      job->first.Update([](int& n) { ++n; });
      OrDie(job->second.Put("done"));
    }
  });
  OrDie(worker.Start());
  // Made after the worker was born: it knows them by the message alone.
  const Value<int> count(0);
  const Queue<std::string> replies;
  for (int i = 0; i < 10; ++i) OrDie(jobs.Put({count, replies}));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(replies.Get().value(), "done");
  EXPECT_EQ(count.Get(), 10);
  jobs.Shutdown();
  ExpectEnds(worker);
}

TEST(QueueTest, AQueueTravelsThroughItself) {
  struct Message {
    std::vector<Queue<Message>> queues;
  };
  Settle();
  const size_t before = Stats().in_use;
  {
    const Queue<Message> queue;
    OrDie(queue.Put({{queue, queue}}));
    const Message message = queue.Get().value();
    ASSERT_EQ(message.queues.size(), 2u);
    OrDie(message.queues[1].Put({}));
    EXPECT_EQ(queue.Qsize(), 1u);
  }
  Settle();
  EXPECT_EQ(Stats().in_use, before);
}

TEST(QueueTest, WhatIsLeftInItEndsWithIt) {
  (void)Domain::Get();
  Settle();
  const size_t before = Stats().in_use;
  {
    const Queue<Value<int>> handles;
    for (int i = 0; i < 10; ++i) OrDie(handles.Put(Value<int>(i)));
    const Queue<std::string> strings;
    for (int i = 0; i < 10; ++i) OrDie(strings.Put(std::string(i * 5000, 'x')));
  }
  Settle();
  EXPECT_EQ(Stats().in_use, before);
}

// Loans -------------------------------------------------------------------------------------------

TEST(QueueTest, ALoanArrivesWhereItLies) {
  const Queue<Large> queue;
  absl::StatusOr<Loan<Large>> loan = queue.Borrow();
  ASSERT_TRUE(loan.ok());
  (*loan)->numbers[5] = 55;
  const Large* const place = loan->get();
  ASSERT_EQ(queue.Put(*std::move(loan)), absl::OkStatus());
  EXPECT_FALSE(*loan);
  const absl::StatusOr<Loan<Large>> got = queue.GetLoan();
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->get(), place);
  EXPECT_EQ((*got)->numbers[5], 55);
}

TEST(QueueTest, LoansAndValuesMix) {
  const Queue<int> queue;
  OrDie(queue.Put(1));
  OrDie(queue.Put(queue.Borrow(2).value()));
  OrDie(queue.Put(3));
  OrDie(queue.Put(queue.GetLoan().value()));
  EXPECT_EQ(queue.Get().value(), 2);
  EXPECT_EQ(**queue.GetLoan(), 3);
  EXPECT_EQ(queue.Get().value(), 1);
}

TEST(QueueTest, BytesAreLent) {
  const Queue<std::string> queue;
  absl::StatusOr<Loan<std::string>> loan = queue.BorrowBytes(100'000);
  ASSERT_TRUE(loan.ok());
  ASSERT_EQ(loan->elements().size(), 100'000u);
  for (char& c : loan->elements()) c = 'q';
  OrDie(queue.Put(*std::move(loan)));
  OrDie(queue.Put("short"));
  OrDie(queue.Put(queue.BorrowBytes(0).value()));
  EXPECT_EQ(queue.Get().value(), std::string(100'000, 'q'));
  const Loan<std::string> got = queue.GetLoan().value();
  EXPECT_EQ(std::string(got.elements().begin(), got.elements().end()), "short");
  EXPECT_EQ(queue.Get().value(), "");

  const Queue<std::vector<double>> doubles;
  EXPECT_EQ(CodeOf(doubles.BorrowBytes(9)), absl::StatusCode::kInvalidArgument);
  Loan<std::vector<double>> two = doubles.BorrowBytes(16).value();
  two.elements()[0] = 0.5;
  two.elements()[1] = 1.5;
  OrDie(doubles.Put(std::move(two)));
  EXPECT_EQ(doubles.Get().value(), std::vector<double>({0.5, 1.5}));
}

TEST(QueueTest, ContainersOfTheDomainAreLent) {
  using Numbers = std::vector<int, Allocator<int>>;
  (void)Domain::Get();
  Settle();
  const size_t before = Stats().in_use;
  {
    const Queue<Numbers> queue;
    const Queue<int> sums;
    Process child([queue, sums] {
      Loan<Numbers> loan = queue.Borrow().value();
      for (int i = 0; i < 10'000; ++i) loan->push_back(i);
      OrDie(queue.Put(std::move(loan)));
      OrDie(queue.Put(Numbers(5, 7)));
      OrDie(queue.Put(queue.Borrow(2, 9).value()));
      OrDie(queue.Put(queue.Borrow(3, 1).value()));
    });
    OrDie(child.Start());
    ExpectEnds(child);
    // Its maker is gone.
    Loan<Numbers> loan = queue.GetLoan().value();
    ASSERT_EQ(loan->size(), 10'000u);
    loan->push_back(10'000);
    EXPECT_EQ((*loan)[10'000], 10'000);
    EXPECT_EQ(queue.GetLoan().value()->size(), 5u);
    EXPECT_EQ(queue.Get().value(), Numbers(2, 9));
    OrDie(queue.Put(std::move(loan)));
    EXPECT_FALSE(loan);
    EXPECT_EQ(CodeOf(queue.Put(std::move(loan))), absl::StatusCode::kFailedPrecondition);
  }
  Settle();
  EXPECT_EQ(Stats().in_use, before) << Stats().ToString();
}

TEST(QueueTest, ALoanThatDoesNotFitStaysTheBorrowers) {
  const Queue<int> queue(1);
  OrDie(queue.Put(1));
  Loan<int> loan = queue.Borrow(2).value();
  EXPECT_EQ(CodeOf(queue.Put(std::move(loan), absl::ZeroDuration())),
            absl::StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(loan);
  EXPECT_EQ(*loan, 2);
  EXPECT_EQ(CodeOf(queue.Put(Loan<int>())), absl::StatusCode::kFailedPrecondition);
}

TEST(QueueTest, ALoansCopyInAChildIsInert) {
  const Queue<int> queue;
  Loan<int> loan = queue.Borrow(2).value();
  Process child([&] {
    EXPECT_EQ(CodeOf(queue.Put(std::move(loan))), absl::StatusCode::kFailedPrecondition);
    loan = Loan<int>();
    return ::testing::Test::HasFailure() ? 1 : 0;
  });
  OrDie(child.Start());
  ExpectEnds(child);
  EXPECT_EQ(*loan, 2);
  OrDie(queue.Put(std::move(loan)));
  EXPECT_EQ(queue.Get().value(), 2);
}

TEST(QueueTest, LoansComeBack) {
  const Queue<Large> queue;
  for (int round = 0; round < 2; ++round) {
    Settle();
    const size_t before = Stats().in_use;
    { (void)queue.Borrow(); }
    Process dies([queue] {
      const auto borrowed = queue.Borrow();
      OrDie(queue.Put(queue.Borrow().value()));
      const auto got = queue.GetLoan();
      _exit(0);
    });
    OrDie(dies.Start());
    dies.Join();
    Settle();
    EXPECT_LE(Stats().in_use, before);
  }
}

// To end ------------------------------------------------------------------------------------------

// test_closed_queue_put_get_exceptions
TEST(QueueTest, AClosedOneIsDoneWithHere) {
  const Queue<int> queue;
  const Queue<int> other;
  OrDie(queue.Put(1));
  Process child([queue, other] {
    OrDie(other.Get());
    OrDie(queue.Put(2));
  });
  OrDie(child.Start());
  queue.Close();
  queue.Close();
  const Queue<int> copy = queue;
  EXPECT_EQ(CodeOf(copy.Put(1)), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(copy.Get()), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(copy.PutMany({1})), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(copy.GetMany(1)), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(copy.GetLoan()), absl::StatusCode::kFailedPrecondition);
  OrDie(other.Put(1));
  ExpectEnds(child);
  EXPECT_EQ(queue.Qsize(), 2u);
}

TEST(QueueTest, ANewOneInAClosedOnesPlaceIsOpen) {
  for (int i = 0; i < 3; ++i) {
    const Queue<int> queue;
    OrDie(queue.Put(1));
    queue.Close();
    EXPECT_FALSE(queue.Put(1).ok());
  }
}

// The others are not looked up with every call.
TEST(QueueTest, AClosedOneIsHardlyInTheWayOfOthers) {
  const Queue<int> closed;
  closed.Close();
  std::vector<Queue<int>> others(64);
  int marked = 0;
  for (const Queue<int>& other : others) {
    marked += internal::QueueCalls::MayBeClosed(*internal::HandleAccess::StateOf(other));
    EXPECT_EQ(other.Put(1), absl::OkStatus());
  }
  EXPECT_LT(marked, 16);
}

TEST(QueueTest, AShutDownOneDrains) {
  const Queue<int> queue;
  OrDie(queue.PutMany({1, 2}));
  queue.Shutdown();
  EXPECT_EQ(CodeOf(queue.Put(3)), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(queue.PutMany({3})), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(queue.Get().value(), 1);
  EXPECT_EQ(queue.GetMany(5).value(), std::vector<int>({2}));
  EXPECT_EQ(CodeOf(queue.Get()), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(CodeOf(queue.GetMany(5)), absl::StatusCode::kOutOfRange);
}

TEST(QueueTest, OneShutDownAtOnceIsEmpty) {
  const Queue<std::string> queue;
  OrDie(queue.PutMany({"a", std::string(100'000, 'b')}));
  queue.Shutdown(/*immediate=*/true);
  EXPECT_TRUE(queue.Empty());
  EXPECT_EQ(CodeOf(queue.Get()), absl::StatusCode::kOutOfRange);
}

TEST(QueueTest, AShutdownEndsAllWaits) {
  const Queue<int> empty;
  const Queue<int> full(1);
  OrDie(full.Put(1));
  std::vector<Process> processes;
  for (int i = 0; i < 3; ++i) {
    processes.emplace_back(
        [empty] { return CodeOf(empty.Get()) == absl::StatusCode::kOutOfRange ? 0 : 1; });
    processes.emplace_back(
        [full] { return CodeOf(full.Put(2)) == absl::StatusCode::kFailedPrecondition ? 0 : 1; });
  }
  for (Process& process : processes) OrDie(process.Start());
  empty.Shutdown();
  full.Shutdown();
  for (Process& process : processes) ExpectEnds(process);
}

TEST(QueueTest, ABacklogsMemoryComesBack) {
  const Queue<std::string> queue;
  Settle();
  const size_t before = Stats().in_use;
  for (int i = 0; i < 2000; ++i) OrDie(queue.Put(std::string(10'000 + 100 * (i % 100), 'x')));
  EXPECT_GT(Stats().in_use, before + (size_t{20} << 20));
  while (!queue.Empty()) (void)queue.Get();
  EXPECT_LE(Stats().in_use, before + (size_t{3} << 20));
}

TEST(QueueTest, ABacklogOfManyComesBackToo) {
  const Queue<std::array<char, 64>> queue;
  Settle();
  const size_t before = Stats().in_use;
  OrDie(queue.PutMany(std::vector<std::array<char, 64>>(200'000)));
  EXPECT_GT(Stats().in_use, before + (size_t{14} << 20));
  while (!queue.Empty()) OrDie(queue.GetMany(1000).status());
  EXPECT_LE(Stats().in_use, before + (size_t{3} << 20));
}

// Nobody looks up by itself here: a wake that is lost is a hang.
class QueueWakeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::HasFutexWaitv()) GTEST_SKIP() << "no futex_waitv here";
    (void)Domain::Get();
    duty_.emplace();
  }
  // Longer than the first nap of who sleeps.
  static void Nap() { absl::SleepFor(absl::Milliseconds(30)); }

  std::optional<testing::HeldDuty> duty_;
};

TEST_F(QueueWakeTest, WhoSleepsForAValueIsWoken) {
  const Queue<int> queue;
  const Queue<int> got;
  Process child([queue, got] {
    for (int i = 0; i < 3; ++i) OrDie(got.Put(queue.Get().value()));
  });
  OrDie(child.Start());
  for (int i = 0; i < 3; ++i) {
    Nap();
    OrDie(queue.Put(i));
    Nap();
    EXPECT_EQ(got.Get().value(), i);
  }
  ExpectEnds(child);
}

TEST_F(QueueWakeTest, WhoSleepsForRoomIsWoken) {
  const Queue<int> queue(1);
  OrDie(queue.Put(0));
  Process child([queue] {
    for (int i = 1; i <= 3; ++i) OrDie(queue.Put(i));
  });
  OrDie(child.Start());
  for (int i = 0; i <= 3; ++i) {
    Nap();
    EXPECT_EQ(queue.Get().value(), i);
  }
  ExpectEnds(child);
}

// One waits for room for five, another for one.
TEST_F(QueueWakeTest, WhoNeedsLessIsWokenBesideWhoNeedsMore) {
  const Queue<int> queue(6);
  OrDie(queue.PutMany({1, 2, 3, 4, 5, 6}));
  Process many([queue] { OrDie(queue.PutMany({10, 11, 12, 13, 14})); });
  OrDie(many.Start());
  Nap();
  Process one([queue] { OrDie(queue.Put(20)); });
  OrDie(one.Start());
  Nap();
  EXPECT_EQ(queue.Get().value(), 1);
  ExpectEnds(one);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(queue.Get().ok());
  ExpectEnds(many);
  EXPECT_EQ(queue.Qsize(), 6u);
}

// Of a process without a lane the others learn a second later that it has died.
TEST(QueueTest, WhoPutsOrGetsIsWatched) {
  const Queue<int> queue;
  for (const bool puts : {true, false}) {
    Child child([&](Steps& step) {
      EXPECT_TRUE(puts ? queue.Put(1).ok() : queue.Get().ok());
      step("done");
    });
    ASSERT_TRUE(child.RunTo("done"));
    internal::LaneTable& lanes = Domain::Current()->lanes();
    int count = 0;
    for (uint32_t i = 0; i < lanes.committed(); ++i) {
      count += lanes[i].process.load() == Domain::LastForked();
    }
    EXPECT_EQ(count, 1);
    EXPECT_EQ(child.Finish(), 0);
  }
}

TEST(QueueTest, IsListedByName) {
  const Queue<int> queue(0, {.name = "jobs"});
  queue.Shutdown();
  EXPECT_EQ(queue.Put(1).message(), "Queue \"jobs\" is shut down");
  bool listed = false;
  for (const ObjectInfo& object : ListObjects()) {
    listed = listed || (object.type == "Queue" && object.name == "jobs");
  }
  EXPECT_TRUE(listed);
}

TEST(QueueTest, NoMemoryIsAStatus) {
  const Queue<std::string> queue;
  const absl::StatusOr<Loan<std::string>> loan = queue.BorrowBytes(size_t{1} << 45);
  EXPECT_EQ(CodeOf(loan), absl::StatusCode::kResourceExhausted);
  OrDie(queue.Put("goes on"));
  EXPECT_EQ(queue.Get().value(), "goes on");
}

TEST(QueueDeathTest, ACopyThatForkDidNotMakeEnds) {
  const Queue<int> queue;
  OrDie(queue.Put(1));
  EXPECT_DEATH(testing::EndAsACopy([&] { OrDie(queue.Put(2)); }), "nobody knows of it");
  EXPECT_DEATH(testing::EndAsACopy([&] { OrDie(queue.Get()); }), "nobody knows of it");
}

}  // namespace
}  // namespace mp
