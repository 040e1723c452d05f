// Queue beside what one would use instead (queue_rivals.h): streams, round trips, a map, a crowd
// that waits, and what one costs. Beside Python: queue_python.py.
//
// Senders and receivers of a stream are processes, each bound to a processor; with two of those,
// senders have the first and receivers the second.

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cereal/archives/binary.hpp>
#include <cereal/types/map.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/vector.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "mp/codec.h"
#include "mp/loan.h"
#include "mp/queue.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/proof_of_death.h"
#include "tests/benchmarks/processes.h"
#include "tests/benchmarks/queue_rivals.h"
#include "tests/benchmarks/round_trip.h"
#include "tests/support/inherited.h"

namespace mp {
namespace {

using benchmarks::BoostQueue;
using benchmarks::FutexRing;
using benchmarks::LargePipe;
using benchmarks::Message;
using benchmarks::MustBe;
using benchmarks::NumberOf;
using benchmarks::PacketSocket;
using benchmarks::Pipe;
using benchmarks::PosixQueue;
using benchmarks::SetNumber;
using benchmarks::SpinRing;
using benchmarks::StreamSocket;

// What is sent ---------------------------------------------------------------------------------

constexpr size_t kKiB = 1 << 10;
constexpr size_t kMiB = 1 << 20;
constexpr size_t kGiB = 1 << 30;

static_assert(kFixedSize<Message<64>> == 64);

template <size_t kSize>
size_t BytesOf(const Message<kSize>&) {
  return kSize;
}

void SetNumber(std::string& bytes, uint64_t number) {
  std::memcpy(bytes.data(), &number, sizeof(number));
}
uint64_t NumberOf(const std::string& bytes) {
  uint64_t number;
  std::memcpy(&number, bytes.data(), sizeof(number));
  return number;
}
size_t BytesOf(const std::string& bytes) { return bytes.size(); }

using Words = std::map<std::string, std::vector<int>>;

Words SomeWords() {
  Words words;
  for (int i = 0; i < 1000; ++i) {
    words["a word, number " + std::to_string(i)] = std::vector<int>(static_cast<size_t>(i % 20), i);
  }
  return words;
}
// In one that is there already.
constexpr char kNumbered[] = "a word, number 1";
void SetNumber(Words& words, uint64_t number) { words[kNumbered][0] = static_cast<int>(number); }
uint64_t NumberOf(const Words& words) { return static_cast<uint64_t>(words.at(kNumbered)[0]); }
size_t BytesOf(const Words& words) { return EncodeToString(words).value().size(); }

// Queues as ways to send it: see queue_rivals.h ------------------------------------------------

template <typename T, size_t kMaxsize = 0>
struct ByQueue {
  using Value = T;
  std::string why_not;
  Queue<T> queue{kMaxsize};

  void Send(const T& value) { MustBe(queue.Put(value).ok(), "Put"); }
  template <typename Use>
  void Receive(const Use& use) {
    const absl::StatusOr<T> value = queue.Get();
    MustBe(value.ok(), "Get");
    use(*value);
  }
};
// All that are sent to wait in it, as many as there may be.
template <size_t kSize>
using Unbounded = ByQueue<Message<kSize>>;
// As many as a Boost queue of that size here.
template <size_t kSize>
using Bounded = ByQueue<Message<kSize>, std::clamp<size_t>(kMiB / kSize, 8, 1024)>;

template <size_t kSize>
struct ByMany {
  using Value = Message<kSize>;
  static constexpr size_t kMany = 64;
  std::string why_not;
  Queue<Value> queue;

  void SendMany(absl::Span<const Value> values) { MustBe(queue.PutMany(values).ok(), "PutMany"); }
  template <typename Use>
  size_t ReceiveMany(size_t most, const Use& use) {
    const absl::StatusOr<std::vector<Value>> values = queue.GetMany(most);
    MustBe(values.ok(), "GetMany");
    for (const Value& value : *values) use(value);
    return values->size();
  }
};
template <typename Way>
concept SendsMany = requires {
  Way::kMany;
};

template <size_t kSize>
struct ByString : ByQueue<std::string, std::max<size_t>(kMiB / kSize, 8)> {
  static std::string NewValue() { return std::string(kSize, 'x'); }
};

// Written where it stays, and read there.
template <size_t kSize>
struct ByLoan {
  using Value = Message<kSize>;
  std::string why_not;
  Queue<Value> queue{std::max<size_t>(kMiB / kSize, 8)};

