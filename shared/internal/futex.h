// Futex: the system calls that put a thread to sleep on a 32-bit word and wake it. The one
// place that makes them, so that a model build can put scheduled ones in its place.
//
// Shared: a word is the same for all processes that map it. Deadlines are points on
// CLOCK_MONOTONIC; nullptr: never. A signal ends a wait with kInterrupted: who waits looks at
// what it waits for, and waits again.
//
// kUnsupported: the kernel, or a filter of system calls, does not know the call. That is so
// for futex_waitv(2) before Linux 5.16; it is asked once in a process.

#ifndef MP_SHARED_INTERNAL_FUTEX_H_
#define MP_SHARED_INTERNAL_FUTEX_H_

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <limits>

#include "absl/types/span.h"
#include "shared/internal/atomic.h"

namespace mp::internal {

using FutexWord = Atomic<uint32_t>;

// The low 32 bits of a word, to sleep on.
inline FutexWord& LowHalf(Word& word) { return reinterpret_cast<FutexWord&>(word); }

enum class FutexResult {
  kWoken,
  kChanged,  // the word, or one of them, was not what was expected
  kTimedOut,
  kInterrupted,
  kUnsupported,
};

// A word, and what it has to be for a wait on it to begin. The layout is the kernel's.
struct FutexExpectation {
  FutexExpectation(const FutexWord& word, uint32_t expected)
      : value(expected), address(reinterpret_cast<uint64_t>(&word)) {}

  uint64_t value;
  uint64_t address;
  uint32_t flags = 2;  // 32 bits, shared
  uint32_t reserved = 0;
};

// The most that the kernel takes at once.
inline constexpr size_t kMostFutexes = 128;
inline constexpr int kWakeAll = std::numeric_limits<int>::max();

FutexResult FutexWait(const FutexWord& word, uint32_t value, const timespec* deadline);
// Until any of them is woken: then `woken` is the last one of them that was. The same address
// at most once.
FutexResult FutexWaitAny(absl::Span<const FutexExpectation> words, const timespec* deadline,
                         size_t& woken);
// At most `count`; returns how many.
int FutexWake(const FutexWord& word, int count);

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_FUTEX_H_
