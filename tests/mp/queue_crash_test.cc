// A process is killed at every instruction of what can be done with a queue of values. What a
// message of bytes goes through: message_queue_crash_test.cc.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "mp/queue.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/wait.h"
#include "sync/value.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/inherited.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::CrashCase;
using testing::CrashOptions;
using testing::CrashReport;
using testing::Inherited;
using testing::RunCrashSweep;
using testing::Settle;

// How far the victim came.
struct Seen {
  volatile int begun = 0;
  volatile int done = 0;
};

template <class T>
class Crashes {
 public:
  explicit Crashes(std::function<void(const Queue<T>&)> fill) : fill_(std::move(fill)) {}

  const Queue<T>& queue() const { return *queue_; }
  Seen& seen() { return *seen_; }

  // `most`: points, where it is no full sweep.
  void Sweep(CrashCase crash, size_t most = 200) {
    crash.set_up = [this] { SetUp(); };
    CrashOptions options;
    options.sample = std::min(options.sample, most);
    const CrashReport report = RunCrashSweep(crash, options);
    EXPECT_TRUE(report.Clean()) << report.Summary();
    queue_.reset();
    Settle();
    EXPECT_EQ(Stats().in_use, before_.value()) << crash.name << ": " << Stats().ToString();
  }

 private:
  void SetUp() {
    queue_.reset();
    Settle();
    internal::LaneForNotes();
    const size_t in_use = Stats().in_use;
    if (before_.has_value()) {
      EXPECT_EQ(in_use, *before_) << Stats().ToString();
    }
    before_ = in_use;
    queue_.emplace();
    fill_(*queue_);
    *seen_ = Seen();
  }

  const std::function<void(const Queue<T>&)> fill_;
  std::optional<Queue<T>> queue_;
  std::optional<size_t> before_;
  Inherited<Seen> seen_;
};

std::string Text(int number, size_t size = 30) {
  return std::string(size, static_cast<char>('a' + number));
}

// All that is in it, after one more has been put.
absl::StatusOr<std::vector<std::string>> Drain(const Queue<std::string>& queue) {
  const std::string last = "last";
  if (const absl::Status status = queue.Put(last); !status.ok()) return status;
  std::vector<std::string> all;
  for (;;) {
    absl::StatusOr<std::string> next = queue.TryGet();
    if (!next.ok()) return next.status();
    if (*next == last) return all;
    all.push_back(*std::move(next));
  }
}

TEST(QueueCrashTest, ManyAreAllOrNothing) {
  // In the ring that is there; in another one behind it; with blocks between them; in several
  // rings.
  for (const auto& [count, size] :
       std::vector<std::pair<int, size_t>>{{4, 30}, {20, 100}, {3, 20'000}, {90, 15'000}}) {
    if (testing::kSanitized && count == 90) continue;  // of more instructions than a sweep goes for
    Crashes<std::string> crashes([](const Queue<std::string>& queue) { (void)queue.Put("first"); });
    std::vector<std::string> many;
    for (int i = 0; i < count; ++i) many.push_back(Text(i, size));
    CrashCase crash;
    crash.name = absl::StrCat(count, " strings of ", size, " bytes at once");
    crash.prepare = [many] {
      const Queue<std::string> own;
      (void)own.PutMany(many);
      (void)own.GetMany(many.size());
    };
    crash.operation = [&crashes, many] {
      crashes.seen().begun = 1;
      (void)crashes.queue().PutMany(many);
      crashes.seen().done = 1;
    };
    crash.check = [&crashes, many]() -> std::string {
      const absl::StatusOr<std::vector<std::string>> all = Drain(crashes.queue());
      if (!all.ok()) return all.status().ToString();
      std::vector<std::string> expected = {"first"};
      if (*all == expected && crashes.seen().done == 0) return "";
      expected.insert(expected.end(), many.begin(), many.end());
      if (*all == expected && crashes.seen().begun != 0) return "";
      return absl::StrCat(all->size(), " are there");
    };
    crashes.Sweep(crash, count < 90 ? 200 : 30);
  }
}

