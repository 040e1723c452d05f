#include "mp/pool.h"

#include <signal.h>

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "mp/cpu_count.h"
#include "mp/internal/pool_state.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"

namespace mp {
namespace internal {

absl::StatusOr<std::shared_ptr<Crew>> MakeCrew(PoolOptions options) {
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
  return absl::InvalidArgumentError(absl::StrCat("Pool: ", why));
}

}  // namespace internal

absl::StatusOr<Pool> Pool::Create(const PoolOptions& options) {
  absl::StatusOr<std::shared_ptr<internal::Crew>> crew = internal::MakeCrew(options);
  if (!crew.ok()) return crew.status();
  return Pool(*std::move(crew));
}

Pool::Pool(const PoolOptions& options) {
  absl::StatusOr<std::shared_ptr<internal::Crew>> crew = internal::MakeCrew(options);
  if (!crew.ok()) internal::Fatal(absl::StrCat("Pool: ", crew.status().ToString()));
  crew_ = *std::move(crew);
}

Pool& Pool::operator=(Pool&& other) noexcept {
  End();
  crew_ = std::move(other.crew_);
  return *this;
}

Pool::~Pool() { End(); }

void Pool::End() {
  if (crew_ == nullptr || !crew_->IsMaker()) return;
  crew_->Close();
  static_cast<void>(crew_->Join(&internal::kUncancelled));
}

void Pool::Close() { crew_->Close(); }

void Pool::Terminate() { crew_->Terminate(SIGTERM); }

absl::Status Pool::Join() { return crew_->Join(nullptr); }

}  // namespace mp
