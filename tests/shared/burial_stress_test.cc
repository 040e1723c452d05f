// Processes fork, make, share and drop, end and are killed at random, and in the end
// everything is as at the start.

#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/proof_of_death.h"
#include "shared/raw_array.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "tests/support/bury.h"
#include "tests/support/killer.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using internal::Evidence;
using testing::KillerOptions;
using testing::KillerReport;
using testing::kSanitized;
using testing::RunKiller;
using testing::Stress;
using testing::Worker;

using Words = std::vector<int, Allocator<int>>;

// What they share: an object that has handles to others, one of which has memory of its own. Its
// lock says whether the two belong together.
struct Seat {
  explicit Seat(int number) : mark(number), words(100, number) {}
  Lock lock;
  RawValue<int> mark;
  Shared<Words> words;
};

// Where they find one another's: each lock is for the handle beside it.
struct Board {
  struct Place {
    Lock lock;
    Shared<Seat> seat{0};
  };
  std::array<Place, 4> places;
};

// A copy that is out of the domain. Of a handle nothing is ever half there, whoever has died.
Shared<Seat> SeatOf(const Board::Place& place) {
  const LockGuard guard(place.lock);
  if (guard.owner_died()) place.lock.MarkConsistent();
  return place.seat;
}

void Place(Board::Place& place, const Shared<Seat>& seat) {
  const LockGuard guard(place.lock);
  if (guard.owner_died()) place.lock.MarkConsistent();
  place.seat = seat;
}

void ChangeAtRandom(Seat& seat, std::mt19937_64& random) {
  const LockGuard guard(seat.lock);
  if (guard.owner_died()) {
    const int mark = *seat.mark;
    seat.words.Reset(10, mark);
    seat.lock.MarkConsistent();
  }
  for (const int word : *seat.words) {
    if (word != *seat.mark) abort();
  }
  const int mark = static_cast<int>(random() % 1000);
  if (random() % 2 == 0) {
    // Not assign(): killed within that, and dropped by one who never looked, they would be half
    // written, and what they do not refer to stays.
    seat.words.Reset(random() % 3000, mark);
  } else {
    seat.words = Shared<Words>(random() % 3000, mark);
  }
  *seat.mark = mark;
}

void ShareAtRandom(Board& board, std::mt19937_64& random, std::optional<Shared<Seat>>& kept) {
  auto place = [&]() -> Board::Place& { return board.places[random() % board.places.size()]; };
  switch (random() % 4) {
    case 0:
      Place(place(), Shared<Seat>(static_cast<int>(random() % 1000)));
      break;
    case 1:
      Place(place(), SeatOf(place()));
      break;
    case 2:
      kept = SeatOf(place());
      break;
    default:
      if (kept.has_value()) Place(place(), *kept);
  }
  const Shared<Seat> seat = kept.has_value() ? *kept : SeatOf(place());
  ChangeAtRandom(*seat, random);
}

void UseAtRandom(std::mt19937_64& random) {
  Domain& domain = *Domain::Current();
  switch (random() % 4) {
    case 0: {
      const RawArray<uint64_t> array(1 + random() % 3000);
      const uint64_t mark = random();
      for (uint64_t& element : array) element = mark;
      for (const uint64_t element : array) {
        if (element != mark) abort();
      }
      break;
    }
    case 1: {
      const Shared<Words> words(random() % 3000, 7);
      words->resize(random() % 6000);
      break;
    }
    case 2: {
      Words words(random() % 3000);
      words.resize(random() % 6000);
      break;
    }
    default: {
      const absl::StatusOr<void*> block = domain.Allocate(random() % 100'000);
      if (!block.ok()) abort();
      // One in ten is forgotten, for the burial.
      if (random() % 10 != 0) domain.Free(*block);
    }
  }
}

void Work(Worker& worker, Board& board) {
  std::mt19937_64 random(worker.generation() * 1000 + static_cast<uint64_t>(worker.index()));
  std::optional<Shared<Seat>> kept;
  while (!worker.Stopping()) {
    UseAtRandom(random);
    ShareAtRandom(board, random, kept);
    if (random() % 8 == 0) {
      const pid_t pid = fork();
      if (pid == 0) {
        for (uint64_t i = random() % 4; i > 0; --i) {
          UseAtRandom(random);
          ShareAtRandom(board, random, kept);
        }
        if (random() % 4 == 0) raise(SIGKILL);
        _exit(0);
      }
      if (pid > 0 && random() % 2 == 0) waitpid(pid, nullptr, 0);
    }
    if (random() % 16 == 0) Domain::Current()->BuryTheDead(Evidence::kQuick);
    worker.Progress();
  }
}

TEST(BurialStressTest, RandomKillsLeaveNothingBehind) {
  Domain& domain = **Domain::Get();
  domain.Free(*domain.Allocate(100));
  const size_t before = Stats().in_use;
  KillerOptions options;
  options.workers = 16;
  options.kills = Stress() ? 20'000 : kSanitized ? 50 : 100;
  options.stops = 0.1;
  // Each of them walks the heap to bury, all at once on few processors.
  options.patience = std::chrono::minutes(1);
  options.longest_life = std::chrono::microseconds(1000);
  {
    const Shared<Board> board;
    const KillerReport report =
        RunKiller([&board](Worker& worker) { Work(worker, *board); }, options);
    EXPECT_TRUE(report.Clean()) << report.Summary();
    // Children of workers that were killed end by themselves.
    testing::SettleUntilAlone();
  }
  EXPECT_EQ(Check(), absl::OkStatus());
  EXPECT_EQ(Stats().in_use, before) << Stats().ToString();
}

}  // namespace
}  // namespace mp
