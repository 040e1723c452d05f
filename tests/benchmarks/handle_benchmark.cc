// Handles beside std::shared_ptr: made, copied, put into the domain and taken out of it.
//
// threads:1 is a process that never had a second thread (__libc_single_threaded), as both
// count without locked instructions then; threads:2 is one that has.

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/single_threaded.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>

#include "benchmark/benchmark.h"
#include "shared/domain.h"
#include "shared/internal/proof_of_death.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/lock.h"
#include "tests/support/inherited.h"

namespace mp {
namespace {

// A place in the domain for a handle.
using Mailbox = Shared<std::optional<Lock>>;

// What the C library says of this process while a benchmark runs.
class Threads {
 public:
  explicit Threads(const benchmark::State& state) : before_(__libc_single_threaded) {
    if (before_ == 0) std::abort();  // this process was to have one thread
    __libc_single_threaded = state.range(0) == 1 ? 1 : 0;
  }
  ~Threads() { __libc_single_threaded = before_; }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  const char before_;
};

template <typename Handle>
void CopyAndDrop(benchmark::State& state, const Handle& handle) {
  const Threads threads(state);
  for (auto _ : state) {
    const Handle copy = handle;  // NOLINT(performance-unnecessary-copy-initialization)
    benchmark::DoNotOptimize(copy);
  }
}
void BM_HandleCopyDrop(benchmark::State& state) { CopyAndDrop(state, Lock()); }
BENCHMARK(BM_HandleCopyDrop)->ArgName("threads")->Arg(1)->Arg(2);
void BM_SharedPtrCopyDrop(benchmark::State& state) {
  CopyAndDrop(state, std::make_shared<uint64_t>(7));
}
BENCHMARK(BM_SharedPtrCopyDrop)->ArgName("threads")->Arg(1)->Arg(2);
// The least that counting up and down takes where several threads may.
void BM_LockedAddTwice(benchmark::State& state) {
  std::atomic<uint64_t> count(1);
  for (auto _ : state) {
    count.fetch_add(1, std::memory_order_acq_rel);
    count.fetch_sub(1, std::memory_order_acq_rel);
  }
}
BENCHMARK(BM_LockedAddTwice);

template <typename Object>
void BM_ObjectMakeDrop(benchmark::State& state) {
  const Object first;  // the arena has a slab
  const Threads threads(state);
  for (auto _ : state) {
    const Object object;
    benchmark::DoNotOptimize(object);
  }
}
BENCHMARK_TEMPLATE(BM_ObjectMakeDrop, RawValue<uint64_t>)->ArgName("threads")->Arg(1)->Arg(2);
BENCHMARK_TEMPLATE(BM_ObjectMakeDrop, Shared<uint64_t>)->ArgName("threads")->Arg(1);
BENCHMARK_TEMPLATE(BM_ObjectMakeDrop, Lock)->ArgName("threads")->Arg(1);
void BM_SharedPtrMakeDrop(benchmark::State& state) {
  const Threads threads(state);
  for (auto _ : state) {
    const auto object = std::make_shared<uint64_t>(7);
    benchmark::DoNotOptimize(object);
  }
}
BENCHMARK(BM_SharedPtrMakeDrop)->ArgName("threads")->Arg(1)->Arg(2);
// What a cell is made of.
void BM_HeapAllocateFree(benchmark::State& state) {
  Domain& domain = **Domain::Get();
  for (auto _ : state) {
    void* block = *domain.Allocate(64);
    benchmark::DoNotOptimize(block);
    domain.Free(block);
  }
}
BENCHMARK(BM_HeapAllocateFree);

// A mailbox with a handle to an object of another process, which lives as long as this.
class MailFromOther {
 public:
  MailFromOther() {
    int ready[2];
    if (pipe(ready) != 0) std::abort();
    child_ = fork();
    if (child_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const Lock lock;
      mailbox_->emplace(lock);
      if (write(ready[1], "", 1) != 1) _exit(1);
      for (;;) pause();
    }
    char byte;
    if (child_ < 0 || read(ready[0], &byte, 1) != 1) std::abort();
    close(ready[0]);
    close(ready[1]);
  }
  ~MailFromOther() {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    mailbox_->reset();
    Domain::Current()->BuryTheDead(internal::Evidence::kQuick);
  }
  MailFromOther(const MailFromOther&) = delete;
  MailFromOther& operator=(const MailFromOther&) = delete;

  const Lock& handle() const { return **mailbox_; }

 private:
  const Mailbox mailbox_;
  pid_t child_;
};

// By a process that did not make the object, and has so many handles to it besides.
void BM_HandleOutOfDomainByStranger(benchmark::State& state) {
  const MailFromOther mail;
  std::optional<Lock> held;
  if (state.range(0) == 1) held.emplace(mail.handle());
  for (auto _ : state) {
    const Lock copy = mail.handle();  // NOLINT(performance-unnecessary-copy-initialization)
    benchmark::DoNotOptimize(copy);
  }
}
BENCHMARK(BM_HandleOutOfDomainByStranger)->ArgName("held")->Arg(0)->Arg(1);

void BM_HandleCopyDropByStranger(benchmark::State& state) {
  const MailFromOther mail;
  const Lock held = mail.handle();  // NOLINT(performance-unnecessary-copy-initialization)
  for (auto _ : state) {
    const Lock copy = held;  // NOLINT(performance-unnecessary-copy-initialization)
    benchmark::DoNotOptimize(copy);
  }
}
BENCHMARK(BM_HandleCopyDropByStranger);

void BM_HandleOutOfDomainByMaker(benchmark::State& state) {
  const Lock lock;
  const Mailbox mailbox;
  mailbox->emplace(lock);
  for (auto _ : state) {
    const Lock copy = **mailbox;  // NOLINT(performance-unnecessary-copy-initialization)
    benchmark::DoNotOptimize(copy);
  }
}
BENCHMARK(BM_HandleOutOfDomainByMaker);

void BM_HandleIntoDomainAndDrop(benchmark::State& state) {
  const Lock lock;
  const Mailbox mailbox;
  for (auto _ : state) {
    mailbox->emplace(lock);
    benchmark::ClobberMemory();
    mailbox->reset();
  }
}
BENCHMARK(BM_HandleIntoDomainAndDrop);

// The lock that a handle in the domain is placed under, and dropped under: twice, by itself.
void BM_TwoPairsOfARobustMutex(benchmark::State& state) {
  const testing::Inherited<pthread_mutex_t> mutex;
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  if (pthread_mutex_init(mutex.get(), &attributes) != 0) std::abort();
  for (auto _ : state) {
    for (int i = 0; i < 2; ++i) {
      if (pthread_mutex_lock(mutex.get()) != 0) std::abort();
      benchmark::ClobberMemory();
      if (pthread_mutex_unlock(mutex.get()) != 0) std::abort();
    }
  }
}
BENCHMARK(BM_TwoPairsOfARobustMutex);

}  // namespace
}  // namespace mp
