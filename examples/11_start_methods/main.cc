// The same workers, started in three ways.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "mp/mp.h"

namespace {

using Part = std::pair<int, int>;

// Made before main() in each process that begins anew, and filled in by main() only.
std::vector<std::string>& ProgramData() {
  static std::vector<std::string>& data = *new std::vector<std::string>;
  return data;
}

void Work(const mp::Queue<Part>& parts, const mp::Value<int>& sum, const mp::Value<int>& seen) {
  seen.Set(static_cast<int>(ProgramData().size()));
  for (;;) {
    const absl::StatusOr<Part> part = parts.Get();
    if (!part.ok()) return;  // shut down, and nothing is left
    int partial = 0;
    for (int i = part->first; i < part->second; ++i) partial += i;
    sum.Update([partial](int& total) { total += partial; });
  }
}

void Run(const char* name, mp::StartMethod method) {
  const mp::Queue<Part> parts;
  const mp::Value<int> sum(0);
  const mp::Value<int> seen(0);
  std::vector<mp::Process> workers;
  for (int i = 0; i < 3; ++i) {
    workers.emplace_back(mp::ProcessOptions{.start_method = method}, &Work, parts, sum, seen);
    mp::OrDie(workers.back().Start());
  }
  for (int from = 0; from <= 1000; from += 100) {
    mp::OrDie(parts.Put(Part(from, std::min(from + 100, 1001))));
  }
  parts.Shutdown();
  for (const mp::Process& worker : workers) worker.Join();
  absl::PrintF("%s: the sum is %d, and the workers see %d strings of the program\n", name,
               sum.Get(), seen.Get());
}

}  // namespace

int main(int argc, char** argv) {
  mp::Init(&argc, &argv);
  ProgramData() = {"read", "by", "main()"};
  Run("fork", mp::StartMethod::kFork);
  Run("spawn", mp::StartMethod::kSpawn);
  Run("forkserver", mp::StartMethod::kForkserver);
}
