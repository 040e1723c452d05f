// Wait() for queues: alone, and beside connections, processes and descriptors.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstddef>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mp/joinable_queue.h"
#include "mp/or_die.h"
#include "mp/pipe.h"
#include "mp/process.h"
#include "mp/queue.h"
#include "mp/simple_queue.h"
#include "mp/wait.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"

namespace mp {
namespace {

using testing::Child;
using testing::Settle;
using testing::Steps;
using Indices = std::vector<size_t>;

TEST(QueueWaitTest, OneWithAValueIsReady) {
  const Queue<int> empty;
  const Queue<int> full;
  OrDie(full.Put(1));
  EXPECT_EQ(Wait({empty, full}).value(), Indices({1}));
  EXPECT_EQ(Wait({full, full}, absl::ZeroDuration()).value(), Indices({0, 1}));
  EXPECT_EQ(full.Get().value(), 1);
  EXPECT_EQ(Wait({empty, full}, absl::ZeroDuration()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  const absl::Time before = absl::Now();
  EXPECT_EQ(Wait({empty}, absl::Milliseconds(30)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(29));
}

TEST(QueueWaitTest, WhoWaitsIsCalledByAPut) {
  const Queue<int> numbers;
  const Queue<std::string> words;
  Process child([numbers, words] {
    for (int i = 0; i < 100; ++i) {
      OrDie(numbers.Put(i));
      OrDie(words.PutMany({"a", std::string(50'000, 'b')}));
    }
  });
  OrDie(child.Start());
  int got_numbers = 0;
  int got_words = 0;
  while (got_numbers < 100 || got_words < 200) {
    const Indices ready = Wait({numbers, words}, absl::Seconds(100)).value();
    ASSERT_FALSE(ready.empty());
    for (const size_t index : ready) {
      if (index == 0 && numbers.TryGet().ok()) ++got_numbers;
      if (index == 1 && words.TryGet().ok()) ++got_words;
    }
  }
  child.Join();
}

TEST(QueueWaitTest, ASimpleOneIsWaitedForToo) {
  const SimpleQueue<std::string> queue;
  Process child([queue] { OrDie(queue.Put("word")); });
  OrDie(child.Start());
  EXPECT_EQ(Wait({queue}).value(), Indices({0}));
  EXPECT_EQ(queue.Get().value(), "word");
  child.Join();
}

TEST(QueueWaitTest, AShutdownIsReady) {
  const Queue<int> queue;
  Process child([queue] { queue.Shutdown(); });
  OrDie(child.Start());
  EXPECT_EQ(Wait({queue}).value(), Indices({0}));
  EXPECT_EQ(queue.Get().status().code(), absl::StatusCode::kOutOfRange);
  child.Join();
}

TEST(QueueWaitTest, OneThatIsClosedHereIsMisuse) {
  const Queue<int> queue;
  queue.Close();
  EXPECT_EQ(Wait({queue}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(QueueWaitTest, StandsBesideAllElse) {
  const Queue<int> queue;
  auto [reader, writer] = Pipe(/*duplex=*/false);
  Process child([queue, writer = writer] {
    OrDie(queue.Get());
    OrDie(writer.Send(std::string("hello")));
  });
  OrDie(child.Start());
  writer.Close();
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  const Queue<int> other;
  EXPECT_EQ(Wait({queue, reader, fds[0]}, absl::ZeroDuration()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  ASSERT_EQ(write(fds[1], "x", 1), 1);
  EXPECT_EQ(Wait({other, reader, fds[0]}).value(), Indices({2}));
  OrDie(queue.Put(1));
  EXPECT_EQ(Wait({other, reader}).value(), Indices({1}));
  EXPECT_EQ(reader.Recv<std::string>().value(), "hello");
  EXPECT_EQ(Wait({Waitable(other), Waitable(child)}).value(), Indices({1}));
  child.Join();
  close(fds[0]);
  close(fds[1]);
}

TEST(QueueWaitTest, ManyWaitForOne) {
  constexpr int kWaiters = 20;  // more than the first list of bells has room for
  (void)Domain::Get();
  Settle();
  const size_t before = Stats().in_use;
  {
    const Queue<int> queue;
    const Queue<int> got;
    std::vector<Process> waiters;
    for (int i = 0; i < kWaiters; ++i) {
      waiters.emplace_back([queue, got] {
        for (;;) {
          OrDie(Wait({queue}).status());
          const absl::StatusOr<int> value = queue.TryGet();
          if (value.ok()) OrDie(got.Put(*value));
          if (absl::IsOutOfRange(value.status())) return;
        }
      });
      OrDie(waiters.back().Start());
    }
    for (int i = 0; i < 200; ++i) {
      OrDie(queue.Put(i));
      EXPECT_EQ(got.Get(absl::Seconds(100)).value(), i);
    }
    queue.Shutdown();
    for (Process& waiter : waiters) {
      waiter.Join();
      EXPECT_EQ(waiter.exitcode(), 0);
    }
  }
  Settle();
  EXPECT_EQ(Stats().in_use, before) << Stats().ToString();
}

TEST(QueueWaitTest, ThreadsOfOneProcessWaitEachForItself) {
  const Queue<int> queue;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([queue] {
      int got = 0;
      while (got < 50) {
        OrDie(Wait({queue}).status());
        if (queue.TryGet().ok()) ++got;
      }
    });
  }
  for (int i = 0; i < 200; ++i) OrDie(queue.Put(i));
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(queue.Empty());
}

// Nothing is put where who waits could not be called.
TEST(QueueWaitTest, WithoutDescriptorsAPutSaysSo) {
  const Queue<int> queue;
  const Queue<int> told;
  Process waiter([queue, told] {
    OrDie(told.Put(1));
    for (;;) {
      OrDie(Wait({queue}).status());
      const absl::StatusOr<int> value = queue.TryGet();
      if (value.ok() && *value != 1) return *value;
    }
  });
  OrDie(waiter.Start());
  EXPECT_EQ(told.Get().value(), 1);
  Process putter([queue] {
    rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    const rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    // Until the waiter waits, it is put, and taken back, by this one or that.
    absl::Status status;
    while ((status = queue.Put(1)).ok()) (void)queue.TryGet();
    setrlimit(RLIMIT_NOFILE, &limit);  // a sanitizer needs some
    return absl::IsResourceExhausted(status) ? 0 : 1;
  });
  OrDie(putter.Start());
  putter.Join();
  EXPECT_EQ(putter.exitcode(), 0);
  OrDie(queue.Put(7));
  waiter.Join();
  EXPECT_EQ(waiter.exitcode(), 7);
}

// A Waitable may be kept, and copied, and each wait is one of its own.
TEST(QueueWaitTest, OneThatIsKeptServesManyWaits) {
  const Queue<int> queue;
  const Waitable kept(queue);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(Wait({kept, kept}, absl::ZeroDuration()).status().code(),
              absl::StatusCode::kDeadlineExceeded);
    std::vector<std::thread> waiters;
    for (int i = 0; i < 2; ++i) {
      // Who puts calls one after the other: the one that wakes may come before the other's call.
      waiters.emplace_back([kept] { EXPECT_FALSE(Wait({kept, kept}).value().empty()); });
    }
    OrDie(queue.Put(1));
    for (std::thread& waiter : waiters) waiter.join();
    EXPECT_EQ(Wait({kept, kept}).value(), Indices({0, 1}));
    EXPECT_EQ(queue.TryGet().value(), 1);
  }
}

// It is told by one that has no descriptor left to do so.
TEST(QueueWaitTest, WhereAllDescriptorsAreTakenWhoWaitsIsCalledYet) {
  for (const bool shuts : {false, true}) {
    const Queue<int> queue;
    Child waiter([&](Steps& step) {
      step("up");
      EXPECT_EQ(Wait({queue}).value(), Indices({0}));
    });
    ASSERT_TRUE(waiter.RunTo("up"));
    waiter.Go();
    ASSERT_TRUE(waiter.WaitUntilAsleep());
    Child caller([&] {
      std::vector<int> taken;
      for (int fd = dup(STDIN_FILENO); fd >= 0; fd = dup(STDIN_FILENO)) taken.push_back(fd);
      const absl::Status put = shuts ? absl::OkStatus() : queue.Put(1);
      if (shuts) queue.Shutdown();
      // That was another thread's own copy of them.
      EXPECT_EQ(dup(STDIN_FILENO), -1);
      for (const int fd : taken) close(fd);
      EXPECT_EQ(put, absl::OkStatus());
    });
    EXPECT_EQ(caller.Finish(), 0);
    EXPECT_EQ(waiter.Finish(), 0);
  }
}

// JoinableQueue --------------------------------------------------------------------------------

TEST(JoinableQueueWaitTest, OneWithAValueIsReady) {
  const JoinableQueue<int> queue;
  EXPECT_EQ(Wait({queue}, absl::ZeroDuration()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  Process child([queue] { OrDie(queue.Put(1)); });
  OrDie(child.Start());
  EXPECT_EQ(Wait({queue}).value(), Indices({0}));
  EXPECT_EQ(queue.Get().value(), 1);
  EXPECT_EQ(Wait({queue}, absl::ZeroDuration()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  child.Join();
}

TEST(JoinableQueueWaitTest, WhatComesBackIsReady) {
  const JoinableQueue<int> queue;
  for (const bool dies : {false, true}) {
    OrDie(queue.Put(1));
    Child worker([&](Steps& step) {
      {
        const auto lease = queue.Lease();
        step("leased");
        if (dies) raise(SIGKILL);
      }
      step("returned");
    });
    ASSERT_TRUE(worker.RunTo("leased"));
    EXPECT_EQ(Wait({queue}, absl::ZeroDuration()).status().code(),
              absl::StatusCode::kDeadlineExceeded);
    std::thread waiter([&] { EXPECT_EQ(Wait({queue}).value(), Indices({0})); });
    worker.Go();
    waiter.join();
    EXPECT_EQ(queue.TryGet().value(), 1);
    EXPECT_EQ(worker.Finish(), dies ? -SIGKILL : 0);
  }
}

// Not while something may come back.
TEST(JoinableQueueWaitTest, TheEndIsReady) {
  const JoinableQueue<int> queue;
  OrDie(queue.Put(1));
  Child worker([&](Steps& step) {
    auto lease = queue.Lease();
    step("leased");
    queue.Shutdown();
    step("shut");
    lease->Finish();
  });
  ASSERT_TRUE(worker.RunTo("shut"));
  EXPECT_EQ(Wait({queue}, absl::Milliseconds(60)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  std::thread waiter([&] { EXPECT_EQ(Wait({queue}).value(), Indices({0})); });
  EXPECT_EQ(worker.Finish(), 0);
  waiter.join();
  EXPECT_EQ(queue.Get().status().code(), absl::StatusCode::kOutOfRange);
}

}  // namespace
}  // namespace mp
