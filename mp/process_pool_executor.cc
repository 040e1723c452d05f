#include "mp/process_pool_executor.h"

#include <signal.h>

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "mp/internal/crew.h"
#include "shared/internal/deadline.h"

namespace mp {

ProcessPoolExecutor::ProcessPoolExecutor(std::shared_ptr<internal::Crew> crew)
    : Executor(crew), crew_(std::move(crew)) {}

ProcessPoolExecutor::ProcessPoolExecutor(const PoolOptions& options)
    : ProcessPoolExecutor(internal::CrewOrDie(options, "ProcessPoolExecutor")) {}

ProcessPoolExecutor::ProcessPoolExecutor(int workers)
    : ProcessPoolExecutor(PoolOptions{.workers = internal::CheckedWorkers(workers)}) {}

absl::StatusOr<std::unique_ptr<ProcessPoolExecutor>> ProcessPoolExecutor::Create(
    const PoolOptions& options) {
  absl::StatusOr<std::shared_ptr<internal::Crew>> crew =
      internal::MakeCrew(options, "ProcessPoolExecutor");
  if (!crew.ok()) return crew.status();
  return std::unique_ptr<ProcessPoolExecutor>(new ProcessPoolExecutor(*std::move(crew)));
}

ProcessPoolExecutor::~ProcessPoolExecutor() {
  if (!crew_->IsMaker()) return;
  if (!crew_->closed()) ProcessPoolExecutor::DoShutdown(/*wait=*/true, /*cancel_futures=*/false);
  crew_->Abandon();
}

void ProcessPoolExecutor::DoShutdown(bool wait, bool cancel_futures) {
  if (!crew_->IsMaker()) return;
  crew_->Close();
  if (cancel_futures) crew_->CancelWaiting();
  if (wait) static_cast<void>(crew_->Join(&internal::kUncancelled));
}

void ProcessPoolExecutor::TerminateWorkers() { crew_->Terminate(SIGTERM); }

void ProcessPoolExecutor::KillWorkers() { crew_->Terminate(SIGKILL); }

}  // namespace mp
