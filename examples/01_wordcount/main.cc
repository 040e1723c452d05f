// Counts the words of files and folders, in several processes at once.
//
//   01_wordcount [--workers=N] [--top=N] [--kill=N] [path...]

#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <random>
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
#include "examples/01_wordcount/tally.h"
#include "examples/01_wordcount/words.h"
#include "examples/01_wordcount/work.h"
#include "mp/process.h"
#include "shared/shared.h"
#include "sync/lock.h"

namespace wordcount {
namespace {

// What the processes share. These are handles: a copy means the same object.
struct Common {
  explicit Common(size_t files) : work(files) {}

  mp::Shared<Work> work;
  mp::Shared<Tally> tally;
  mp::Lock lock;        // of the tally
  mp::Lock kills_made;  // held by the parent until it has killed as many as it shall
};

// A worker: takes files until none is left, counts each for itself, then merges it.
absl::Status CountFiles(const std::vector<std::string>& files, const Common& common, int worker) {
  while (const std::optional<size_t> file = common.work->Take(worker)) {
    // The last file waits, so that there is work as long as there are workers to be killed.
    if (*file + 1 == files.size()) mp::LockGuard wait(common.kills_made);
    const absl::StatusOr<FileWords> words = CountFile(files[*file]);
    if (absl::IsResourceExhausted(words.status())) return words.status();  // not the file's fault

    mp::LockGuard guard(common.lock);
    if (guard.owner_died()) {
      // A worker was killed while it merged, so the tally may be half-written: away with it.
      // If we die in here, the next one does it again.
      common.tally.Reset();
      common.work->BeginAnew();
      common.lock.MarkConsistent();
    }
    if (words.ok()) {
      common.tally->Merge(*words);
    } else {
      common.tally->Skip(absl::StrCat(files[*file], ": ", words.status().message()));
    }
    // Before: the file is ours. If we die, it is given back, and whoever has counted it then
    //         gets the lock of a dead owner, and begins anew.
    // After:  it is done; if we die before the lock is free, the next holder, if there is one,
    //         begins anew all the same.
    common.work->MarkDone(*file);
  }
  return absl::OkStatus();
}

// A new worker by that number takes the place of the one that was, if any.
absl::Status StartWorker(const std::vector<std::string>& files, const Common& common, size_t number,
                         std::vector<mp::Process>& workers) {
  mp::Process worker(CountFiles, std::cref(files), common, static_cast<int>(number));
  if (absl::Status started = worker.Start(); !started.ok()) return started;
  if (number == workers.size()) workers.emplace_back();
  workers[number] = std::move(worker);
  return absl::OkStatus();
}

// Kills random workers, and replaces them: the first of N when 1/(N+1) of the files is done,
// and so on. How many they were: fewer only if there are no workers, or one failed.
size_t KillWorkers(size_t kills, const std::vector<std::string>& files, const Common& common,
                   std::vector<mp::Process>& workers, ProgressBar& bar) {
  std::mt19937 random(std::random_device{}());
  size_t made = 0;
  while (made < kills) {
    std::vector<size_t> alive;
    for (size_t i = 0; i < workers.size(); ++i) {
      const std::optional<int> code = workers[i].exitcode();
      if (!code) alive.push_back(i);
      if (code.value_or(0) != 0) return made;  // not by us: its file stays where it is
    }
    if (alive.empty()) return made;

    const size_t number = alive[random() % alive.size()];
    const mp::Process& victim = workers[number];
    const size_t done = common.work->Done();
    bar.Update(done);
    if (done < (made + 1) * files.size() / (kills + 1)) {
      static_cast<void>(victim.Join(absl::Microseconds(100)));  // and look again
      continue;
    }
    victim.Kill();
    victim.Join();
    if (victim.exitcode() != -SIGKILL) continue;  // it had ended by itself
    ++made;
    common.work->GiveBack(static_cast<int>(number));
    if (const absl::Status started = StartWorker(files, common, number, workers); !started.ok()) {
      std::fprintf(stderr, "wordcount: a dead worker is not replaced: %s\n",
                   started.ToString().c_str());
      return made;
    }
  }
  return made;
}

// False, with a message: the tally is not whole.
bool IsWhole(const std::vector<mp::Process>& workers, size_t files, const Common& common) {
  bool whole = common.work->Done() == files;
  for (const mp::Process& worker : workers) {
    const int code = worker.exitcode().value();
    if (code == 0) continue;
    std::fprintf(stderr, "wordcount: %s %s %d\n", worker.name().c_str(),
                 code < 0 ? "was killed by signal" : "failed with exit code", std::abs(code));
    whole = false;
  }
  if (!whole) std::fprintf(stderr, "wordcount: no result, since words would be missing\n");
  return whole;
}

int Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  EnterCallersFolder();
  const Inputs inputs = FindInputs(options.paths.empty() ? DefaultPaths() : options.paths);
  const std::vector<std::string>& files = inputs.files;
  const absl::Time start = absl::Now();

  const Common common(files.size());
  common.kills_made.Acquire();
  std::vector<mp::Process> workers;
  while (workers.size() < std::min(options.workers, files.size())) {
    if (const absl::Status started = StartWorker(files, common, workers.size(), workers);
        !started.ok()) {
      std::fprintf(stderr, "wordcount: no more than %zu workers: %s\n", workers.size(),
                   started.ToString().c_str());
      break;  // those that run do all the work
    }
  }

  size_t killed = 0;
  {
    ProgressBar bar(files.size());
    killed = KillWorkers(options.kill, files, common, workers, bar);
    common.kills_made.Release();
    for (const mp::Process& worker : workers) {
      while (!worker.Join(absl::Milliseconds(100))) bar.Update(common.work->Done());
    }
  }
  if (options.kill > 0) {
    std::fprintf(stderr, "wordcount: workers killed, and replaced: %zu\n", killed);
  }
  if (!IsWhole(workers, files.size(), common)) {
    common.tally.Reset();  // it may be half-written, and then its destructor would not do
    return EXIT_FAILURE;
  }
  const bool printed = Report(*common.tally, inputs.skipped, options.top, absl::Now() - start);
  return printed ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace wordcount

int main(int argc, char** argv) { return wordcount::Main(argc, argv); }
