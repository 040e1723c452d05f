#include <iostream>
#include <numeric>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mp/mp.h"

namespace {

constexpr int kTasks = 40;
constexpr int kEndless = 7;

int Work(int task) {
  if (task == kEndless) absl::SleepFor(absl::InfiniteDuration());
  return task;
}

}  // namespace

int main() {
  mp::PoolProgress last;
  mp::Pool pool({.workers = 2,
                 .task_timeout = absl::Seconds(2),
                 // In whichever thread learns of it; Map() returns after the last call.
                 .on_progress = [&last](const mp::PoolProgress& so_far) {
                   std::cerr << so_far.done << " of " << so_far.total << ", " << so_far.rate
                             << " a second\n";
                   last = so_far;
                 }});
  std::vector<int> tasks(kTasks);
  std::iota(tasks.begin(), tasks.end(), 0);

  // The first that failed, when all are done.
  const absl::StatusOr<std::vector<int>> all = pool.Map(&Work, tasks, /*chunksize=*/1);
  std::cout << last.done << " of " << last.total << " tasks are done, " << last.failed
            << " of them in vain\n";
  const std::optional<mp::TaskFailure> failure = mp::GetTaskFailure(all.status());
  if (failure.has_value() && failure->reason == mp::TaskFailure::Reason::kTimeLimit) {
    std::cout << "task " << failure->index
              << " took too long: " << absl::StatusCodeToString(all.status().code()) << "\n";
  }

  // Its worker was killed, and another one has taken its place.
  tasks.erase(tasks.begin() + kEndless);
  std::cout << "without it " << mp::OrDie(pool.Map(&Work, tasks)).size() << " of " << tasks.size()
            << " are done\n";
}
