#include "mp/internal/pool_worker.h"

#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <memory>
#include <new>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/internal/codec_error.h"
#include "mp/internal/pool_value.h"
#include "mp/internal/task_code.h"
#include "shared/domain.h"
#include "shared/internal/lane.h"
#include "shared/internal/wait.h"

namespace mp::internal {
namespace {

constexpr int kInitializerFailed = 1;

class Worker {
 public:
  Worker(PoolState& pool, const WorkerOrder& order) : pool_(pool), order_(order) {
    this_ = this;
    // Without memory for it the maker learns of such an end within a second.
    static_cast<void>(std::atexit(&TellExit));
    static_cast<void>(std::at_quick_exit(&TellExit));
  }

  absl::Status Initialize(const WorkerInitializer& initializer) const;
  void Break(const absl::Status& why) const;
  void Work();

 private:
  struct Job {
    uint64_t number;
    std::unique_ptr<TaskCode> code;
  };

  // This process has no lane any more by then whose end would be told.
  static void TellExit() {
    if (this_ == nullptr || this_->generation_ != ForkGeneration()) return;
    this_->Record().exits.store(1, std::memory_order_release);
    this_->pool_.Tell();
  }

  // False: this is a child of the worker.
  bool Do(uint32_t task);
  TaskError Run(const PoolTask& task, ResultEncoder& result);
  TaskCode& CodeOf(const TaskNote& job);
  WorkerRecord& Record() const { return pool_.Record(order_.index); }

  PoolState& pool_;
  const WorkerOrder& order_;
  const uint32_t generation_ = ForkGeneration();
  std::list<Job> jobs_;  // the last one used first

  static inline constinit Worker* this_ = nullptr;  // that of this process, until it leaves
};

absl::Status Worker::Initialize(const WorkerInitializer& initializer) const {
  // With a lane its death is told at once.
  static_cast<void>(LaneForNotes());
  Record().process.store(Domain::Current()->ThisProcess().identity(), std::memory_order_release);
  Record().phase.store(WorkerRecord::kInitializes, std::memory_order_release);
  absl::Status status;
  if (order_.memory_limit != 0) {
    const rlimit limit = {.rlim_cur = order_.memory_limit, .rlim_max = order_.memory_limit};
    if (setrlimit(RLIMIT_DATA, &limit) != 0) {
      status = absl::InvalidArgumentError("the limit of a worker's memory cannot be set");
    }
    LimitMemoryOfTasks();
  }
  if (status.ok() && initializer.target != nullptr) {
    status = Attempt([&]() -> absl::Status {
               const absl::StatusOr<int> code = initializer.target->Run();
               if (!code.ok()) return code.status();
               if (*code == 0) return absl::OkStatus();
               return absl::InternalError(absl::StrCat("it returned ", *code));
             }).status;
  }
  return status;
}

void Worker::Break(const absl::Status& why) const {
  Encoder encoder;
  if (!Encode(why, encoder).ok()) return;
  Domain& domain = *Domain::Current();
  const absl::StatusOr<void*> block = domain.Allocate(sizeof(TaskNote));
  if (!block.ok()) return;
  auto* const note = new (*block) TaskNote{.number = 0, .value = {}};
  if (!StoreValue(encoder, pool_, note->value).ok()) return;
  domain.heap().SetOwner(note, Owner::Object(&pool_));
  uint64_t none = 0;
  // Another one's will do, too; this one ends with the pool.
  pool_.broken.compare_exchange_strong(none, reinterpret_cast<uint64_t>(note),
                                       std::memory_order_acq_rel);
  pool_.Tell();
}

void Worker::Work() {
  Record().phase.store(WorkerRecord::kWorks, std::memory_order_release);
  for (uint64_t done = 0; order_.most_tasks == 0 || done < order_.most_tasks; ++done) {
    const uint32_t task = pool_.AwaitTask(order_.index);
    if (task == PoolState::kNone || !Do(task)) break;
  }
  // Nor does a child of the worker's leave for it.
  if (ForkGeneration() != generation_) return;
  this_ = nullptr;
  // Before: a worker that has died, with no task.
  // After:  another one takes its place, though this one is still there.
  // Test:   PoolWorkerCrashTest.WhileItLeaves
  Record().phase.store(WorkerRecord::kLeaves, std::memory_order_release);
  pool_.Tell();
}

bool Worker::Do(uint32_t task) {
  PoolTask& it = pool_[task];
  if (order_.tells_time) {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    Record().since.store(
        static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec),
        std::memory_order_release);
  }
  ResultEncoder result;
  TaskError error = Run(it, result);
  // A child that the task has forked, and that has come back from it, is no worker.
  if (ForkGeneration() != generation_) return false;
  if (error.status.ok()) error.status = StoreValue(result, pool_, it.result);
  const bool failed = !error.status.ok();
  if (failed) {
    Encoder why;
    const absl::Status encoded = Guarded(absl::StatusCode::kInternal, [&] { error.Put(why); });
    // Nothing says that there is no memory for it.
    if (!encoded.ok() || !StoreValue(why, pool_, it.result).ok()) it.result.Clear();
  }
  if (order_.tells_time) Record().since.store(0, std::memory_order_release);
  if (pool_.Finish(task, order_.index, failed)) return true;
  // Its time was over: whoever has revoked it is about to kill this process.
  for (;;) pause();
}

TaskError Worker::Run(const PoolTask& task, ResultEncoder& result) {
  TaskError error;
  const absl::Status status = Guarded(absl::StatusCode::kDataLoss, [&] {
    TaskCode& code = CodeOf(*task.job);
    Decoder argument(task.argument.View(), task.argument.Handles());
    error = code.Run(argument, result);
  });
  if (!status.ok()) error = {.status = status};
  return error;
}

TaskCode& Worker::CodeOf(const TaskNote& job) {
  constexpr size_t kMostJobs = 32;
  if (!jobs_.empty() && jobs_.front().number == job.number) return *jobs_.front().code;
  const auto known = std::find_if(jobs_.begin(), jobs_.end(),
                                  [&job](const Job& other) { return other.number == job.number; });
  if (known != jobs_.end()) {
    jobs_.splice(jobs_.begin(), jobs_, known);
  } else {
    if (jobs_.size() == kMostJobs) jobs_.pop_back();
    Decoder decoder(job.value.View(), job.value.Handles());
    jobs_.push_front({job.number, DecodeTaskCode(decoder)});
  }
  return *jobs_.front().code;
}

}  // namespace

int PoolWorkerMain(const PoolHandle& pool, const WorkerOrder& order,
                   const WorkerInitializer& initializer) {
  signal(SIGINT, SIG_IGN);
  Worker worker(*pool, order);
  if (absl::Status status = worker.Initialize(initializer); !status.ok()) {
    worker.Break(status);
    return kInitializerFailed;
  }
  worker.Work();
  return 0;
}

}  // namespace mp::internal
