// Counts the words of files and folders, in several processes at once.
//
//   01_wordcount [--workers=N] [--top=N] [--kill=N] [path...]

#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "examples/01_wordcount/inputs.h"
#include "examples/01_wordcount/options.h"
#include "examples/01_wordcount/progress.h"
#include "examples/01_wordcount/report.h"
#include "examples/01_wordcount/words.h"
#include "mp/pool.h"
#include "mp/signals.h"

namespace wordcount {
namespace {

// How often a file is counted again whose worker was killed, but by this program.
constexpr int kRetries = 3;

// In a worker: what the file adds to the tally.
absl::StatusOr<Tally> CountOne(const std::string& path) {
  absl::StatusOr<FileWords> words = CountFile(path);
  if (words.ok()) return Tally{.words = *std::move(words), .files = 1};
  if (absl::IsResourceExhausted(words.status())) return words.status();  // not the file's fault
  return Tally{.skipped = {absl::StrCat(path, ": ", words.status().message())}};
}

// Kills workers at random, and counts them.
class Killer {
 public:
  explicit Killer(const mp::Pool& pool) : pool_(pool) {}

  size_t killed() const { return killed_.size(); }
  // False: there is none, and none comes.
  bool KillOne() {
    const absl::Time patience = absl::Now() + absl::Minutes(1);
    for (; absl::Now() < patience; absl::SleepFor(absl::Milliseconds(1))) {
      std::vector<pid_t> alive = pool_.worker_pids();
      std::erase_if(alive, [this](pid_t pid) { return killed_.contains(pid); });
      if (alive.empty()) continue;
      const pid_t pid = alive[random_() % alive.size()];
      if (!mp::Kill(pid, SIGKILL).ok()) continue;
      killed_.insert(pid);
      return true;
    }
    return false;
  }

 private:
  const mp::Pool& pool_;
  std::set<pid_t> killed_;
  std::mt19937 random_{std::random_device{}()};
};

struct Outcome {
  absl::Status status = {};  // not OK: there is no tally
  Tally tally = {};
  size_t killed = 0;
};

// `kills` workers are killed, each when its share of the files is done.
Outcome CountAll(const std::vector<std::string>& files, size_t workers, size_t kills) {
  if (files.empty()) return {};
  ProgressBar bar(files.size());
  workers = std::min(workers, files.size());
  absl::StatusOr<mp::Pool> pool = mp::Pool::Create(
      {.workers = static_cast<int>(workers),
       .retries = kRetries + static_cast<int>(kills),
       .max_in_flight = 4 * workers,
       .on_progress = [&bar](const mp::PoolProgress& so_far) { bar.Update(so_far.done); }});
  if (!pool.ok()) return {.status = pool.status()};

  Outcome outcome;
  Killer killer(*pool);
  mp::PoolResults<Tally> results = pool->ImapUnordered(&CountOne, files);
  for (size_t done = 0; !results.ended();) {
    if (killer.killed() < (done + 1) * kills / files.size() && killer.KillOne()) continue;
    const absl::StatusOr<Tally> file = results.Next();
    if (!file.ok()) {
      outcome.status = absl::Status(file.status().code(), absl::StrCat(files[results.index()], ": ",
                                                                       file.status().message()));
      pool->Terminate();
      break;
    }
    outcome.tally.Add(*file);
    ++done;
  }
  outcome.killed = killer.killed();
  return outcome;
}

int Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  EnterCallersFolder();
  const Inputs inputs = FindInputs(options.paths.empty() ? DefaultPaths() : options.paths);
  const absl::Time start = absl::Now();
  Outcome outcome = CountAll(inputs.files, options.workers, options.kill);
  if (options.kill > 0) {
    std::fprintf(stderr, "wordcount: workers killed, and replaced: %zu\n", outcome.killed);
  }
  if (!outcome.status.ok()) {
    std::fprintf(stderr, "wordcount: %s\nwordcount: no result, since words would be missing\n",
                 std::string(outcome.status.message()).c_str());
    return EXIT_FAILURE;
  }
  outcome.tally.Add({.skipped = inputs.skipped});
  const bool printed = Report(outcome.tally, options.top, absl::Now() - start);
  return printed ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace wordcount

int main(int argc, char** argv) { return wordcount::Main(argc, argv); }
