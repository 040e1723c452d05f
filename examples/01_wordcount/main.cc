// Counts the words of files and folders, in several processes at once.
//
//   01_wordcount [--workers=N] [--top=N] [path...]

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
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
#include "mp/process.h"
#include "shared/shared.h"
#include "sync/lock.h"

namespace wordcount {
namespace {

// A worker: takes files until none is left, counts each for itself, then merges it.
absl::Status CountFiles(const std::vector<std::string>& files, mp::Shared<std::atomic<size_t>> next,
                        mp::Lock lock, mp::Shared<Tally> tally) {
  for (size_t file; (file = next->fetch_add(1)) < files.size();) {
    const absl::StatusOr<FileWords> words = CountFile(files[file]);
    if (absl::IsResourceExhausted(words.status())) return words.status();  // not the file's fault
    mp::LockGuard guard(lock);
    if (guard.owner_died()) return absl::AbortedError("a worker died while it was merging");
    if (words.ok()) {
      tally->Merge(file, *words);
    } else {
      tally->Skip(file, absl::StrCat(files[file], ": ", words.status().message()));
    }
  }
  return absl::OkStatus();
}

// False, with a message: the tally is not whole.
bool JoinAll(const std::vector<mp::Process>& workers, size_t files, const Tally& tally) {
  {
    ProgressBar bar(files);
    for (const mp::Process& worker : workers) {
      while (!worker.Join(absl::Milliseconds(100))) bar.Update(tally.done);
    }
  }
  bool whole = tally.done == files;
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

  // What the processes share. These are handles: a copy means the same object.
  mp::Shared<std::atomic<size_t>> next(0);
  mp::Shared<Tally> tally(files.size());
  mp::Lock lock;

  std::vector<mp::Process> workers;
  while (workers.size() < std::min(options.workers, files.size())) {
    mp::Process worker(CountFiles, std::cref(files), next, lock, tally);
    if (const absl::Status started = worker.Start(); !started.ok()) {
      std::fprintf(stderr, "wordcount: no more than %zu workers: %s\n", workers.size(),
                   started.ToString().c_str());
      break;  // those that run do all the work
    }
    workers.push_back(std::move(worker));
  }

  if (!JoinAll(workers, files.size(), *tally)) return EXIT_FAILURE;
  const bool printed = Report(*tally, inputs.skipped, options.top, absl::Now() - start);
  return printed ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace wordcount

int main(int argc, char** argv) { return wordcount::Main(argc, argv); }
