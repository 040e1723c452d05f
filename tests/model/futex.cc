// The futex calls of a model build. To sleep is a step for each word, which compares it and enters
// its queue, as the kernel does them one by one, and a step that goes on.
//
// A sleep with a deadline that is near is a nap, and may end at any time. On several words that is
// so for a few of an actor's in a row: nothing has happened meanwhile that it would not see in the
// next one. Another sleep ends by a wake only, or where the exploration allows for a timeout.

#include "shared/internal/futex.h"

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/types/span.h"
#include "tests/model/sleepers.h"
#include "tests/model/step.h"

namespace mp::internal {
namespace {

using model::Sleepers;

FutexResult Tell(FutexResult result, int index = 0) {
  model::Saw(static_cast<uint64_t>(result) << 8 | static_cast<uint64_t>(index));
  return result;
}

// False: the word is not what was expected.
bool Enter(const void* word, uint64_t expected) {
  model::TakeStep({.what = "enter the queue", .address = word, .write = true, .value = expected});
  uint32_t value;
  std::memcpy(&value, word, sizeof(value));
  model::Saw(value);
  if (value != expected) return false;
  Sleepers::Current().Enter(word);
  return true;
}

bool IsNear(const timespec* deadline) {
  constexpr int64_t kNear = 100;  // less than this, in milliseconds
  if (deadline == nullptr) return false;
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (deadline->tv_sec - now.tv_sec) * 1000 + (deadline->tv_nsec - now.tv_nsec) / 1'000'000 <
         kNear;
}

bool MayGoOn(const void*) { return Sleepers::Current().IsWoken(model::ActorNumber()); }

void Sleep(const timespec* deadline, bool nap) {
  if (nap) {
    model::TakeStep({.what = "nap"});
  } else {
    model::TakeStep({.what = "sleep", .ready = MayGoOn, .timed = deadline != nullptr});
  }
}

FutexResult Leave(FutexResult otherwise, size_t& woken) {
  const int index = Sleepers::Current().Leave();
  if (index < 0) return Tell(otherwise);
  woken = static_cast<size_t>(index);
  return Tell(FutexResult::kWoken, index);
}

}  // namespace

FutexResult FutexWait(const FutexWord& word, uint32_t value, const timespec* deadline) {
  if (!Enter(&word, value)) return Tell(FutexResult::kChanged);
  Sleep(deadline, IsNear(deadline));
  size_t woken = 0;
  return Leave(FutexResult::kTimedOut, woken);
}

FutexResult FutexWaitAny(absl::Span<const FutexExpectation> words, const timespec* deadline,
                         size_t& woken) {
  constexpr uint64_t kMostNaps = 3;
  uint64_t& naps = Sleepers::Current().NapsInARow();
  for (const FutexExpectation& word : words) {
    if (!Enter(reinterpret_cast<const void*>(word.address), word.value)) {
      naps = 0;
      return Leave(FutexResult::kChanged, woken);
    }
  }
  Sleep(deadline, IsNear(deadline) && naps < kMostNaps);
  const FutexResult result = Leave(FutexResult::kTimedOut, woken);
  naps = result == FutexResult::kTimedOut ? naps + 1 : 0;
  return result;
}

int FutexWake(const FutexWord& word, int count) {
  model::TakeStep({.what = "wake", .address = &word, .write = true});
  const int woken = Sleepers::Wake(&word, count);
  model::Saw(static_cast<uint64_t>(woken));
  return woken;
}

}  // namespace mp::internal
