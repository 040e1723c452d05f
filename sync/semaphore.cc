#include "sync/semaphore.h"

#include <unistd.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shared/internal/fatal.h"

namespace mp {

void Semaphore::Release(int count) const {
  if (counter().Release(count)) return;
  internal::Fatal(absl::StrCat(counter().state().Describe(), ": released ", count, " times by pid ",
                               getpid(), "; it would have more than ", counter().most(),
                               " permits; release what was acquired"));
}

absl::Status BoundedSemaphore::Release(int count) const {
  if (count < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(counter().state().Describe(), ": released ", count, " times; 0 is the least"));
  }
  if (counter().Release(count)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      counter().state().Describe(), ": released ", count, " times; it would have more than ",
      counter().most(), " permits, with which it began"));
}

}  // namespace mp
