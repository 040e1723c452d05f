// PoolOptions: what a Pool, or a ProcessPoolExecutor, is to be.

#ifndef MP_MP_POOL_OPTIONS_H_
#define MP_MP_POOL_OPTIONS_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/time/time.h"
#include "mp/internal/target.h"
#include "mp/start_method.h"

namespace mp {

// What each worker does before its first task: as the target of a Process, once in each.
class PoolInitializer {
 public:
  PoolInitializer() = default;  // nothing
  template <class F, class... A>
  requires(!std::is_same_v<std::remove_cvref_t<F>, PoolInitializer> && Target<F, A...>)
      // NOLINTNEXTLINE(google-explicit-constructor): {.initializer = &Load} is how it is written
      PoolInitializer(F&& f, A&&... args)
      : target_(internal::StoreTarget(std::forward<F>(f), std::forward<A>(args)...)) {}

  const std::shared_ptr<internal::StoredTarget>& target() const { return target_; }

 private:
  std::shared_ptr<internal::StoredTarget> target_;
};

// Of the tasks of one call.
struct PoolProgress {
  size_t done = 0;   // with those that failed
  size_t total = 0;  // 0: not known yet: of an Imap(), until all of its range is read
  size_t failed = 0;
  double rate = 0;  // done in a second, since the call began
};

struct PoolOptions {
  // Default: UsableCpuCount().
  int workers = 0;
  // Default: GetStartMethod(), when the pool is made.
  std::optional<StartMethod> start_method = {};
  // One that fails ends the pool with its status; so does one that ends its worker each time.
  PoolInitializer initializer = {};
  // After so many a worker ends, and another takes its place; chunks of a Map() are one. 0: never.
  size_t max_tasks_per_child = 0;
  // For one task, or chunk. Then its worker is killed and replaced.
  absl::Duration task_timeout = absl::InfiniteDuration();
  // How often a task is run again whose worker died. Others may see that it was begun before.
  int retries = 0;
  // So many tasks, or chunks, may be under way; more wait for a place. 0: as memory allows; for
  // Imap(), a thousand.
  size_t max_in_flight = 0;
  // RLIMIT_DATA of each worker, in bytes. 0: what this process has.
  size_t memory_limit = 0;
  // Called for each call that is given many, from a thread of the pool's or one that waits for it,
  // ten times a second at most, and when done is total. For terminals: mp/progress_bar.h.
  std::function<void(const PoolProgress& progress)> on_progress = {};
  std::string name = {};  // for messages and listings; of its workers, too
};

}  // namespace mp

#endif  // MP_MP_POOL_OPTIONS_H_
