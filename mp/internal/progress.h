// Progress: counts what is done of a call, and tells the program of it, now and then. By several
// threads at once.

#ifndef MP_MP_INTERNAL_PROGRESS_H_
#define MP_MP_INTERNAL_PROGRESS_H_

#include <cstddef>
#include <functional>
#include <mutex>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mp/internal/callback.h"
#include "mp/pool_options.h"

namespace mp::internal {

class Progress {
 public:
  // `total`: 0, it is not known.
  Progress(const std::function<void(const PoolProgress&)>& tell, size_t total) : tell_(tell) {
    so_far_.total = total;
    if (tell_ != nullptr) begun_ = absl::Now();
  }

  void Add(size_t done, size_t failed) {
    if (tell_ == nullptr) return;
    const std::lock_guard lock(mutex_);
    so_far_.done += done;
    so_far_.failed += failed;
    Tell();
  }
  // From now on it is known.
  void SetTotal(size_t total) {
    if (tell_ == nullptr) return;
    const std::lock_guard lock(mutex_);
    so_far_.total = total;
    Tell();
  }

 private:
  // Under mutex_.
  void Tell() {
    constexpr absl::Duration kPause = absl::Milliseconds(100);
    const absl::Time now = absl::Now();
    if (now < next_ && so_far_.done != so_far_.total) return;
    next_ = now + kPause;
    const double seconds = absl::ToDoubleSeconds(now - begun_);
    so_far_.rate = seconds > 0 ? static_cast<double>(so_far_.done) / seconds : 0;
    CallBack([this] { tell_(so_far_); });
  }

  const std::function<void(const PoolProgress&)> tell_;
  std::mutex mutex_;
  // Under it:
  PoolProgress so_far_;
  absl::Time begun_;
  absl::Time next_;
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_PROGRESS_H_
