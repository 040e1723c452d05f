#include "mp/internal/end_life.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "shared/domain.h"
#include "shared/internal/atomic.h"

namespace mp::internal {
namespace {

constexpr int kUnmade = -2;
constexpr int kFailed = -1;

// Counts those who are closed and not yet left. Once it could not be made, it never is: so who
// has rung it and who silences it agree.
constinit Atomic<int> bell{kUnmade};

void Ring() {
  constexpr uint64_t kOne = 1;
  const int fd = EndLife::Bell();
  if (fd >= 0 && write(fd, &kOne, sizeof(kOne)) < 0) return;  // it rings already, very often
}

void Silence() {
  uint64_t one;
  const int fd = EndLife::Bell();
  if (fd >= 0 && read(fd, &one, sizeof(one)) < 0) return;
}

[[gnu::constructor(101)]] void RegisterForkHandlers() {
  pthread_atfork(nullptr, nullptr, [] {
    const int parents = bell.exchange(kUnmade);
    if (parents >= 0) close(parents);
  });
}

}  // namespace

int EndLife::Bell() {
  int known = bell.load(std::memory_order_acquire);
  if (known != kUnmade) return known;
  int made = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
  if (made < 0) made = kFailed;
  if (bell.compare_exchange_strong(known, made)) return made;
  if (made >= 0) close(made);
  return known;
}

uint64_t EndLife::OfThisProcess(uint64_t word) {
  const uint64_t generation = uint64_t{ForkGeneration()} << 32;
  return word >> 32 == ForkGeneration() ? word : generation | (word & kClosed);
}

bool EndLife::Enter() {
  uint64_t word = word_.load(std::memory_order_relaxed);
  for (;;) {
    const uint64_t now = OfThisProcess(word);
    if ((now & kClosed) != 0) return false;
    if (word_.compare_exchange_weak(word, now + 1, std::memory_order_seq_cst)) return true;
  }
}

bool EndLife::Leave() {
  const uint64_t left = word_.fetch_sub(1, std::memory_order_acq_rel) - 1;
  if ((left & kClosed) == 0 || (left & kCount) != 0) return false;
  Silence();
  return true;
}

EndLife::Closing EndLife::Close() {
  bool rung = false;
  uint64_t word = word_.load(std::memory_order_relaxed);
  for (;;) {
    const uint64_t now = OfThisProcess(word);
    // In a child of one that was about to close it, nobody else is left to.
    const bool done = (now & kClosed) != 0 && word == now;
    // First: who leaves as the last one silences it.
    if (!done && !rung && (now & kCount) != 0) {
      Ring();
      rung = true;
    }
    if (!done && !word_.compare_exchange_weak(word, now | kClosed, std::memory_order_seq_cst)) {
      continue;
    }
    const bool others_close = !done && (now & kCount) != 0;
    if (rung && !others_close) Silence();
    if (done) return Closing::kDone;
    return others_close ? Closing::kLater : Closing::kNow;
  }
}

}  // namespace mp::internal
