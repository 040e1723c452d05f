#include "mp/internal/task_runner.h"

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "mp/task_failure.h"

namespace mp::internal {

absl::Status TaskOutcome::StatusOf(size_t index) const {
  TaskFailure at = failure;
  at.index = index;
  switch (kind) {
    case Kind::kDone:
      return absl::OkStatus();
    case Kind::kDropped:
      return why;
    case Kind::kError: {
      absl::Status status = error.status;
      if (error.how == TaskError::How::kReturned) {
        // Of a task of its own pool, maybe.
        ClearTaskFailure(status);
        return status;
      }
      at.reason = error.how == TaskError::How::kThrew ? TaskFailure::Reason::kThrew
                                                      : TaskFailure::Reason::kMemoryLimit;
      status =
          absl::Status(status.code(), absl::StrCat("task ", index, " threw: ", status.message()));
      SetTaskFailure(status, at);
      return status;
    }
    case Kind::kLost: {
      const std::string what =
          at.reason == TaskFailure::Reason::kTimeLimit
              ? absl::StrCat("took longer than its time limit, and its worker (pid ", at.pid,
                             ") was killed")
              : absl::StrCat("was lost: its worker (pid ", at.pid, ") ", DescribeEnd(at.exitcode));
      absl::Status status = absl::AbortedError(
          absl::StrCat("task ", index, " ", what,
                       at.attempt > 1 ? absl::StrCat(", at attempt ", at.attempt) : ""));
      SetTaskFailure(status, at);
      return status;
    }
  }
  return absl::InternalError("");
}

}  // namespace mp::internal
