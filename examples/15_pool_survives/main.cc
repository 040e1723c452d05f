#include <signal.h>

#include <cstddef>
#include <iostream>
#include <numeric>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/mp.h"

namespace {

std::vector<int> Numbers(int n) {
  std::vector<int> numbers(static_cast<size_t>(n));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

int Square(int x) { return x * x; }

int SquareOfTheLucky(int x) {
  if (x % 10 == 3) raise(SIGKILL);
  return Square(x);
}

// Workers are killed from outside, wherever they are. What they had is run again.
void WithRetries() {
  constexpr int kTasks = 2'000;
  constexpr int kKills = 50;
  mp::Pool pool({.workers = 4, .retries = kKills});
  mp::PoolResults<int> squares = pool.ImapUnordered(&Square, Numbers(kTasks));
  int right = 0;
  for (int taken = 0; !squares.ended(); ++taken) {
    if (taken % (kTasks / kKills) == 0) {
      const std::vector<pid_t> workers = pool.worker_pids();
      // It may just have been buried.
      if (!workers.empty()) mp::Kill(workers.front(), SIGKILL).IgnoreError();
    }
    const int square = mp::OrDie(squares.Next());
    right += square == Square(static_cast<int>(squares.index())) ? 1 : 0;
  }
  std::cout << "with retries: " << right << " of " << kTasks << " are done\n";
}

// Lost are the tasks in which a worker died, and no others.
void WithoutRetries() {
  constexpr int kTasks = 40;
  mp::Pool pool(4);
  int done = 0;
  for (const absl::StatusOr<int>& square : pool.Imap(&SquareOfTheLucky, Numbers(kTasks))) {
    if (square.ok()) {
      ++done;
    } else if (const auto failure = mp::GetTaskFailure(square.status())) {
      std::cout << "task " << failure->index << ": "
                << absl::StatusCodeToString(square.status().code()) << ", its worker ended with "
                << failure->exitcode << "\n";
    }
  }
  std::cout << "without: " << done << " of " << kTasks << " are done\n";
}

}  // namespace

int main() {
  WithRetries();
  WithoutRetries();
}