  void Send(const Value& value) {
    absl::StatusOr<Loan<Value>> loan = queue.Borrow();
    MustBe(loan.ok(), "Borrow");
    **loan = value;
    MustBe(queue.Put(*std::move(loan)).ok(), "Put");
  }
  template <typename Use>
  void Receive(const Use& use) {
    const absl::StatusOr<Loan<Value>> loan = queue.GetLoan();
    MustBe(loan.ok(), "GetLoan");
    use(**loan);
  }
};

struct WordsByQueue : ByQueue<Words, 64> {
  static Words NewValue() { return SomeWords(); }
};

// As a user would have it.
struct WordsByCerealAndPipe : LargePipe<8> {
  using Value = Words;
  static Words NewValue() { return SomeWords(); }

  void Send(const Words& words) const {
    std::ostringstream stream;
    cereal::BinaryOutputArchive archive(stream);
    archive(words);
    const std::string bytes = std::move(stream).str();
    const size_t size = bytes.size();
    WriteAll(&size, sizeof(size));
    WriteAll(bytes.data(), size);
  }
  template <typename Use>
  void Receive(const Use& use) const {
    size_t size = 0;
    ReadAll(&size, sizeof(size));
    std::string bytes(size, '\0');
    ReadAll(bytes.data(), size);
    std::istringstream stream(std::move(bytes));
    cereal::BinaryInputArchive archive(stream);
    Words words;
    archive(words);
    use(words);
  }
};

template <typename Way>
std::unique_ptr<typename Way::Value> NewValue() {
  if constexpr (requires { Way::NewValue(); }) {
    return std::make_unique<typename Way::Value>(Way::NewValue());
  } else {
    return std::make_unique<typename Way::Value>();
  }
}

// False: it cannot be had here, and `state` says why.
template <typename Way>
bool CanHave(benchmark::State& state) {
  const std::string why_not = Way().why_not;
  if (!why_not.empty()) state.SkipWithError(why_not.c_str());
  return why_not.empty();
}

// Streams --------------------------------------------------------------------------------------

// `count` of them, numbered from `first` on.
template <typename Way>
void SendAll(Way& way, int64_t first, int64_t count) {
  if constexpr (SendsMany<Way>) {
    std::vector<typename Way::Value> values(Way::kMany);
    for (int64_t done = 0; done < count;) {
      const auto many = static_cast<size_t>(std::min<int64_t>(Way::kMany, count - done));
      for (size_t i = 0; i < many; ++i) SetNumber(values[i], static_cast<uint64_t>(first + done++));
      way.SendMany(absl::MakeConstSpan(values).first(many));
    }
  } else {
    const auto value = NewValue<Way>();
    for (int64_t i = 0; i < count; ++i) {
      SetNumber(*value, static_cast<uint64_t>(first + i));
      way.Send(*value);
    }
  }
}

// The sum of their numbers.
template <typename Way>
uint64_t ReceiveAll(Way& way, int64_t count) {
  uint64_t sum = 0;
  auto use = [&sum](const typename Way::Value& value) {
    benchmark::DoNotOptimize(&value);
    benchmark::ClobberMemory();
    sum += NumberOf(value);
  };
  if constexpr (SendsMany<Way>) {
    for (int64_t left = count; left > 0;) {
      const auto most = static_cast<size_t>(std::min<int64_t>(Way::kMany, left));
      left -= static_cast<int64_t>(way.ReceiveMany(most, use));
    }
  } else {
    for (int64_t i = 0; i < count; ++i) way.Receive(use);
  }
  return sum;
}

// Seconds of a stream of `count` for each of `pairs` of a sender and a receiver.
template <typename Way>
double Stream(Way& way, int pairs, int64_t count) {
  const testing::Inherited<std::atomic<uint64_t>> sum;
  const double seconds = benchmarks::RunInProcesses(2 * pairs, [&](int i) {
    if (i % 2 == 0) {
      SendAll(way, (i / 2) * count, count);
    } else {
      *sum += ReceiveAll(way, count);
    }
  });
  const auto all = static_cast<uint64_t>(pairs * count);
  MustBe(*sum == all * (all - 1) / 2, "messages are lost, or came twice");
  (*Domain::Get())->BuryTheDead(internal::Evidence::kQuick);
  return seconds;
}

// Each iteration is long enough for starts and ends not to matter. "best_items_per_second" is that
// with which others have interfered least.
template <typename Way>
void BM_Stream(benchmark::State& state) {
  constexpr double kLong = 0.1;
  if (!CanHave<Way>(state)) return;
  const auto pairs = static_cast<int>(state.range(0));
  Way way;
  int64_t count = 16;
  for (;;) {
    const double seconds = Stream(way, pairs, count);
    if (seconds > kLong / 2) break;
    count =
        static_cast<int64_t>(static_cast<double>(count) * std::clamp(kLong / seconds, 1.5, 8.0));
  }
  double least = 1e9;
  for (auto _ : state) {
    const double seconds = Stream(way, pairs, count);
    state.SetIterationTime(seconds);
    least = std::min(least, seconds);
  }
  const int64_t items = state.iterations() * pairs * count;
  state.SetItemsProcessed(items);
  state.SetBytesProcessed(items * static_cast<int64_t>(BytesOf(*NewValue<Way>())));
  state.counters["best_items_per_second"] = static_cast<double>(pairs * count) / least;
}
void One(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("pairs")->Arg(1)->UseManualTime()->Iterations(3);
}
void OneAndTwoPairs(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("pairs")->Arg(1)->Arg(2)->UseManualTime()->Iterations(3);
}

BENCHMARK_TEMPLATE(BM_Stream, SpinRing<8>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, FutexRing<8>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, Pipe<8>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, StreamSocket<8>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, PacketSocket<8>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, PosixQueue<8>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, BoostQueue<8>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, Unbounded<8>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, Bounded<8>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, ByMany<8>)->Apply(One);

BENCHMARK_TEMPLATE(BM_Stream, SpinRing<64>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, FutexRing<64>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, Pipe<64>)->Apply(OneAndTwoPairs);
BENCHMARK_TEMPLATE(BM_Stream, StreamSocket<64>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, PacketSocket<64>)->Apply(OneAndTwoPairs);
BENCHMARK_TEMPLATE(BM_Stream, PosixQueue<64>)->Apply(OneAndTwoPairs);
BENCHMARK_TEMPLATE(BM_Stream, BoostQueue<64>)->Apply(OneAndTwoPairs);
BENCHMARK_TEMPLATE(BM_Stream, Unbounded<64>)->Apply(OneAndTwoPairs);
BENCHMARK_TEMPLATE(BM_Stream, Bounded<64>)->Apply(OneAndTwoPairs);
BENCHMARK_TEMPLATE(BM_Stream, ByMany<64>)->Apply(OneAndTwoPairs);

BENCHMARK_TEMPLATE(BM_Stream, SpinRing<kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, FutexRing<kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, Pipe<kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, StreamSocket<kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, PacketSocket<kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, PosixQueue<kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, BoostQueue<kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, Unbounded<kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, Bounded<kKiB>)->Apply(One);

BENCHMARK_TEMPLATE(BM_Stream, SpinRing<64 * kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, Pipe<64 * kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, LargePipe<64 * kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, StreamSocket<64 * kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, PacketSocket<64 * kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, PosixQueue<64 * kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, BoostQueue<64 * kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, Unbounded<64 * kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, Bounded<64 * kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, ByString<64 * kKiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, ByLoan<64 * kKiB>)->Apply(One);

BENCHMARK_TEMPLATE(BM_Stream, SpinRing<kMiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, Pipe<kMiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, LargePipe<kMiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, StreamSocket<kMiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, PacketSocket<kMiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, PosixQueue<kMiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, BoostQueue<kMiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, Unbounded<kMiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, Bounded<kMiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, ByString<kMiB>)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, ByLoan<kMiB>)->Apply(One);

BENCHMARK_TEMPLATE(BM_Stream, WordsByCerealAndPipe)->Apply(One);
BENCHMARK_TEMPLATE(BM_Stream, WordsByQueue)->Apply(One);

// One process, which gets what it has just put: processor time that no other one is part of.
template <typename Way>
void BM_SendAndReceive(benchmark::State& state) {
  if (!CanHave<Way>(state)) return;
  Way way;
  const auto value = NewValue<Way>();
  uint64_t sent = 0;
  uint64_t received = 0;
  for (auto _ : state) {
    SetNumber(*value, ++sent);
    way.Send(*value);
    way.Receive([&](const typename Way::Value& got) { received = NumberOf(got); });
  }
  MustBe(sent == received, "another message");
}
BENCHMARK_TEMPLATE(BM_SendAndReceive, SpinRing<8>);
BENCHMARK_TEMPLATE(BM_SendAndReceive, Pipe<8>);
BENCHMARK_TEMPLATE(BM_SendAndReceive, PosixQueue<8>);
BENCHMARK_TEMPLATE(BM_SendAndReceive, BoostQueue<8>);
BENCHMARK_TEMPLATE(BM_SendAndReceive, Unbounded<8>);
BENCHMARK_TEMPLATE(BM_SendAndReceive, Bounded<8>);
BENCHMARK_TEMPLATE(BM_SendAndReceive, BoostQueue<kKiB>);
BENCHMARK_TEMPLATE(BM_SendAndReceive, Unbounded<kKiB>);
BENCHMARK_TEMPLATE(BM_SendAndReceive, BoostQueue<64 * kKiB>);
BENCHMARK_TEMPLATE(BM_SendAndReceive, Unbounded<64 * kKiB>);
BENCHMARK_TEMPLATE(BM_SendAndReceive, ByString<64 * kKiB>);
BENCHMARK_TEMPLATE(BM_SendAndReceive, ByLoan<64 * kKiB>);
BENCHMARK_TEMPLATE(BM_SendAndReceive, SpinRing<kMiB>);
BENCHMARK_TEMPLATE(BM_SendAndReceive, BoostQueue<kMiB>);
BENCHMARK_TEMPLATE(BM_SendAndReceive, Unbounded<kMiB>);
BENCHMARK_TEMPLATE(BM_SendAndReceive, ByString<kMiB>);
BENCHMARK_TEMPLATE(BM_SendAndReceive, ByLoan<kMiB>);

// Loans ----------------------------------------------------------------------------------------

// The same one, time and again: no memory is taken or given back.
void BM_LoanPutAndGet(benchmark::State& state) {
  using Bytes = std::vector<char>;
  const auto size = static_cast<size_t>(state.range(0));
  const Queue<Bytes> queue;
  absl::StatusOr<Loan<Bytes>> loan = queue.BorrowBytes(size);
  if (!loan.ok()) {
    state.SkipWithError(loan.status().ToString().c_str());
    return;
  }
  std::memset(loan->bytes().data(), 1, size);
  for (auto _ : state) {
    MustBe(queue.Put(*std::move(loan)).ok(), "Put");
    loan = queue.GetLoan();
    MustBe(loan.ok(), "GetLoan");
  }
}
BENCHMARK(BM_LoanPutAndGet)->ArgName("bytes")->Arg(64)->Arg(kMiB)->Arg(kGiB);

// Round trips ----------------------------------------------------------------------------------

template <typename Way>
struct TwoWays {
  Way ping;
  Way pong;
  std::string why_not = ping.why_not;

