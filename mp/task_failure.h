// TaskFailure: how a task of a pool came to nothing, as data, beside the text of its status.
//
//   absl::StatusOr<int> result = pool.Apply(&Count, path);
//   if (const auto failure = mp::GetTaskFailure(result.status())) {
//     if (failure->reason == mp::TaskFailure::Reason::kKilled) ... failure->pid ...
//   }
//
//   reason         status               what happened
//   kKilled        kAborted             its worker was ended by the signal -exitcode
//   kExited        kAborted             it ended its worker, with exitcode
//   kTimeLimit     kAborted             its worker was killed, for the task took longer than
//                                       PoolOptions::task_timeout
//   kMemoryLimit   kResourceExhausted   it ran out of memory, where there was a
//                                       PoolOptions::memory_limit
//   kThrew         kInternal            it threw what the status says
//
// A status that a task has returned has none.

#ifndef MP_MP_TASK_FAILURE_H_
#define MP_MP_TASK_FAILURE_H_

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/status.h"

namespace mp {

struct TaskFailure {
  enum class Reason { kKilled, kExited, kTimeLimit, kMemoryLimit, kThrew };

  pid_t pid = 0;     // of its worker
  int exitcode = 0;  // of that; negative: the signal. 0 where it lives on
  size_t index = 0;  // of what it was given, among all that its call was given
  int attempt = 1;   // how often it had been tried, with this one
  Reason reason = Reason::kKilled;
};

// nullopt: it is of no task, or of one that has itself returned it.
std::optional<TaskFailure> GetTaskFailure(const absl::Status& status);

namespace internal {

void SetTaskFailure(absl::Status& status, const TaskFailure& failure);
void ClearTaskFailure(absl::Status& status);
// "was killed by signal 9 (Killed)": of a worker.
std::string DescribeEnd(int exitcode);

}  // namespace internal
}  // namespace mp

#endif  // MP_MP_TASK_FAILURE_H_
