#include "mp/internal/crew.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/codec.h"
#include "mp/cpu_count.h"
#include "mp/internal/codec_error.h"
#include "mp/internal/pool_value.h"
#include "mp/internal/sentinel.h"
#include "mp/internal/task_runner.h"
#include "mp/on_parent_exit.h"
#include "shared/domain.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"
#include "shared/internal/object.h"

namespace mp::internal {
namespace {

using Phase = TaskWord::Phase;

absl::Status Cancelled() { return absl::CancelledError("the pool was terminated"); }

}  // namespace

// Jobs -----------------------------------------------------------------------------------------

class Crew::PoolJob final : public TaskRunner::Job {
 public:
  // A block of this process's, and a value of the pool's.
  PoolJob(TaskNote* note, std::shared_ptr<JobBook> book) : note_(note), book_(std::move(book)) {}
  ~PoolJob() override {
    // In a child of the pool's maker they are its parent's.
    if (generation_ != ForkGeneration()) return;
    {
      const std::lock_guard lock(book_->mutex);
      if (note_->value.InBlock()) book_->blocks.erase(note_->value.block);
    }
    FreeValue(note_->value);
    Domain::Current()->Free(note_);
  }

  const TaskNote* note() const { return note_; }

 private:
  TaskNote* const note_;
  const std::shared_ptr<JobBook> book_;
  const uint32_t generation_ = ForkGeneration();
};

absl::StatusOr<Crew::JobPointer> Crew::MakeJob(const TaskCode& code) {
  Encoder encoder;
  absl::Status status = Guarded(absl::StatusCode::kInternal, [&] { code.Encode(encoder); });
  if (!status.ok()) return status;
  Domain& domain = *Domain::Current();
  const absl::StatusOr<void*> block = domain.Allocate(sizeof(TaskNote), alignof(TaskNote));
  if (!block.ok()) return block.status();
  auto* const note = new (*block) TaskNote;
  {
    const Lock lock(mutex_);
    note->number = ++jobs_;
  }
  note->value.Clear();
  {
    const std::lock_guard lock(book_->mutex);
    status = StoreValue(encoder, *state_, note->value);
    if (status.ok() && note->value.InBlock()) book_->blocks.insert(note->value.block);
  }
  if (!status.ok()) {
    domain.Free(note);
    return status;
  }
  return std::make_shared<const PoolJob>(note, book_);
}

absl::StatusOr<Crew::JobPointer> Crew::KnownJob(const JobKey& key, const TaskCode& code) {
  constexpr size_t kMost = 64;
  {
    const Lock lock(mutex_);
    for (const auto& [known, job] : known_jobs_) {
      if (known == key) return job;
    }
  }
  absl::StatusOr<JobPointer> job = MakeJob(code);
  if (!job.ok()) return job;
  const Lock lock(mutex_);
  if (known_jobs_.size() == kMost) known_jobs_.erase(known_jobs_.begin());
  known_jobs_.emplace_back(key, *job);
  return job;
}

// To begin -------------------------------------------------------------------------------------

Crew::Crew(const PoolOptions& options, PoolState* state)
    : options_(options),
      maker_pid_(getpid()),
      generation_(ForkGeneration()),
      state_(state),
      maker_(*state_),
      news_(maker_.LookForNews()) {}

absl::StatusOr<std::shared_ptr<Crew>> MakeCrew(PoolOptions options, std::string_view what) {
  std::string why;
  if (options.workers == 0) options.workers = mp::UsableCpuCount();
  if (options.workers < 0 || options.workers > static_cast<int>(PoolState::kMostWorkers)) {
    why = absl::StrCat(options.workers, " workers");
  } else if (options.retries < 0) {
    why = absl::StrCat(options.retries, " retries");
  } else if (!(options.task_timeout > absl::ZeroDuration())) {
    why = "a task_timeout of nothing";
  } else {
    return Crew::Make(options);
  }
  return absl::InvalidArgumentError(absl::StrCat(what, ": ", why));
}

std::shared_ptr<Crew> CrewOrDie(const PoolOptions& options, std::string_view what) {
  absl::StatusOr<std::shared_ptr<Crew>> crew = MakeCrew(options, what);
  if (!crew.ok()) Fatal(absl::StrCat(what, ": ", crew.status().ToString()));
  return *std::move(crew);
}

namespace {

// Those that the program does not end are terminated when it exits: else it would wait for what
// ignores SIGTERM. Of this process: a child has none of them. Held across a fork.
constinit std::mutex live_mutex;
constinit std::vector<std::weak_ptr<Crew>>* live = nullptr;  // under it; never destroyed

[[gnu::constructor(101)]] void RegisterForkHandlers() {
  pthread_atfork([] { live_mutex.lock(); }, [] { live_mutex.unlock(); },
                 [] {
                   if (live != nullptr) live->clear();
                   live_mutex.unlock();
                 });
}

void TerminateLive() {
  std::vector<std::weak_ptr<Crew>> all;
  {
    const std::lock_guard lock(live_mutex);
    all.swap(*live);
  }
  for (const std::weak_ptr<Crew>& each : all) {
    if (const auto crew = each.lock(); crew != nullptr) crew->Terminate(SIGTERM);
  }
}

// When the at-exit handler is registered that waits for its workers: this one is called before it.
void TerminateAtExit(const std::shared_ptr<Crew>& crew) {
  const std::lock_guard lock(live_mutex);
  if (live == nullptr) {
    live = new std::vector<std::weak_ptr<Crew>>;
    static_cast<void>(std::atexit(&TerminateLive));
  }
  std::erase_if(*live, [](const auto& each) { return each.expired(); });
  live->push_back(crew);
}

}  // namespace

absl::StatusOr<std::shared_ptr<Crew>> Crew::Make(const PoolOptions& options) {
  const absl::StatusOr<Domain*> domain = Domain::Get();
  if (!domain.ok()) return domain.status();
  bool has_memory = true;
  const absl::StatusOr<PoolState*> state = MakeObject<PoolState>(
      ObjectType::kPool, options.name,
      [&](PoolState& made) { has_memory = made.Init(static_cast<uint32_t>(options.workers)); });
  if (!state.ok()) return state.status();
  std::shared_ptr<Crew> crew(new Crew(options, *state));
  if (!has_memory) return absl::ResourceExhaustedError("Pool: no memory for its tasks");
  if (absl::Status status = crew->StartAll(); !status.ok()) return status;
  TerminateAtExit(crew);
  if (options.retries > 0 || options.task_timeout != absl::InfiniteDuration() ||
      options.on_progress != nullptr) {
    crew->Helper();
  }
  return crew;
}

Crew::~Crew() {
  // In a child: a thread of its parent's.
  if (helper_.joinable()) helper_.detach();
}

absl::Status Crew::StartAll() {
  workers_.resize(static_cast<size_t>(options_.workers));
  for (uint32_t w = 0; w < workers_.size(); ++w) {
    if (absl::Status status = StartWorker(w); !status.ok()) {
      Terminate(SIGKILL);
      return status;
    }
  }
  return absl::OkStatus();
}

absl::Status Crew::StartWorker(uint32_t w) {
  state_->Record(w).Reset();
  ProcessOptions process;
  if (!options_.name.empty()) process.name = absl::StrCat(options_.name, "-", w);
  // It may have children, and so is no daemon, but ends as one does.
  process.daemon = false;
  process.on_parent_exit = OnParentExit::kKill;
  process.start_method = options_.start_method;
  const WorkerOrder order = {.index = w,
                             .most_tasks = options_.max_tasks_per_child,
                             .memory_limit = options_.memory_limit,
                             .tells_time = options_.task_timeout != absl::InfiniteDuration()};
  workers_[w] = Process(process, &PoolWorkerMain, PoolHandle(state_), order,
                        WorkerInitializer{options_.initializer.target()});
  dying_ = true;
  dying_wait_ = kFirstWait;
  return workers_[w].Start();
}

bool Crew::IsMaker() const { return generation_ == ForkGeneration(); }

absl::Status Crew::CheckIsMaker() const {
  if (IsMaker()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "Pool: it is pid ", maker_pid_, "'s, which has made it; make one in this process"));
}

