#include "shared/internal/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

namespace mp::internal {
namespace {

constinit Atomic<bool> has_no_waitv = false;

FutexResult ResultOf(long result) {
  if (result >= 0) return FutexResult::kWoken;
  switch (errno) {
    case EAGAIN:
      return FutexResult::kChanged;
    case ETIMEDOUT:
      return FutexResult::kTimedOut;
    case EINTR:
      return FutexResult::kInterrupted;
    default:
      return FutexResult::kUnsupported;
  }
}

}  // namespace

static_assert(sizeof(FutexExpectation) == 24);

FutexResult FutexWait(const FutexWord& word, uint32_t value, const timespec* deadline) {
  // With a set of bits, which alone takes a point in time.
  return ResultOf(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, value, deadline, nullptr,
                          FUTEX_BITSET_MATCH_ANY));
}

FutexResult FutexWaitAny(absl::Span<const FutexExpectation> words, const timespec* deadline,
                         size_t& woken) {
  if (has_no_waitv.load(std::memory_order_relaxed)) return FutexResult::kUnsupported;
  const long index =
      syscall(SYS_futex_waitv, words.data(), words.size(), 0, deadline, CLOCK_MONOTONIC);
  const FutexResult result = ResultOf(index);
  if (result == FutexResult::kWoken) woken = static_cast<size_t>(index);
  if (result == FutexResult::kUnsupported && (errno == ENOSYS || errno == EPERM)) {
    has_no_waitv.store(true, std::memory_order_relaxed);
  }
  return result;
}

int FutexWake(const FutexWord& word, int count) {
  const long woken = syscall(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0);
  return woken > 0 ? static_cast<int>(woken) : 0;
}

}  // namespace mp::internal
