#include "mp/wait.h"

#include <poll.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
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
  // How often those are looked at of which nobody may tell.
  static constexpr absl::Duration kLook = absl::Milliseconds(50);

  Begun() = default;
  ~Begun() {
    for (internal::WaitSource* source : sources_) source->EndWait();
  }
  Begun(const Begun&) = delete;
  Begun& operator=(const Begun&) = delete;

  // `used`: what is to be asked, `source` or one of this wait.
  absl::StatusOr<int> Begin(internal::WaitSource& source, internal::WaitSource*& used) {
    used = &source;
    if (std::unique_ptr<internal::WaitSource> own = source.ForOneWait(); own != nullptr) {
      used = own_.emplace_back(std::move(own)).get();
    }
    absl::StatusOr<int> fd = used->BeginWait();
    if (fd.ok()) sources_.push_back(used);
    return fd;
  }

  // `deadline`, or when to look again if that is sooner; `look` has room for that.
  const timespec* NextLook(const timespec* deadline, timespec& look) const {
    auto may_come = [](const internal::WaitSource* source) { return source->MayComeUncalled(); };
    if (std::none_of(sources_.begin(), sources_.end(), may_come)) return deadline;
    look = internal::MonotonicDeadline(kLook);
    const bool is_sooner = deadline == nullptr ||
                           absl::DurationFromTimespec(look) < absl::DurationFromTimespec(*deadline);
    return is_sooner ? &look : deadline;
  }

 private:
  std::vector<std::unique_ptr<internal::WaitSource>> own_;
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
  std::vector<internal::WaitSource*> sources(objects.size());
  for (size_t i = 0; i < objects.size(); ++i) {
    int fd = objects[i].fd_;
    if (objects[i].source_ != nullptr) {
      const absl::StatusOr<int> its = begun.Begin(*objects[i].source_, sources[i]);
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
    timespec look;
    const timespec* const until = begun.NextLook(deadline.get(), look);
    const int n = internal::PollUntil(absl::MakeSpan(polled), until);
    const bool called = polled.back().revents != 0;
    const bool looks = n == 0 && until == &look;
    std::vector<size_t> ready;
    for (size_t i = 0; i < objects.size(); ++i) {
      if ((polled[i].revents & POLLNVAL) != 0) {
        return absl::InvalidArgumentError(absl::StrCat("descriptor ", polled[i].fd, " is closed"));
      }
      absl::StatusOr<bool> is_ready = polled[i].revents != 0;
      if (sources[i] != nullptr && (*is_ready || called || looks)) {
        is_ready = sources[i]->IsReady();
        if (!is_ready.ok()) return is_ready.status();
      }
      if (*is_ready) ready.push_back(i);
    }
    if (!ready.empty()) return ready;
    if (internal::CancelScope::IsLate(deadline.get()) || (n == 0 && !looks)) {
      return internal::LateStatus(absl::StrCat("none of ", objects.size(), " was ready in time"));
    }
    // The bell is for others: until they have left.
    if (called) sched_yield();
  }
}

}  // namespace mp
