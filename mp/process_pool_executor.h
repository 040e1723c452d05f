// ProcessPoolExecutor: an Executor whose workers are processes: those of a Pool (mp/pool.h), with
// its options, its errors and its deaths. A worker that dies breaks nothing: its task is kAborted,
// or is run again.
//
//   mp::ProcessPoolExecutor executor(4);
//   mp::Future<int> words = executor.Submit(&CountWords, "README.md");
//   for (absl::StatusOr<int> count : executor.Map(&CountWords, paths)) Print(count);
//
// End:     ~ProcessPoolExecutor() waits until all is done, unless Shutdown() was called. What is
//          not done by then is done, or lost, unattended: nothing is run again, and no worker
//          replaced, but in calls of its futures.
// Fork:    it is its process's: in a child every call is kFailedPrecondition, and Shutdown() does
//          nothing.
// Threads: any number.

#ifndef MP_MP_PROCESS_POOL_EXECUTOR_H_
#define MP_MP_PROCESS_POOL_EXECUTOR_H_

#include <sys/types.h>

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "mp/bind_front.h"  // IWYU pragma: export
#include "mp/executor.h"    // IWYU pragma: export
#include "mp/internal/crew.h"
#include "mp/pool_options.h"  // IWYU pragma: export
#include "mp/task_failure.h"  // IWYU pragma: export

namespace mp {

class ProcessPoolExecutor : public Executor {
 public:
  // As many workers as this process may use processors. Ends the process, with a line that says
  // why, where Create() would fail.
  ProcessPoolExecutor() : ProcessPoolExecutor(PoolOptions()) {}
  explicit ProcessPoolExecutor(int workers);
  explicit ProcessPoolExecutor(const PoolOptions& options);
  // As Pool::Create().
  static absl::StatusOr<std::unique_ptr<ProcessPoolExecutor>> Create(
      const PoolOptions& options = {});
  ~ProcessPoolExecutor() override;

  // What is not done is kCancelled; workers get SIGTERM, and SIGKILL if they are still there after
  // a second; or SIGKILL. Return when they have ended.
  void TerminateWorkers();
  void KillWorkers();

  int workers() const { return crew_->workers(); }
  std::vector<pid_t> worker_pids() const { return crew_->pids(); }

 private:
  void DoShutdown(bool wait, bool cancel_futures) override;

  explicit ProcessPoolExecutor(std::shared_ptr<internal::Crew> crew);

  const std::shared_ptr<internal::Crew> crew_;
};

}  // namespace mp

#endif  // MP_MP_PROCESS_POOL_EXECUTOR_H_