TEST(QueueCrashTest, WhatManyGetIsGoneOnce) {
  Crashes<std::string> crashes([](const Queue<std::string>& queue) {
    for (int i = 0; i < 6; ++i) (void)queue.Put(Text(i, i == 2 ? 20'000 : 400));
  });
  CrashCase crash;
  crash.name = "get many, from two rings and of a block";
  crash.prepare = [] {
    const Queue<std::string> own;
    for (int i = 0; i < 6; ++i) (void)own.Put(Text(i, i == 2 ? 20'000 : 400));
    (void)own.GetMany(5);
  };
  crash.operation = [&crashes] { (void)crashes.queue().GetMany(5); };
  crash.check = [&crashes]() -> std::string {
    const absl::StatusOr<std::vector<std::string>> all = Drain(crashes.queue());
    if (!all.ok()) return all.status().ToString();
    // The last ones of them, in order.
    if (all->empty() || all->size() > 6) return absl::StrCat(all->size(), " are there");
    for (size_t i = 0; i < all->size(); ++i) {
      const int number = static_cast<int>(6 - all->size() + i);
      if ((*all)[i] != Text(number, number == 2 ? 20'000 : 400)) return "another message";
    }
    return "";
  };
  crashes.Sweep(crash);
}

using Job = std::pair<Value<int>, std::string>;

TEST(QueueCrashTest, AHandleTravelsWholeOrNotAtAll) {
  Crashes<Job> crashes([](const Queue<Job>&) {});
  std::optional<Value<int>> value;
  CrashCase crash;
  crash.name = "put a handle";
  crash.prepare = [&] {
    const Queue<Job> own;
    value.emplace(1);
    (void)own.Put({*value, "x"});
    (void)own.Get();
    value.emplace(7);
  };
  crash.operation = [&] {
    crashes.seen().begun = 1;
    (void)crashes.queue().Put({*value, "job"});
    crashes.seen().done = 1;
  };
  crash.check = [&]() -> std::string {
    (void)crashes.queue().Put({Value<int>(9), "last"});
    const absl::StatusOr<Job> first = crashes.queue().Get();
    if (!first.ok()) return first.status().ToString();
    if (first->second == "last") return crashes.seen().done == 0 ? "" : "it is lost";
    // Its sender is dead, and it lives by the message.
    if (first->first.Get() != 7) return "another value";
    const absl::StatusOr<Job> last = crashes.queue().Get();
    return last.ok() && last->first.Get() == 9 ? "" : "the last one is lost";
  };
  crashes.Sweep(crash);
}

TEST(QueueCrashTest, AHandleIsReceivedWholeOrNotAtAll) {
  Crashes<Job> crashes([](const Queue<Job>& queue) {
    for (int i = 0; i < 2; ++i) (void)queue.Put({Value<int>(i), Text(i)});
  });
  CrashCase crash;
  crash.name = "get a handle";
  crash.prepare = [] {
    const Queue<Job> own;
    (void)own.Put({Value<int>(1), "x"});
    (void)own.Get();
  };
  crash.operation = [&] {
    (void)crashes.queue().Get();
    crashes.seen().done = 1;
  };
  crash.check = [&]() -> std::string {
    const size_t size = crashes.queue().Qsize();
    if (size != 1 && (size != 2 || crashes.seen().done != 0)) return absl::StrCat(size, " left");
    for (size_t i = 2 - size; i < 2; ++i) {
      const absl::StatusOr<Job> job = crashes.queue().Get();
      if (!job.ok()) return job.status().ToString();
      if (job->first.Get() != static_cast<int>(i)) return "another value";
    }
    return "";
  };
  crashes.Sweep(crash);
}

struct Frame {
  char bytes[20'000];
};

TEST(QueueCrashTest, ALoanComesBackOrArrives) {
  Crashes<Frame> put([](const Queue<Frame>&) {});
  CrashCase crash;
  crash.name = "borrow and put";
  crash.prepare = [] {
    const Queue<Frame> own;
    (void)own.Put(own.Borrow().value());
    (void)own.GetLoan();
  };
  crash.operation = [&] {
    Loan<Frame> loan = put.queue().Borrow().value();
    loan->bytes[19'999] = 'x';
    put.seen().begun = 1;
    (void)put.queue().Put(std::move(loan));
    put.seen().done = 1;
  };
  crash.check = [&]() -> std::string {
    const size_t size = put.queue().Qsize();
    if (size == 0) return put.seen().done == 0 ? "" : "it is lost";
    if (size != 1 || put.seen().begun == 0) return absl::StrCat(size, " are there");
    return put.queue().GetLoan().value()->bytes[19'999] == 'x' ? "" : "another one";
  };
  put.Sweep(crash);

  Crashes<Frame> get([](const Queue<Frame>& queue) { (void)queue.Put(queue.Borrow().value()); });
  crash.name = "get a loan and drop it";
  crash.operation = [&] {
    (void)get.queue().GetLoan();
    get.seen().done = 1;
  };
  crash.check = [&]() -> std::string {
    const size_t size = get.queue().Qsize();
    return size == 0 || (size == 1 && get.seen().done == 0) ? "" : "it is there still";
  };
  get.Sweep(crash);
}

using Numbers = std::vector<int, Allocator<int>>;

TEST(QueueCrashTest, AContainerOfTheDomainComesBackOrArrives) {
  Crashes<Numbers> put([](const Queue<Numbers>&) {});
  CrashCase crash;
  crash.name = "put a container of the domain";
  std::optional<Loan<Numbers>> loan;
  crash.prepare = [&] {
    const Queue<Numbers> own;
    (void)own.Put(own.Borrow(3, 3).value());
    (void)own.GetLoan();
    loan.emplace(put.queue().Borrow(1000, 3).value());
  };
  crash.operation = [&] {
    put.seen().begun = 1;
    (void)put.queue().Put(*std::move(loan));
    put.seen().done = 1;
  };
  crash.check = [&]() -> std::string {
    const size_t size = put.queue().Qsize();
    if (size == 0) return put.seen().done == 0 ? "" : "it is lost";
    if (size != 1 || put.seen().begun == 0) return absl::StrCat(size, " are there");
    return *put.queue().GetLoan().value() == Numbers(1000, 3) ? "" : "another one";
  };
  put.Sweep(crash);

  Crashes<Numbers> get(
      [](const Queue<Numbers>& queue) { (void)queue.Put(queue.Borrow(1000, 3).value()); });
  crash.name = "get a container of the domain and drop it";
  crash.operation = [&] {
    (void)get.queue().GetLoan();
    get.seen().done = 1;
  };
  crash.check = [&]() -> std::string {
    const size_t size = get.queue().Qsize();
    return size == 0 || (size == 1 && get.seen().done == 0) ? "" : "it is there still";
  };
  get.Sweep(crash);
}

}  // namespace
}  // namespace mp
