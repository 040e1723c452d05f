// The futex calls of a model build. To sleep is a step for each word, which compares it and enters
// its queue, as the kernel does them one by one, and a step that goes on.
//
// A sleep on one word with a deadline is a nap, which may end at any time. One on several ends
// only by a wake, or where the exploration allows for a timeout (Options::timeouts and naps_end).

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

bool MayGoOn(const void*) { return Sleepers::Current().IsWoken(model::ActorNumber()); }

FutexResult Leave(FutexResult otherwise, size_t& woken) {
  const int index = Sleepers::Current().Leave();
  if (index < 0) return Tell(otherwise);
  woken = static_cast<size_t>(index);
  return Tell(FutexResult::kWoken, index);
}

}  // namespace

FutexResult FutexWait(const FutexWord& word, uint32_t value, const timespec* deadline) {
  if (!Enter(&word, value)) return Tell(FutexResult::kChanged);
  if (deadline != nullptr) {
    model::TakeStep({.what = "end a nap"});
  } else {
    model::TakeStep({.what = "sleep", .ready = MayGoOn});
  }
  size_t woken = 0;
  return Leave(FutexResult::kTimedOut, woken);
}

FutexResult FutexWaitAny(absl::Span<const FutexExpectation> words, const timespec* deadline,
                         size_t& woken) {
  for (const FutexExpectation& word : words) {
    if (!Enter(reinterpret_cast<const void*>(word.address), word.value)) {
      return Leave(FutexResult::kChanged, woken);
    }
  }
  model::TakeStep({.what = "sleep", .ready = MayGoOn, .timed = deadline != nullptr});
  return Leave(FutexResult::kTimedOut, woken);
}

int FutexWake(const FutexWord& word, int count) {
  model::TakeStep({.what = "wake", .address = &word, .write = true});
  const int woken = Sleepers::Wake(&word, count);
  model::Saw(static_cast<uint64_t>(woken));
  return woken;
}

}  // namespace mp::internal
