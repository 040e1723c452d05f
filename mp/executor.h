// Executor: who calls functions elsewhere, and gives back futures: what a program can be written
// against that is to run with processes today, and with something else tomorrow.
//
//   void CountAll(mp::Executor& executor, const std::vector<std::string>& paths) {
//     std::vector<mp::Future<int>> counts;
//     for (const std::string& path : paths) counts.push_back(executor.Submit(&CountWords, path));
//     for (mp::Future<int>& count : mp::AsCompleted(counts)) Print(count.Get());
//   }
//
// A task is a function, by what it is called everywhere in the program, and its encoded arguments;
// there is nothing in it of shared memory, but where a handle is among the arguments: an executor
// whose workers share none refuses that. What can be called and sent, how results and errors come
// back: mp/pool.h.
//
// Threads: any number.
// Errors:  of what cannot be put, the future says so, at once. kFailedPrecondition: after
//          Shutdown().

#ifndef MP_MP_EXECUTOR_H_
#define MP_MP_EXECUTOR_H_

#include <cstddef>
#include <memory>
#include <ranges>
#include <utility>

#include "mp/future.h"  // IWYU pragma: export
#include "mp/internal/each_call.h"
#include "mp/internal/one_call.h"
#include "mp/internal/target.h"
#include "mp/internal/task_code.h"
#include "mp/internal/task_runner.h"
#include "mp/pool_results.h"  // IWYU pragma: export

namespace mp {

class Executor {
  template <bool kStar, class F, class R>
  using EachResult = internal::EachResult<kStar, F, R>;

 public:
  virtual ~Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // f(arguments...).
  template <class F, class... A>
  Future<internal::CallResult<F, A...>> Submit(F&& f, A&&... arguments) {
    return internal::OneCall<internal::Stored<F>, internal::Stored<A>...>::Put(
        runner_, std::forward<F>(f), std::forward<A>(arguments)...);
  }
  // f(item) of each, results in order, one by one; how far the range is read ahead: see Imap() of
  // mp/pool.h. A chunk of so many is one task.
  template <class F, std::ranges::input_range R>
  PoolResults<EachResult<false, F, R>> Map(F&& f, R&& range, size_t chunksize = 1) {
    return internal::EachCall<false, internal::Stored<F>, R>::Imap(
        runner_, std::forward<F>(f), std::forward<R>(range), chunksize, /*ordered=*/true);
  }
  // f(parts...) of each, which is a tuple or a pair: what Python's map() does with several
  // iterables.
  template <class F, std::ranges::input_range R>
  PoolResults<EachResult<true, F, R>> Starmap(F&& f, R&& range, size_t chunksize = 1) {
    return internal::EachCall<true, internal::Stored<F>, R>::Imap(
        runner_, std::forward<F>(f), std::forward<R>(range), chunksize, /*ordered=*/true);
  }

  // No more tasks. `cancel_futures`: those that nobody has begun are kCancelled. `wait`: until all
  // others are done, and what ran them has ended; else they are done meanwhile.
  void Shutdown(bool wait = true, bool cancel_futures = false) { DoShutdown(wait, cancel_futures); }

 protected:
  explicit Executor(std::shared_ptr<internal::TaskRunner> runner) : runner_(std::move(runner)) {}

 private:
  virtual void DoShutdown(bool wait, bool cancel_futures) = 0;

  const std::shared_ptr<internal::TaskRunner> runner_;
};

}  // namespace mp

#endif  // MP_MP_EXECUTOR_H_
