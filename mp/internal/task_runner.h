// TaskRunner: who has tasks run by others: what a Pool and an Executor put their calls into. A task
// is the code of a function, as bytes (task_code.h), and its encoded arguments; there is nothing of
// shared memory in it, so one that sends them to other machines may stand beside Crew, which gives
// them to processes. (It refuses an Encoder with handles, as codecs of them do by its via().)
//
//   const absl::StatusOr<TaskRunner::JobPointer> job = runner.MakeJob(code);
//   runner.Put(*job, sink, index, argument);
//   runner.DriveUntil([&] { return sink->has_all(); }, nullptr);
//
// Threads: any.

#ifndef MP_MP_INTERNAL_TASK_RUNNER_H_
#define MP_MP_INTERNAL_TASK_RUNNER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/decoder.h"
#include "mp/encoder.h"
#include "mp/internal/future_state.h"
#include "mp/internal/task_code.h"
#include "mp/pool_options.h"
#include "mp/task_failure.h"

namespace mp::internal {

// What has become of a task.
struct TaskOutcome {
  enum class Kind {
    kDone,     // `result` is what its code has put
    kError,    // `error` is what it says
    kLost,     // by a death: `failure`
    kDropped,  // it was never run: `why`
  };

  Kind kind = Kind::kDone;
  Decoder* result = nullptr;
  TaskError error = {};
  // Who ran it, where somebody has, and how often. The index is up to the sink; but of kLost, the
  // reason is that of StatusOf().
  TaskFailure failure = {};
  absl::Status why = {};

  // That of the item `index` of the call, where it is not kDone.
  absl::Status StatusOf(size_t index) const;
};

class TaskSink {
 public:
  virtual ~TaskSink() = default;

  // Of the task that was put with `index`. Without a lock, and by several threads at once; it may
  // put more.
  virtual void Take(uint64_t index, const TaskOutcome& outcome) = 0;
  // It is run again, and has another number by now. Under a lock.
  virtual void MoveTo(uint32_t /*task*/) {}
};

// Who puts tasks as their results are taken.
class Feeder {
 public:
  virtual ~Feeder() = default;

  // As many as there is room for among those that are under way, whatever is taken; unless another
  // thread does so.
  virtual void FeedAhead() = 0;
};

class TaskRunner : public FutureDriver {
 public:
  static constexpr uint32_t kNoTask = ~uint32_t{0};

  // What all tasks of a call have in common; kept by its tasks, and by who puts them.
  class Job {
   public:
    virtual ~Job() = default;
  };
  using JobPointer = std::shared_ptr<const Job>;
  // That of a function without a state, in this process.
  using JobKey = std::pair<uint64_t, uint64_t>;

  virtual absl::StatusOr<JobPointer> MakeJob(const TaskCode& code) = 0;
  // The same job for each call with the `key`.
  virtual absl::StatusOr<JobPointer> KnownJob(const JobKey& key, const TaskCode& code) = 0;

  // A task, whose number it returns, which is its until its outcome is taken.
  // kFailedPrecondition: it is closed; but for who Feeds. Or why it is broken.
  virtual absl::StatusOr<uint32_t> Put(const JobPointer& job, const std::shared_ptr<TaskSink>& sink,
                                       uint64_t index, const Encoder& argument, bool feeds) = 0;
  // Until fewer are under way than the options allow. kCancelled: the thread is.
  virtual absl::Status AwaitRoom() = 0;
  // Before anybody has it. Then its outcome, kCancelled, is taken by this call.
  [[nodiscard]] virtual bool Cancel(uint32_t task, const TaskSink& sink) = 0;
  // Whether somebody runs it.
  virtual bool IsTaken(uint32_t task, const TaskSink& sink) const = 0;

  // While there are such, closed or not, tasks may come. What Put() would refuse, this does, too:
  // then there is nothing to end.
  // `feeder`: who has to be asked for more of them; empty: nobody.
  virtual absl::Status BeginFeeding(std::weak_ptr<Feeder> feeder) = 0;
  virtual void EndFeeding() = 0;

  // How many are run at once, at most.
  virtual int workers() const = 0;
  // How many may be under way. 0: any number.
  virtual size_t max_in_flight() const = 0;
  virtual const std::function<void(const PoolProgress& progress)>& on_progress() const = 0;
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_TASK_RUNNER_H_