  void Ask(uint32_t round) {
    ping.Send({{round}});
    pong.Receive([&](const Message<8>& answer) { MustBe(answer.words[0] == round, "an answer"); });
  }
  void Answer(uint32_t) {
    ping.Receive([&](const Message<8>& question) { pong.Send(question); });
  }
};

// Who is bound to one processor does not spin: these go through sleep.
template <typename Way>
void BM_RoundTrip(benchmark::State& state) {
  if constexpr (requires(Way way) { way.why_not; }) {
    if (!CanHave<Way>(state)) return;
  }
  testing::RunRoundTrips<Way>(state);
}
void OneAndTwoCores(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("cores")->Arg(1)->Arg(2)->UseManualTime()->Iterations(5);
}
BENCHMARK_TEMPLATE(BM_RoundTrip, testing::TwoWords<testing::RawFutex>)->Apply(OneAndTwoCores);
BENCHMARK_TEMPLATE(BM_RoundTrip, TwoWays<Pipe<8>>)->Apply(OneAndTwoCores);
BENCHMARK_TEMPLATE(BM_RoundTrip, TwoWays<PosixQueue<8>>)->Apply(OneAndTwoCores);
BENCHMARK_TEMPLATE(BM_RoundTrip, TwoWays<BoostQueue<8>>)->Apply(OneAndTwoCores);
BENCHMARK_TEMPLATE(BM_RoundTrip, TwoWays<Unbounded<8>>)->Apply(OneAndTwoCores);
BENCHMARK_TEMPLATE(BM_RoundTrip, TwoWays<Bounded<8>>)->Apply(OneAndTwoCores);

// Both start at once: where they are not bound, and each has a processor, they spin.
template <typename Way>
void BM_RoundTripAwake(benchmark::State& state) {
  if constexpr (requires(Way way) { way.why_not; }) {
    if (!CanHave<Way>(state)) return;
  }
  testing::RunShortRoundTrips<Way>(state);
}
void Short(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("cores")->Arg(0)->Arg(2)->UseManualTime()->Iterations(101);
}
BENCHMARK_TEMPLATE(BM_RoundTripAwake, testing::TwoWords<testing::RawSpin>)->Apply(Short);
BENCHMARK_TEMPLATE(BM_RoundTripAwake, testing::TwoWords<testing::RawFutex>)->Apply(Short);
BENCHMARK_TEMPLATE(BM_RoundTripAwake, TwoWays<Pipe<8>>)->Apply(Short);
BENCHMARK_TEMPLATE(BM_RoundTripAwake, TwoWays<BoostQueue<8>>)->Apply(Short);
BENCHMARK_TEMPLATE(BM_RoundTripAwake, TwoWays<Unbounded<8>>)->Apply(Short);
BENCHMARK_TEMPLATE(BM_RoundTripAwake, TwoWays<Bounded<8>>)->Apply(Short);

// Crowds ---------------------------------------------------------------------------------------

// Processes with threads each, which receive from its construction on, asleep.
template <typename Way>
class Crowd {
 public:
  Crowd(int processes, int threads) : size_(static_cast<size_t>(processes * threads)) {
    MustBe(size_ <= kMost, "a crowd");
    for (int i = 0; i < processes; ++i) {
      const pid_t pid = fork();
      MustBe(pid >= 0, "fork");
      if (pid != 0) {
        pids_.push_back(pid);
        continue;
      }
      std::vector<std::thread> others;
      for (int j = 1; j < threads; ++j) others.emplace_back([this] { ReceiveUntilTold(); });
      ReceiveUntilTold();
      for (std::thread& other : others) other.join();
      _exit(0);
    }
    while (board_->come != size_) usleep(1000);
    // Until the last one sleeps.
    usleep(300'000);
  }
  ~Crowd() {
    for (size_t i = 0; i < size_; ++i) way_.Send({{kLeave}});
    for (const pid_t pid : pids_) waitpid(pid, nullptr, 0);
    (*Domain::Get())->BuryTheDead(internal::Evidence::kQuick);
  }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  // Seconds until they have received so many.
  double Feed(uint64_t messages) {
    const uint64_t before = Received();
    const auto begin = std::chrono::steady_clock::now();
    for (uint64_t i = 0; i < messages; ++i) way_.Send({{i}});
    // Not in their way.
    while (Received() - before < messages) usleep(200);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

 private:
  static constexpr size_t kMost = 1024;
  static constexpr uint64_t kLeave = ~uint64_t{0};

  // Of one receiver, in a line of its own.
  struct Count {
    alignas(64) std::atomic<uint64_t> received{0};
  };
  struct Board {
    std::atomic<size_t> come{0};
    Count counts[kMost];
  };

  void ReceiveUntilTold() {
    Count& count = board_->counts[board_->come++];
    bool told = false;
    while (!told) {
      way_.Receive([&](const Message<8>& message) {
        told = message.words[0] == kLeave;
        if (!told) {
          const uint64_t received = count.received.load(std::memory_order_relaxed);
          count.received.store(received + 1, std::memory_order_relaxed);
        }
      });
    }
  }
  uint64_t Received() const {
    uint64_t sum = 0;
    for (size_t i = 0; i < size_; ++i) {
      sum += board_->counts[i].received.load(std::memory_order_relaxed);
    }
    return sum;
  }

  const size_t size_;
  Way way_;
  const testing::Inherited<Board> board_;
  std::vector<pid_t> pids_;
};

// One sends, all others wait for it. A thousand should have no less of it than ten.
template <typename Way>
void BM_Crowd(benchmark::State& state) {
  if (!CanHave<Way>(state)) return;
  const auto messages = static_cast<uint64_t>(state.range(2));
  Crowd<Way> crowd(static_cast<int>(state.range(0)), static_cast<int>(state.range(1)));
  for (auto _ : state) state.SetIterationTime(crowd.Feed(messages));
  state.SetItemsProcessed(state.iterations() * state.range(2));
}
template <int64_t kMessages>
void TenAndThousand(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"procs", "threads", "messages"})
      ->Args({10, 1, kMessages})
      ->Args({1000, 1, kMessages})
      ->Args({50, 20, kMessages})
      ->UseManualTime()
      ->Iterations(3)
      ->Unit(benchmark::kMillisecond);
}
BENCHMARK_TEMPLATE(BM_Crowd, Pipe<8>)->Apply(TenAndThousand<200'000>);
BENCHMARK_TEMPLATE(BM_Crowd, PosixQueue<8>)->Apply(TenAndThousand<50'000>);
BENCHMARK_TEMPLATE(BM_Crowd, BoostQueue<8>)->Apply(TenAndThousand<200'000>);
BENCHMARK_TEMPLATE(BM_Crowd, Unbounded<8>)->Apply(TenAndThousand<1'000'000>);
BENCHMARK_TEMPLATE(BM_Crowd, Bounded<8>)->Apply(TenAndThousand<1'000'000>);

// What one costs -------------------------------------------------------------------------------

void BM_QueueMakeAndDrop(benchmark::State& state) {
  const Queue<int> first;  // the arena has a slab
  for (auto _ : state) {
    const Queue<int> queue;
    benchmark::DoNotOptimize(queue);
  }
}
BENCHMARK(BM_QueueMakeAndDrop);

// What an empty Queue takes of the domain: a new one, and one through which much has gone.
void BM_QueueBytes(benchmark::State& state) {
  const Queue<Message<64>> first;
  const size_t before = Stats().in_use;
  Queue<Message<64>> second;
  const size_t with_new = Stats().in_use;
  for (int i = 0; i < 100'000; ++i) MustBe(second.Put({}).ok(), "Put");
  const size_t with_full = Stats().in_use;
  for (int i = 0; i < 100'000; ++i) MustBe(second.Get().ok(), "Get");
  const size_t with_drained = Stats().in_use;
  for (auto _ : state) benchmark::DoNotOptimize(second);
  state.counters["new_bytes"] = static_cast<double>(with_new - before);
  state.counters["bytes_a_message"] = static_cast<double>(with_full - before) / 100'000;
  state.counters["drained_bytes"] = static_cast<double>(with_drained - before);
}
BENCHMARK(BM_QueueBytes)->Iterations(1);

}  // namespace
}  // namespace mp
