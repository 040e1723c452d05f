#include "mp/wait.h"

#include <poll.h>
#include <sched.h>

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mp/internal/descriptor.h"
#include "mp/internal/end_life.h"
#include "mp/internal/wait_source.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/deadline.h"

namespace mp {
namespace {

// Those of a call that have begun.
class Begun {
 public:
  Begun() = default;
  ~Begun() {
    for (internal::WaitSource* source : sources_) source->EndWait();
  }
  Begun(const Begun&) = delete;
  Begun& operator=(const Begun&) = delete;

  absl::StatusOr<int> Begin(internal::WaitSource& source) {
    absl::StatusOr<int> fd = source.BeginWait();
    if (fd.ok()) sources_.push_back(&source);
    return fd;
  }

 private:
  std::vector<internal::WaitSource*> sources_;
};

}  // namespace

absl::StatusOr<std::vector<size_t>> Wait(absl::Span<const Waitable> objects,
                                         absl::Duration timeout) {
  if (objects.empty() && timeout == absl::InfiniteDuration()) {
    return absl::InvalidArgumentError("to wait for nothing, for ever");
  }
  const internal::Deadline deadline(timeout);
  Begun begun;
  std::vector<pollfd> polled;
  for (const Waitable& object : objects) {
    int fd = object.fd_;
    if (object.source_ != nullptr) {
      const absl::StatusOr<int> its = begun.Begin(*object.source_);
      if (!its.ok()) return its.status();
      fd = *its;
    }
    if (fd < 0) return absl::InvalidArgumentError(absl::StrCat("descriptor ", fd));
    polled.push_back({.fd = fd, .events = POLLIN, .revents = 0});
  }
  // One of them may be closed meanwhile.
  const int bell = internal::EndLife::Bell();
  if (bell < 0) return absl::ResourceExhaustedError("no descriptor is left to be called by");
  polled.push_back({.fd = bell, .events = POLLIN, .revents = 0});
  for (;;) {
    const int n = internal::PollUntil(absl::MakeSpan(polled), deadline.get());
    const bool called = polled.back().revents != 0;
    std::vector<size_t> ready;
    for (size_t i = 0; i < objects.size(); ++i) {
      if ((polled[i].revents & POLLNVAL) != 0) {
        return absl::InvalidArgumentError(absl::StrCat("descriptor ", polled[i].fd, " is closed"));
      }
      absl::StatusOr<bool> is_ready = polled[i].revents != 0;
      if (objects[i].source_ != nullptr && (*is_ready || called)) {
        is_ready = objects[i].source_->IsReady();
        if (!is_ready.ok()) return is_ready.status();
      }
      if (*is_ready) ready.push_back(i);
    }
    if (!ready.empty()) return ready;
    if (n == 0 || (deadline.get() != nullptr && internal::IsPast(*deadline.get()))) {
      return internal::LateStatus(
          absl::StrCat("none of ", objects.size(), " was ready in time"));
    }
    // The bell is for others: until they have left.
    if (called) sched_yield();
  }
}

}  // namespace mp
