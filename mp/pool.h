// Pool: worker processes that share out calls of a function. What the death of a worker takes along
// is the one task that it had; another worker takes its place.
//
//   mp::Pool pool(4);
//   absl::StatusOr<std::vector<int>> lengths = pool.Map(&LengthOf, paths);
//   for (absl::StatusOr<int> length : pool.ImapUnordered(&LengthOf, paths)) Print(length);
//   mp::Future<int> one = pool.ApplyAsync(&LengthOf, "README.md");
//
// Functions: a function, a lambda without captures, or mp::BindFront() of one. They are called as
//           the target of a Process is; what they take and return is sent (mp/codec.h). A void or
//           an absl::Status comes back as std::monostate, an absl::StatusOr<X> as an X.
// Order:    Map(), Starmap() and Imap() give results in the order of what they were given;
//           ImapUnordered() as they come: index() says of what. Tasks begin in the order in which
//           they were put.
// Errors:   what a task returns that is not OK is its result; what it throws, kInternal. Map() says
//           the first that failed, when all are done. kFailedPrecondition: after Close(). What is
//           said of tasks that died: mp/task_failure.h.
// Death:    a worker may be killed at any instruction: its task is kAborted, or is run again, up to
//           PoolOptions::retries times; no other task is touched. The pool's own process: the
//           workers end with it. docs/pools.md has a row for each.
// Waits:    end when the thread is cancelled (mp/cancellation.h): kCancelled; the tasks go on.
// End:      ~Pool() waits until all is done, unless Terminate() was called.
// Exit:     a pool that the program does not end is terminated when it exits.
// Fork:     the pool is its process's: in a child every call is kFailedPrecondition. A task may
//           fork, and have a pool of its own.
// Threads:  any number.
// Signals:  workers have no SIGINT: Ctrl-C is this process's to heed; they end with it.
// Cost:     no thread, as long as no task_timeout, retries, on_progress or done-callback needs one;
//           figures in docs/benchmarks.md.

#ifndef MP_MP_POOL_H_
#define MP_MP_POOL_H_

#include <cstddef>
#include <memory>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mp/bind_front.h"  // IWYU pragma: export
#include "mp/future.h"      // IWYU pragma: export
#include "mp/internal/crew.h"
#include "mp/internal/each_call.h"
#include "mp/internal/one_call.h"
#include "mp/internal/target.h"
#include "mp/internal/task_code.h"
#include "mp/pool_options.h"  // IWYU pragma: export
#include "mp/pool_results.h"  // IWYU pragma: export
#include "mp/task_failure.h"  // IWYU pragma: export

namespace mp {

class Pool {
  template <bool kStar, class F, class R>
  using EachResult = internal::EachResult<kStar, F, R>;
  template <class F, class... A>
  using CallResult = internal::CallResult<F, A...>;

 public:
  // As many workers as this process may use processors. Ends the process, with a line that says
  // why, where Create() would fail.
  Pool() : Pool(PoolOptions()) {}
  explicit Pool(int workers) : Pool(PoolOptions{.workers = internal::CheckedWorkers(workers)}) {}
  explicit Pool(const PoolOptions& options);
  // kInvalidArgument: options that no pool can have. kResourceExhausted: no memory, processes or
  // descriptors. kFailedPrecondition: by a daemon, or without mp::Init() where that is needed.
  static absl::StatusOr<Pool> Create(const PoolOptions& options = {});

  // Drains, unless it was terminated.
  ~Pool();
  Pool(Pool&&) noexcept = default;
  Pool& operator=(Pool&& other) noexcept;

  // f(item) of each. A chunk of so many is one task; 0: a fourth of what is each worker's share.
  template <class F, std::ranges::input_range R>
  absl::StatusOr<std::vector<EachResult<false, F, R>>> Map(F&& f, R&& range, size_t chunksize = 0) {
    return internal::EachCall<false, internal::Stored<F>, R>::Map(crew_, std::forward<F>(f), range,
                                                                  chunksize);
  }
  template <class F, std::ranges::input_range R>
  Future<std::vector<EachResult<false, F, R>>> MapAsync(F&& f, R&& range, size_t chunksize = 0) {
    return internal::EachCall<false, internal::Stored<F>, R>::MapAsync(crew_, std::forward<F>(f),
                                                                       range, chunksize);
  }
  // f(parts...) of each, which is a tuple or a pair.
  template <class F, std::ranges::input_range R>
  absl::StatusOr<std::vector<EachResult<true, F, R>>> Starmap(F&& f, R&& range,
                                                              size_t chunksize = 0) {
    return internal::EachCall<true, internal::Stored<F>, R>::Map(crew_, std::forward<F>(f), range,
                                                                 chunksize);
  }
  template <class F, std::ranges::input_range R>
  Future<std::vector<EachResult<true, F, R>>> StarmapAsync(F&& f, R&& range, size_t chunksize = 0) {
    return internal::EachCall<true, internal::Stored<F>, R>::MapAsync(crew_, std::forward<F>(f),
                                                                      range, chunksize);
  }

  // f(item) of each, results one by one. The range is read as results are taken: never further
  // ahead than PoolOptions::max_in_flight. One that is handed over as an lvalue must outlive the
  // results.
  template <class F, std::ranges::input_range R>
  PoolResults<EachResult<false, F, R>> Imap(F&& f, R&& range, size_t chunksize = 1) {
    return internal::EachCall<false, internal::Stored<F>, R>::Imap(
        crew_, std::forward<F>(f), std::forward<R>(range), chunksize, /*ordered=*/true);
  }
  template <class F, std::ranges::input_range R>
  PoolResults<EachResult<false, F, R>> ImapUnordered(F&& f, R&& range, size_t chunksize = 1) {
    return internal::EachCall<false, internal::Stored<F>, R>::Imap(
        crew_, std::forward<F>(f), std::forward<R>(range), chunksize, /*ordered=*/false);
  }

  // f(arguments...).
  template <class F, class... A>
  absl::StatusOr<CallResult<F, A...>> Apply(F&& f, A&&... arguments) {
    return ApplyAsync(std::forward<F>(f), std::forward<A>(arguments)...).Get();
  }
  template <class F, class... A>
  Future<CallResult<F, A...>> ApplyAsync(F&& f, A&&... arguments) {
    return internal::OneCall<internal::Stored<F>, internal::Stored<A>...>::Put(
        crew_, std::forward<F>(f), std::forward<A>(arguments)...);
  }

  // No more tasks; the workers end when all are done.
  void Close();
  // What is not done is kCancelled; workers get SIGTERM, and SIGKILL if they are still there after
  // a second. Returns when they have ended.
  void Terminate();
  // Until all is done, and the workers have ended. kFailedPrecondition: before Close() and
  // Terminate(). Or why no worker could begin.
  absl::Status Join();

  int workers() const { return crew_->workers(); }
  std::vector<pid_t> worker_pids() const { return crew_->pids(); }

 private:
  explicit Pool(std::shared_ptr<internal::Crew> crew) : crew_(std::move(crew)) {}

  void End();

  std::shared_ptr<internal::Crew> crew_;
};

}  // namespace mp

#endif  // MP_MP_POOL_H_
