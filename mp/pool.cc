#include "mp/pool.h"

#include <signal.h>

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/internal/crew.h"
#include "shared/internal/deadline.h"

namespace mp {
absl::StatusOr<Pool> Pool::Create(const PoolOptions& options) {
  absl::StatusOr<std::shared_ptr<internal::Crew>> crew = internal::MakeCrew(options, "Pool");
  if (!crew.ok()) return crew.status();
  return Pool(*std::move(crew));
}

Pool::Pool(const PoolOptions& options) : crew_(internal::CrewOrDie(options, "Pool")) {}

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
  crew_->Abandon();
}

void Pool::Close() { crew_->Close(); }

void Pool::Terminate() { crew_->Terminate(SIGTERM); }

absl::Status Pool::Join() { return crew_->Join(nullptr); }

}  // namespace mp
