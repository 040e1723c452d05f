// Two processes each store what the other then looks for, at once: a processor that looks before
// its store can be seen makes both look in vain. Many rounds, since it does so rarely.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "shared/internal/spinning.h"
#include "sync/event.h"
#include "sync/rwlock.h"
#include "tests/support/child.h"
#include "tests/support/inherited.h"
#include "tests/support/settings.h"
#include "tests/support/spun_in_vain.h"

namespace mp {
namespace {

using internal::Spinning;
using testing::Child;
using testing::Inherited;
using testing::SpunInVain;
using testing::Stress;

// Words that each have a cache line of their own.
struct Padded {
  alignas(64) std::atomic<uint64_t> value{0};
};

// Keeps what this process stores from the others for a while: stores are seen in their order, and
// these are to lines that are in no cache. Few, and without a call: a processor that has no room
// for more stores waits.
class Dam {
 public:
  // Before.
  void Empty() {
    for (Line& line : lines_) __builtin_ia32_clflush(&line);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  void Fill() {
    __atomic_store_n(&lines_[0].word, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&lines_[1].word, 1, __ATOMIC_RELAXED);
  }

 private:
  struct alignas(64) Line {
    uint64_t word = 0;
  };
  Line lines_[2];
};

class OrderingTest : public ::testing::Test {
 protected:
  struct Board {
    Padded here;
    Padded there;
    Padded over;
    Dam dam;
    Padded data;
  };

  // In each round begin() here and there_begins() in a child, then at once here(round) and
  // there(round), then end(round) here.
  template <typename Begin, typename ThereBegins, typename Here, typename There, typename End>
  void Play(const Begin& begin, const ThereBegins& there_begins, const Here& here,
            const There& there, const End& end) {
    const uint64_t rounds = Stress() ? 10'000'000 : 300'000;
    // For a machine that is busy with other things.
    const auto enough = std::chrono::seconds(Stress() ? 100 : 10);
    Child child([&] {
      for (uint64_t round = 1;; ++round) {
        there_begins();
        Meet(board_->there, board_->here);
        if (board_->over.value.load(std::memory_order_relaxed) != 0) return;
        Jitter(round * 7);
        there(round);
        Meet(board_->there, board_->here);
      }
    });
    child.Go();
    const auto start = std::chrono::steady_clock::now();
    for (uint64_t round = 1;; ++round) {
      begin();
      const bool over = round > rounds || std::chrono::steady_clock::now() - start > enough;
      if (over) board_->over.value.store(1, std::memory_order_relaxed);
      Meet(board_->here, board_->there);
      if (over) break;
      Jitter(round * 5);
      here(round);
      Meet(board_->here, board_->there);
      end(round);
    }
    EXPECT_EQ(child.Finish(), 0);
  }

  const Inherited<Board> board_;

 private:
  static void Meet(Padded& own, const Padded& other) {
    const uint64_t meeting = own.value.load(std::memory_order_relaxed) + 1;
    own.value.store(meeting, std::memory_order_seq_cst);
    // For long: only while both run at once is there anything to see.
    for (int looks = 1; other.value.load(std::memory_order_seq_cst) < meeting; ++looks) {
      looks % 100'000 == 0 ? Spinning::Yield() : Spinning::Pause();
    }
  }
  static void Jitter(uint64_t round) {
    for (uint64_t i = round % 16; i > 0; --i) Spinning::Pause();
  }
};

// It is still set when it is set again. Who clears it and then finds nothing would wait for ever.
TEST_F(OrderingTest, WhatWasDoneBeforeASetIsSeenAfterAClearOrItIsSet) {
  const Event event;
  uint64_t seen = 0;
  uint64_t lost = 0;
  Play(
      [&] {
        event.Set();
        board_->data.value.load(std::memory_order_relaxed);
      },
      [&] {
        board_->dam.Empty();
        static_cast<void>(event.IsSet());
      },
      [&](uint64_t) {
        event.Wait();
        event.Clear();
        seen = board_->data.value.load(std::memory_order_relaxed);
      },
      [&](uint64_t round) {
        board_->dam.Fill();
        board_->data.value.store(round, std::memory_order_relaxed);
        event.Set();
      },
      [&](uint64_t round) {
        if (seen != round && !event.IsSet()) ++lost;
      });
  EXPECT_EQ(lost, 0u);
}

// Who comes to read says so and looks for a writer; a writer does the same the other way round.
TEST_F(OrderingTest, AReaderAndAWriterSeeEachOther) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const RWLock lock;
  bool writes = false;
  bool reads = false;  // there
  uint64_t both = 0;
  Play([] {},
       [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
         if (reads) lock.ReleaseShared();
         board_->dam.Empty();
       },
       [&](uint64_t) ABSL_NO_THREAD_SAFETY_ANALYSIS { writes = lock.TryAcquire(); },
       [&](uint64_t round) ABSL_NO_THREAD_SAFETY_ANALYSIS {
         board_->dam.Fill();
         reads = lock.TryAcquireShared();
         board_->data.value.store(reads ? round : 0, std::memory_order_relaxed);
       },
       [&](uint64_t round) ABSL_NO_THREAD_SAFETY_ANALYSIS {
         if (writes && board_->data.value.load(std::memory_order_relaxed) == round) ++both;
         if (writes) lock.Release();
       });
  EXPECT_EQ(both, 0u);
}

// Who has read says so and looks for one that waits for it; or that one would wait for ever.
TEST_F(OrderingTest, TheLastReaderAndTheWriterThatWaitsForItSeeEachOther)
ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const RWLock lock;
  Play([] { SpunInVain(); },
       [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
         lock.AcquireShared();
         board_->dam.Empty();
       },
       [&](uint64_t) ABSL_NO_THREAD_SAFETY_ANALYSIS { lock.Acquire(); },
       [&](uint64_t) ABSL_NO_THREAD_SAFETY_ANALYSIS {
         board_->dam.Fill();
         lock.ReleaseShared();
       },
       [&](uint64_t) ABSL_NO_THREAD_SAFETY_ANALYSIS { lock.Release(); });
}

}  // namespace
}  // namespace mp
