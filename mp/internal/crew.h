// Crew: the workers of a pool, as the process that made them sees them, and the tasks that it has
// given them: until each has an outcome, which its sink takes.
//
//   absl::StatusOr<std::shared_ptr<Crew>> crew = Crew::Make(options);
//   absl::StatusOr<Crew::JobPointer> job = (*crew)->MakeJob(code);
//   (*crew)->Put(*job, sink, index, encoder);
//   (*crew)->DriveUntil([&] { return sink->has_all(); }, nullptr);
//   (*crew)->Close(); (*crew)->Join();
//
// Nothing happens by itself: in DriveUntil() one thread harvests, replaces workers that have died
// or left, and puts their tasks again; others that are in it wait until what they want has come, or
// it is their turn. Where something is to happen meanwhile (a callback, a time limit, a retry), a
// thread of the crew's is always in it: Helper().
//
// Threads: any.
// Death:   of a worker: its task is put again, or its outcome says so. Of this process: the workers
//          end with it.
// Fork:    a child has a copy that does nothing: CheckIsMaker().

#ifndef MP_MP_INTERNAL_CREW_H_
#define MP_MP_INTERNAL_CREW_H_

#include <time.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mp/encoder.h"
#include "mp/internal/future_state.h"
#include "mp/internal/pool_maker.h"
#include "mp/internal/pool_state.h"
#include "mp/internal/pool_worker.h"
#include "mp/internal/task_code.h"
#include "mp/internal/task_runner.h"
#include "mp/pool_options.h"
#include "mp/process.h"
#include "mp/task_failure.h"
#include "shared/internal/atomic.h"
#include "shared/internal/handle.h"

namespace mp::internal {

class Crew final : public TaskRunner, public std::enable_shared_from_this<Crew> {
 public:
  // Of options that are checked. kResourceExhausted: no memory, processes or descriptors.
  static absl::StatusOr<std::shared_ptr<Crew>> Make(const PoolOptions& options);
  ~Crew() override;
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  // Of those that are there now.
  std::vector<pid_t> pids() const;
  // `Pool "words"`.
  std::string Describe() const { return state_->Describe(); }

  absl::StatusOr<JobPointer> MakeJob(const TaskCode& code) override;
  absl::StatusOr<JobPointer> KnownJob(const JobKey& key, const TaskCode& code) override;
  absl::StatusOr<uint32_t> Put(const JobPointer& job, const std::shared_ptr<TaskSink>& sink,
                               uint64_t index, const Encoder& argument, bool feeds) override;
  absl::Status AwaitRoom() override;
  [[nodiscard]] bool Cancel(uint32_t task, const TaskSink& sink) override;
  bool IsTaken(uint32_t task, const TaskSink& sink) const override;
  absl::Status BeginFeeding(std::weak_ptr<Feeder> feeder) override;
  void EndFeeding() override;
  int workers() const override { return options_.workers; }
  size_t max_in_flight() const override { return options_.max_in_flight; }
  const std::function<void(const PoolProgress&)>& on_progress() const override {
    return options_.on_progress;
  }

  // `done()` is asked under a lock.
  using FutureDriver::DriveUntil;
  [[nodiscard]] bool DriveUntil(absl::FunctionRef<bool()> done, const timespec* deadline,
                                absl::FunctionRef<size_t()> to_come) override;
  // From now on something happens by itself.
  void Helper() override;

  // No more tasks.
  void Close();
  // Those that no worker has: their outcome is kCancelled.
  void CancelWaiting();
  // No more tasks, nor those that are not done: their outcome is kCancelled. `signal` to the
  // workers, and then, if they do not heed it for a second, SIGKILL.
  void Terminate(int signal);
  // Until all is done and the workers have ended. kCancelled: the thread is, as far as `deadline`,
  // which is none, heeds it.
  absl::Status Join(const timespec* deadline);
  bool closed() const;
  // By who has made it, at its end: its calls may still be waited for.
  void Abandon();

  absl::Status CheckIsMaker() const override;
  bool IsMaker() const;