// Tasks ----------------------------------------------------------------------------------------

std::vector<pid_t> Crew::pids() const {
  if (!IsMaker()) return {};
  const Lock lock(mutex_);
  std::vector<pid_t> pids;
  for (const Process& worker : workers_) {
    if (worker.pid() != 0 && !worker.exitcode().has_value()) {
      pids.push_back(worker.pid());
    }
  }
  return pids;
}

absl::Status Crew::CheckMayPut(bool feeds) const {
  if (!broken_.ok()) return broken_;
  if (terminated_ || (closed_ && !feeds)) {
    return absl::FailedPreconditionError(
        absl::StrCat(Describe(), terminated_ ? " is terminated" : " is closed"));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> Crew::Put(const JobPointer& job, const std::shared_ptr<TaskSink>& sink,
                                   uint64_t index, const Encoder& argument, bool feeds) {
  if (absl::Status status = CheckIsMaker(); !status.ok()) return status;
  const Lock lock(mutex_);
  if (absl::Status status = CheckMayPut(feeds); !status.ok()) return status;
  const absl::StatusOr<uint32_t> task = maker_.Allocate();
  if (!task.ok()) return task.status();
  PoolTask& it = (*state_)[*task];
  it.job = static_cast<const PoolJob&>(*job).note();
  if (absl::Status status = StoreValue(argument, *state_, it.argument); !status.ok()) {
    it.argument.Clear();
    maker_.Unallocate(*task);
    return status;
  }
  if (entries_.size() <= *task) entries_.resize(std::max<size_t>(*task + 1, 2 * entries_.size()));
  entries_[*task] = {.sink = sink, .job = job, .index = index};
  ++in_flight_;
  maker_.Put(*task);
  state_->WakeWorkers(1);
  return *task;
}

absl::Status Crew::AwaitRoom() {
  if (options_.max_in_flight == 0 || !IsMaker()) return absl::OkStatus();
  if (DriveUntil([this] { return in_flight_ < options_.max_in_flight; }, nullptr)) {
    return absl::OkStatus();
  }
  return absl::CancelledError("so many tasks are under way as may be");
}

bool Crew::Cancel(uint32_t task, const TaskSink& sink) {
  if (!IsMaker()) return false;
  std::vector<Harvested> harvested;
  Lock lock(mutex_);
  if (task >= entries_.size() || entries_[task].sink.get() != &sink ||
      !maker_.RevokeIfReady(task)) {
    return false;
  }
  harvested.push_back(DropOutcome(task, absl::CancelledError("the task was cancelled")));
  HandOver(lock, harvested);
  Notify();
  return true;
}

bool Crew::IsTaken(uint32_t task, const TaskSink& sink) const {
  if (!IsMaker()) return false;
  const Lock lock(mutex_);
  return task < entries_.size() && entries_[task].sink.get() == &sink &&
         maker_.Look(task).phase != Phase::kReady;
}

absl::Status Crew::BeginFeeding(std::weak_ptr<Feeder> feeder) {
  if (absl::Status status = CheckIsMaker(); !status.ok()) return status;
  const Lock lock(mutex_);
  if (absl::Status status = CheckMayPut(/*feeds=*/false); !status.ok()) return status;
  ++feeders_;
  std::erase_if(streams_, [](const std::weak_ptr<Feeder>& stream) { return stream.expired(); });
  if (!feeder.expired()) streams_.push_back(std::move(feeder));
  return absl::OkStatus();
}

void Crew::EndFeeding() {
  if (!IsMaker()) return;
  const Lock lock(mutex_);
  --feeders_;
  CloseIfDone();
  Notify();
}

// Somebody's `done()` may have changed. Under the lock.
void Crew::Notify() {
  if (driving_) state_->Tell();
  if (others_ != 0) changed_.notify_all();
}

// Outcomes -------------------------------------------------------------------------------------

Crew::Harvested Crew::OutcomeOf(uint32_t task) {
  const TaskWord as = maker_.Look(task);
  Harvested harvested = {.task = task,
                         .worker = workers_[as.worker].pid(),
                         .entry = std::move(entries_[task]),
                         .trouble = nullptr};
  initializer_deaths_ = 0;
  if (as.phase == Phase::kDone) return harvested;
  harvested.trouble = std::make_unique<TaskOutcome>();
  TaskOutcome& outcome = *harvested.trouble;
  outcome.kind = TaskOutcome::Kind::kError;
  outcome.failure = {.pid = harvested.worker, .attempt = harvested.entry.attempt};
  Decoder decoder((*state_)[task].result.View());
  const absl::Status decoded =
      Guarded(absl::StatusCode::kDataLoss, [&] { outcome.error = TaskError::Get(decoder); });
  if (!decoded.ok()) {
    outcome.error = {
        .status = absl::ResourceExhaustedError("no memory for its result: see MP_COMMIT_LIMIT")};
  }
  return harvested;
}

Crew::Harvested Crew::DropOutcome(uint32_t task, const absl::Status& why) {
  return {.task = task,
          .worker = 0,
          .entry = std::move(entries_[task]),
          .trouble = std::make_unique<TaskOutcome>(
              TaskOutcome{.kind = TaskOutcome::Kind::kDropped, .why = why})};
}

void Crew::CollectFinished(std::vector<Harvested>& harvested) {
  maker_.TakeFinished([&](uint32_t task) { harvested.push_back(OutcomeOf(task)); });
}

// Without the lock: what a sink does is the program's.
void Crew::HandOver(Lock& lock, std::vector<Harvested>& harvested) {
  if (harvested.empty()) return;
  lock.unlock();
  for (Harvested& one : harvested) {
    PoolTask& it = (*state_)[one.task];
    if (one.trouble != nullptr) {
      one.entry.sink->Take(one.entry.index, *one.trouble);
    } else {
      Decoder decoder(it.result.View(), it.result.Handles());
      one.entry.sink->Take(
          one.entry.index,
          {.result = &decoder, .failure = {.pid = one.worker, .attempt = one.entry.attempt}});
    }
    FreeValue(it.result);
    FreeValue(it.argument);
  }
  lock.lock();
  for (Harvested& one : harvested) maker_.Recycle(one.task);
  in_flight_ -= harvested.size();
  outcomes_ += harvested.size();
  CloseIfDone();
  lock.unlock();
  harvested.clear();  // the last of a job, or of a sink, may go
  lock.lock();
}

// Deaths ---------------------------------------------------------------------------------------

// Whether it is no longer of the family: dead, or another program by now.
bool Crew::IsGone(uint32_t w) const {
  const ProcessId id = state_->Record(w).process.load(std::memory_order_acquire);
  if (id == 0) return false;  // it has not begun
  const ProcessTable::Kind kind = Domain::Current()->processes().Find(id).kind;
  return kind == ProcessTable::Kind::kFree || kind == ProcessTable::Kind::kDead;
}

// Of one without an exit code. The kernel, or the fork server, gives it later than it is known that
// there will be one.
bool Crew::IsDying(uint32_t w) const {
  const WorkerRecord& record = state_->Record(w);
  return IsGone(w) || record.process.load(std::memory_order_acquire) == 0 ||
         record.exits.load(std::memory_order_acquire) != 0;
}

// What is finished has been collected.
void Crew::Heal(std::vector<Harvested>& harvested) {
  if (!std::exchange(dying_, false)) dying_wait_ = kFirstWait;
  LookIfBroken(harvested);
  for (uint32_t w = 0; w < workers_.size(); ++w) {
    Process& worker = workers_[w];
    if (worker.pid() == 0) {  // it could not be started
      Replace(w, harvested);
      continue;
    }
    if (state_->Record(w).phase.load(std::memory_order_acquire) == WorkerRecord::kLeaves) {
      // It may have finished its last task since.
      CollectFinished(harvested);
      initializer_deaths_ = 0;
      if (!worker.exitcode().has_value()) leaving_.push_back(std::move(worker));
      Replace(w, harvested);
      continue;
    }
    const std::optional<int> exitcode = worker.exitcode();
    if (!exitcode.has_value()) {
      // Another program might never end.
      if (IsGone(w)) worker.Kill();
      dying_ = dying_ || IsDying(w);
      continue;
    }
    CollectFinished(harvested);
    HealOne(w, *exitcode, harvested);
    Replace(w, harvested);
  }
  std::erase_if(leaving_, [](const Process& process) { return process.exitcode().has_value(); });
}

void Crew::HealOne(uint32_t w, int exitcode, std::vector<Harvested>& harvested) {
  const pid_t pid = workers_[w].pid();
  for (uint32_t task = 0; task < entries_.size(); ++task) {
    if (entries_[task].sink == nullptr) continue;
    const TaskWord as = maker_.Look(task);
    if (as.worker != w) continue;
    if (as.phase == Phase::kDone || as.phase == Phase::kFailed) {
      // It died before it had told so (P3).
      harvested.push_back(OutcomeOf(task));
    } else if (as.phase == Phase::kTaken || as.phase == Phase::kRevoked) {
      FreeResultOfDead(task);
      TaskFailure failure = {
          .pid = pid,
          .exitcode = exitcode,
          .attempt = entries_[task].attempt,
          .reason = exitcode < 0 ? TaskFailure::Reason::kKilled : TaskFailure::Reason::kExited};
      if (entries_[task].timed_out) failure.reason = TaskFailure::Reason::kTimeLimit;
      LoseTask(task, failure, harvested);
    }
  }
  const uint64_t phase = state_->Record(w).phase.load(std::memory_order_acquire);
  if (phase == WorkerRecord::kWorks || phase == WorkerRecord::kLeaves) {
    initializer_deaths_ = 0;
    return;
  }
  // One that is killed is none of its own doing; but so many are. Before it has begun only others
  // kill it.
  const bool by_others = phase == WorkerRecord::kStarts && exitcode == -SIGKILL;
  const int most_deaths = by_others ? 100 : 3 + static_cast<int>(workers_.size());
  if (exitcode >= 0 || ++initializer_deaths_ >= most_deaths) {
    const char* const where =
        phase == WorkerRecord::kInitializes ? ": its initializer: " : ": before its initializer: ";
    Break(absl::AbortedError(absl::StrCat(Describe(), where, "the worker (pid ", pid, ") ",
                                          DescribeEnd(exitcode))),
          harvested);
  }
}

void Crew::LoseTask(uint32_t task, const TaskFailure& failure, std::vector<Harvested>& harvested) {
  if (failure.reason != TaskFailure::Reason::kTimeLimit && failure.attempt <= options_.retries &&
      !terminated_ && broken_.ok() && PutAgain(task)) {
    return;
  }
  Harvested lost = DropOutcome(task, absl::OkStatus());
  lost.trouble->kind = TaskOutcome::Kind::kLost;
  lost.trouble->failure = failure;
  harvested.push_back(std::move(lost));
}

// Behind all others. The same place in the list may not be used again yet (P1).
bool Crew::PutAgain(uint32_t task) {
  const absl::StatusOr<uint32_t> again = maker_.Allocate();
  if (!again.ok()) return false;
  PoolTask& from = (*state_)[task];
  PoolTask& to = (*state_)[*again];
  to.job = from.job;
  to.argument = from.argument;
  from.argument.Clear();
  if (entries_.size() <= *again) entries_.resize(*again + 1);
  entries_[*again] = std::move(entries_[task]);
  entries_[task] = {};
  ++entries_[*again].attempt;
  entries_[*again].sink->MoveTo(*again);
  maker_.Recycle(task);
  maker_.Put(*again);
  state_->WakeWorkers(1);
  return true;
}

// P4. Its burial has freed it, if it was still its own; then there may be something else.
void Crew::FreeResultOfDead(uint32_t task) {
  TaskValue<48>& result = (*state_)[task].result;
  if (!result.InBlock()) return;
  Domain& domain = *Domain::Current();
  const Owner pool = Owner::Object(state_.get());
  if (!domain.heap().ChangeOwner(result.block, pool, domain.AsHolder())) {
    result.Clear();
  } else if (IsNamed(result.block, task)) {
    domain.heap().SetOwner(result.block, pool);
    result.Clear();
  } else {
    FreeValue(result);
  }
}

bool Crew::IsNamed(const void* block, uint32_t but) const {
  for (uint32_t task = 0; task < maker_.bound(); ++task) {
    const PoolTask& it = (*state_)[task];
    if (it.argument.InBlock() && it.argument.block == block) return true;
    if (task != but && it.result.InBlock() && it.result.block == block) return true;
  }
  const std::lock_guard lock(book_->mutex);
  return book_->blocks.contains(block);
}

void Crew::Replace(uint32_t w, std::vector<Harvested>& harvested) {
  if (terminated_ || !broken_.ok() || (workers_told_ && in_flight_ == 0)) return;
  const absl::Status started = StartWorker(w);
  if (started.ok()) return;
  workers_[w] = Process();
  // With fewer workers, as long as there is one.
  const bool any = std::any_of(workers_.begin(), workers_.end(), [](const Process& worker) {
    return worker.pid() != 0 && !worker.exitcode().has_value();
  });
  if (!any) Break(started, harvested);
}

void Crew::LookIfBroken(std::vector<Harvested>& harvested) {
  const uint64_t note = state_->broken.load(std::memory_order_acquire);
  if (note == 0 || !broken_.ok()) return;
  const auto& value = reinterpret_cast<const TaskNote*>(note)->value;
  Decoder decoder(value.View());
  absl::StatusOr<absl::Status> why = Decode<absl::Status>(decoder);
  absl::Status status = why.ok() ? *why : why.status();
  Break({status.code(), absl::StrCat(Describe(), ": its initializer: ", status.message())},
        harvested);
}

// No worker can begin: what is not done will not be.
void Crew::Break(const absl::Status& why, std::vector<Harvested>& harvested) {
  if (!broken_.ok()) return;
  broken_ = why;
  DropAll(why, /*taken=*/false, harvested);
  CloseIfDone();
}

void Crew::DropAll(const absl::Status& why, bool taken, std::vector<Harvested>& harvested) {
  for (uint32_t task = 0; task < entries_.size(); ++task) {
    if (entries_[task].sink == nullptr) continue;
    if (maker_.RevokeIfReady(task)) {
      harvested.push_back(DropOutcome(task, why));
    } else if (taken) {
      // No worker is left.
      const Phase phase = maker_.Look(task).phase;
      if (phase == Phase::kDone || phase == Phase::kFailed) {
        harvested.push_back(OutcomeOf(task));
      } else {
        FreeResultOfDead(task);
        harvested.push_back(DropOutcome(task, why));
      }
    }
  }
}

// To wait --------------------------------------------------------------------------------------

// Whether a worker that is dying, or has not begun, is to be looked at again: soon, as a rule.
bool Crew::IsTimeToHeal() {
  constexpr absl::Duration kRarely = absl::Milliseconds(20);
  if (!dying_ || !IsPast(look_again_)) return false;
  look_again_ = MonotonicDeadline(dying_wait_);
  dying_wait_ = std::min(2 * dying_wait_, kRarely);
  return true;
}

// By the one that drives: whether anything has happened.
bool Crew::Drive(Lock& lock, std::vector<Harvested>& harvested) {
  const PoolMaker::News news = maker_.LookForNews();
  CollectFinished(harvested);
  if (IsTimeToHeal() || news != news_) {
    news_ = news;
    Heal(harvested);
  }
  if (harvested.empty()) return false;
  HandOver(lock, harvested);
  return true;
}

bool Crew::DriveUntil(absl::FunctionRef<bool()> done, const timespec* deadline,
                      absl::FunctionRef<size_t()> to_come) {
  if (!IsMaker()) return false;
  std::vector<Harvested> harvested;  // here, so that its memory is used again
  Lock lock(mutex_);
  while (!done()) {
    const bool late = CancelScope::IsLate(deadline);
    if (driving_) {
      if (late) return false;
      WaitForOther(lock, deadline);
      continue;
    }
    driving_ = true;
    if (!Drive(lock, harvested) && !late && !done()) {
      const PoolMaker::News news = news_;
      const absl::Duration wait = LookAtTimes();
      const timespec next = MonotonicDeadline(wait);
      const absl::Duration left =
          deadline == nullptr ? absl::InfiniteDuration() : TimeLeft(*deadline);
      const size_t at_least = others_ == 0 ? std::max<size_t>(1, to_come()) : 1;
      sleeps_ = at_least > 1;
      const uint64_t until = maker_.After(at_least);
      lock.unlock();
      maker_.AwaitFinished(until, news, wait < left ? &next : deadline);
      lock.lock();
      sleeps_ = false;
    }
    driving_ = false;
    if (others_ != 0) changed_.notify_all();
    if (late) return done();
  }
  return true;
}

void Crew::WaitForOther(Lock& lock, const timespec* deadline) {
  // So often it looks whether it is cancelled, of which nobody tells it.
  constexpr absl::Duration kSlice = absl::Milliseconds(50);
  // For one outcome, maybe.
  if (std::exchange(sleeps_, false)) state_->Tell();
  const absl::Duration left = deadline == nullptr ? absl::InfiniteDuration() : TimeLeft(*deadline);
  const bool slices = CancelScope::Innermost() != nullptr;
  ++others_;
  changed_.wait_for(
      lock, absl::ToChronoNanoseconds(std::min({left, slices ? kSlice : absl::Seconds(1)})));
  --others_;
}

// Kills those whose time is over. How long it is until the next look.
absl::Duration Crew::LookAtTimes() {
  absl::Duration wait = absl::InfiniteDuration();
  if (dying_) wait = std::max(TimeLeft(look_again_), absl::ZeroDuration());
  if (options_.task_timeout == absl::InfiniteDuration()) return wait;
  wait = std::min({wait, options_.task_timeout, absl::Seconds(1)});
  for (uint32_t w = 0; w < workers_.size(); ++w) {
    Word& since = state_->Record(w).since;
    const uint64_t begun = since.load(std::memory_order_acquire);
    if (begun == 0) continue;
    const absl::Duration left =
        TimeLeft(absl::ToTimespec(absl::Nanoseconds(begun) + options_.task_timeout));
    if (left > absl::ZeroDuration()) {
      wait = std::min(wait, left);
      continue;
    }
    for (uint32_t task = 0; task < entries_.size(); ++task) {
      if (entries_[task].sink == nullptr) continue;
      const TaskWord as = maker_.Look(task);
      if (as.phase != Phase::kTaken || as.worker != w) continue;
      // If that is still so, it is the task of which it tells.
      if (since.load(std::memory_order_acquire) != begun || !maker_.RevokeIfTaken(task)) break;
      entries_[task].timed_out = true;
      workers_[w].Kill();
      break;
    }
  }
  return wait;
}

void Crew::Helper() {
  if (!IsMaker()) return;
  const Lock lock(mutex_);
  if (helper_.joinable() || abandoned_) return;
  helper_ = std::thread([self = shared_from_this()] { self->Help(); });
}

void Crew::Help() {
  // Signals are the program's threads' to handle.
  static_cast<void>(DriveUntil([this] { return abandoned_ && IsAllDone(); }, nullptr));
}

void Crew::Abandon() {
  if (!IsMaker()) return;
  std::thread helper;
  bool all_done;
  {
    const Lock lock(mutex_);
    abandoned_ = true;
    all_done = IsAllDone();
    helper.swap(helper_);
    Notify();
  }
  if (!helper.joinable()) return;
  // In a callback it is this thread.
  if (all_done && helper.get_id() != std::this_thread::get_id()) {
    helper.join();
  } else {
    helper.detach();
  }
}

// To end ---------------------------------------------------------------------------------------

void Crew::CloseIfDone() {
  if (!closed_ || workers_told_ || feeders_ != 0) return;
  workers_told_ = true;
  maker_.Close();
}

bool Crew::closed() const {
  const Lock lock(mutex_);
  return closed_;
}

void Crew::Close() {
  if (!IsMaker()) return;
  const Lock lock(mutex_);
  closed_ = true;
  CloseIfDone();
}

void Crew::CancelWaiting() {
  std::vector<Harvested> harvested;
  Lock lock(mutex_);
  DropAll(absl::CancelledError("the pool was shut down"), /*taken=*/false, harvested);
  HandOver(lock, harvested);
  Notify();
}

void Crew::Terminate(int signal) {
  if (!IsMaker()) return;
  constexpr absl::Duration kPatience = absl::Seconds(1);
  std::vector<Harvested> harvested;
  Lock lock(mutex_);
  closed_ = true;
  if (!terminated_) {
    terminated_ = true;
    // Who drives is not to start one meanwhile.
    DropAll(Cancelled(), /*taken=*/false, harvested);
    CollectFinished(harvested);
  }
  HandOver(lock, harvested);
  std::vector<const Process*> all;
  for (const Process& worker : workers_) all.push_back(&worker);
  for (const Process& process : leaving_) all.push_back(&process);
  std::erase_if(all, [](const Process* process) { return process->pid() == 0; });
  for (const Process* process : all) {
    if (signal == SIGKILL) {
      process->Kill();
    } else {
      process->Terminate();
    }
  }
  const timespec end = MonotonicDeadline(kPatience);
  for (const Process* process : all) {
    if (process->Join(std::max(TimeLeft(end), absl::ZeroDuration()))) continue;
    process->Kill();
    while (!process->Join(absl::Seconds(1))) {
    }
  }
  CollectFinished(harvested);
  DropAll(Cancelled(), /*taken=*/true, harvested);
  HandOver(lock, harvested);
  Notify();
}

// Under the lock.
bool Crew::IsAllDone() const {
  return in_flight_ == 0 && (feeders_ == 0 || terminated_ || !broken_.ok());
}

absl::Status Crew::Join(const timespec* deadline) {
  if (absl::Status status = CheckIsMaker(); !status.ok()) return status;
  {
    const Lock lock(mutex_);
    if (!closed_) {
      return absl::FailedPreconditionError(
          absl::StrCat(Describe(), ": Join() before Close() or Terminate()"));
    }
  }
  for (;;) {
    std::vector<std::shared_ptr<Feeder>> streams;
    uint64_t before;
    {
      const Lock lock(mutex_);
      if (IsAllDone()) break;
      before = outcomes_;
      for (const std::weak_ptr<Feeder>& stream : streams_) streams.push_back(stream.lock());
    }
    // Who reads the results may read no more.
    for (const std::shared_ptr<Feeder>& stream : streams) {
      if (stream != nullptr) stream->FeedAhead();
    }
    if (!DriveUntil([&] { return IsAllDone() || outcomes_ != before; }, deadline)) {
      return absl::CancelledError("the pool still works");
    }
  }
  // With the lock: nobody starts another one.
  const Lock lock(mutex_);
  for (const Process& worker : workers_) {
    if (worker.pid() != 0) worker.Join();
  }
  for (const Process& process : leaving_) process.Join();
  return broken_;
}

}  // namespace mp::internal
