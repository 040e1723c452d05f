// The heap of a domain: small blocks in one process and in two at once, beside malloc; large
// blocks, kept and given back.

#include <cstdint>
#include <cstdlib>

#include "benchmark/benchmark.h"
#include "shared/domain.h"
#include "tests/benchmarks/processes.h"

namespace mp {
namespace {

struct DomainHeap {
  static void* Allocate(size_t size) {
    const absl::StatusOr<void*> block = Domain::Current()->Allocate(size);
    if (!block.ok()) std::abort();
    return *block;
  }
  static void Free(void* block) { Domain::Current()->Free(block); }
};

// Private to the process, and gone with it: what no sharing at all costs.
struct Malloc {
  static void* Allocate(size_t size) { return std::malloc(size); }
  static void Free(void* block) { std::free(block); }
};

template <typename H>
void BM_HeapAllocateFree(benchmark::State& state) {
  if (!Domain::Get().ok()) std::abort();
  const auto size = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* block = H::Allocate(size);
    benchmark::DoNotOptimize(block);
    H::Free(block);
  }
}
BENCHMARK_TEMPLATE(BM_HeapAllocateFree, DomainHeap)
    ->ArgName("bytes")
    ->Arg(64)
    ->Arg(4096)
    ->Arg(65536)
    ->Arg(1 << 20)
    ->Arg(64 << 20);
BENCHMARK_TEMPLATE(BM_HeapAllocateFree, Malloc)->ArgName("bytes")->Arg(64);

// Items: pairs of allocate and free, of all processes.
template <typename H>
void BM_HeapInProcesses(benchmark::State& state) {
  if (!Domain::Get().ok()) std::abort();
  constexpr int64_t kRounds = 500'000;
  const auto processes = static_cast<int>(state.range(0));
  for (auto _ : state) {
    state.SetIterationTime(benchmarks::RunInProcesses(processes, [] {
      for (int64_t i = 0; i < kRounds; ++i) {
        void* block = H::Allocate(64);
        benchmark::DoNotOptimize(block);
        H::Free(block);
      }
    }));
  }
  state.SetItemsProcessed(state.iterations() * processes * kRounds);
}
BENCHMARK_TEMPLATE(BM_HeapInProcesses, DomainHeap)
    ->ArgName("procs")
    ->Arg(1)
    ->Arg(2)
    ->UseManualTime();

}  // namespace
}  // namespace mp