 private:
  class PoolJob;
  struct Entry {                     // of a task
    std::shared_ptr<TaskSink> sink;  // nullptr: it is none
    JobPointer job;
    uint64_t index = 0;
    int attempt = 1;
    bool timed_out = false;
  };
  struct Harvested {
    uint32_t task;
    pid_t worker;  // 0: none has finished it
    Entry entry;
    std::unique_ptr<TaskOutcome> trouble;  // nullptr: it is kDone
  };
  // The blocks of jobs: who frees one may have any lock.
  struct JobBook {
    std::mutex mutex;
    std::set<const void*> blocks;  // under it
  };
  using Lock = std::unique_lock<std::mutex>;

  Crew(const PoolOptions& options, PoolState* state);

  absl::Status StartAll();
  absl::Status StartWorker(uint32_t w);
  absl::Status CheckMayPut(bool feeds) const;  // under mutex_
  bool IsTimeToHeal();
  bool Drive(Lock& lock, std::vector<Harvested>& harvested);
  void Notify();
  bool IsAllDone() const;
  void CollectFinished(std::vector<Harvested>& harvested);
  Harvested OutcomeOf(uint32_t task);
  Harvested DropOutcome(uint32_t task, const absl::Status& why);
  void HandOver(Lock& lock, std::vector<Harvested>& harvested);
  bool IsGone(uint32_t w) const;
  bool IsDying(uint32_t w) const;
  void Heal(std::vector<Harvested>& harvested);
  void HealOne(uint32_t w, int exitcode, std::vector<Harvested>& harvested);
  void Replace(uint32_t w, std::vector<Harvested>& harvested);
  void LoseTask(uint32_t task, const TaskFailure& failure, std::vector<Harvested>& harvested);
  bool PutAgain(uint32_t task);
  void FreeResultOfDead(uint32_t task);
  bool IsNamed(const void* block, uint32_t but) const;
  void Break(const absl::Status& why, std::vector<Harvested>& harvested);
  void LookIfBroken(std::vector<Harvested>& harvested);
  void DropAll(const absl::Status& why, bool taken, std::vector<Harvested>& harvested);
  void CloseIfDone();
  void WaitForOther(Lock& lock, const timespec* deadline);
  absl::Duration LookAtTimes();
  void Help();

  const PoolOptions options_;
  const pid_t maker_pid_;
  const uint32_t generation_;  // of forks
  const Handle<PoolState> state_;
  const std::shared_ptr<JobBook> book_ = std::make_shared<JobBook>();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Under it:
  PoolMaker maker_;
  PoolMaker::News news_;
  std::vector<Process> workers_;  // without a pid: it could not be started
  std::vector<Process> leaving_;
  std::vector<Entry> entries_;
  std::vector<std::pair<JobKey, JobPointer>> known_jobs_;
  uint64_t jobs_ = 0;
  size_t in_flight_ = 0;
  uint64_t outcomes_ = 0;  // how many ever were
  int feeders_ = 0;
  std::vector<std::weak_ptr<Feeder>> streams_;  // those of feeders_ that are to be asked
  int initializer_deaths_ = 0;                  // in a row
  static constexpr absl::Duration kFirstWait = absl::Microseconds(50);
  bool dying_ = false;  // a worker may be, or has not begun: nobody tells of either
  absl::Duration dying_wait_ = kFirstWait;  // between looks at it
  timespec look_again_ = {};                // at it
  bool driving_ = false;                    // a thread is
  int others_ = 0;                          // threads that wait for what it does
  bool sleeps_ = false;                     // it may, until more than one outcome is there
  bool closed_ = false;
  bool workers_told_ = false;  // that it is closed
  bool terminated_ = false;
  absl::Status broken_;
  bool abandoned_ = false;
  std::thread helper_;
};

// With what is left open in the options, for a `what` ("Pool"). kInvalidArgument: options that no
// pool can have. CrewOrDie: ends the process, with a line that says why.
absl::StatusOr<std::shared_ptr<Crew>> MakeCrew(PoolOptions options, std::string_view what);
std::shared_ptr<Crew> CrewOrDie(const PoolOptions& options, std::string_view what);
// What PoolOptions are to say for so many: 0 stands for another number there.
inline int CheckedWorkers(int workers) { return workers == 0 ? -1 : workers; }

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_CREW_H_
