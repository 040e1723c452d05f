// A message there and back, and many in a row, beside pipe(2) and a pair of sockets.

#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "mp/or_die.h"
#include "mp/pipe.h"
#include "tests/benchmarks/processes.h"
#include "tests/benchmarks/round_trip.h"

namespace mp {
namespace {

class OfPipe {
 public:
  void Ask(uint32_t round) {
    OrDie(ends_.first.Send(round));
    benchmark::DoNotOptimize(OrDie(ends_.first.Recv<uint32_t>()));
  }
  void Answer(uint32_t) { OrDie(ends_.second.Send(OrDie(ends_.second.Recv<uint32_t>()))); }

 private:
  std::pair<Connection, Connection> ends_ = Pipe();
};

// The bytes alone, which is less than a message.
class OfSockets {
 public:
  OfSockets() {
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends_) != 0) std::abort();
  }
  ~OfSockets() {
    close(ends_[0]);
    close(ends_[1]);
  }
  void Ask(uint32_t round) {
    if (write(ends_[0], &round, sizeof(round)) < 0 || read(ends_[0], &round, sizeof(round)) < 0) {
      std::abort();
    }
  }
  void Answer(uint32_t round) {
    if (read(ends_[1], &round, sizeof(round)) < 0 || write(ends_[1], &round, sizeof(round)) < 0) {
      std::abort();
    }
  }

 private:
  int ends_[2];
};

void BM_PipeRoundTrip(benchmark::State& state) { testing::RunRoundTrips<OfPipe>(state); }
void BM_SocketRoundTrip(benchmark::State& state) { testing::RunRoundTrips<OfSockets>(state); }
BENCHMARK(BM_PipeRoundTrip)
    ->ArgName("cores")
    ->Arg(1)
    ->Arg(2)
    ->Arg(0)
    ->Iterations(10)
    ->UseManualTime();
BENCHMARK(BM_SocketRoundTrip)
    ->ArgName("cores")
    ->Arg(1)
    ->Arg(2)
    ->Arg(0)
    ->Iterations(10)
    ->UseManualTime();

// One process sends, another receives; time is that of a message.
template <typename SendAll, typename ReceiveAll>
void RunStream(benchmark::State& state, const SendAll& send_all, const ReceiveAll& receive_all) {
  const auto size = static_cast<size_t>(state.range(0));
  const auto count = static_cast<uint64_t>(size > 10'000 ? 2000 : 200'000);
  for (auto _ : state) {
    const testing::Inherited<std::atomic<int>> index;
    const double seconds = benchmarks::RunInProcesses(2, [&] {
      if (index->fetch_add(1) == 0) {
        send_all(size, count);
      } else {
        receive_all(size, count);
      }
    });
    state.SetIterationTime(seconds / static_cast<double>(count));
  }
  state.counters["GB/s"] = benchmark::Counter(static_cast<double>(size) / 1e9,
                                              benchmark::Counter::kIsIterationInvariantRate);
}

void BM_PipeStream(benchmark::State& state) {
  const auto [receiving, sending] = Pipe(/*duplex=*/false);
  RunStream(
      state,
      [&sending = sending](size_t size, uint64_t count) {
        const std::string message(size, 'x');
        for (uint64_t i = 0; i < count; ++i) OrDie(sending.SendBytes(message));
      },
      [&receiving = receiving](size_t size, uint64_t count) {
        std::string room(size, '\0');
        for (uint64_t i = 0; i < count; ++i) {
          OrDie(receiving.RecvBytesInto(absl::MakeSpan(room)));
        }
      });
}
void BM_SocketStream(benchmark::State& state) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) std::abort();
  RunStream(
      state,
      [&](size_t size, uint64_t count) {
        const std::string message(size, 'x');
        for (uint64_t i = 0; i < count; ++i) {
          for (size_t n = 0; n < size;) {
            n += static_cast<size_t>(write(ends[0], &message[n], size - n));
          }
        }
      },
      [&](size_t size, uint64_t count) {
        std::string room(size, '\0');
        for (uint64_t i = 0; i < count; ++i) {
          for (size_t n = 0; n < size;) {
            n += static_cast<size_t>(read(ends[1], &room[n], size - n));
          }
        }
      });
  close(ends[0]);
  close(ends[1]);
}
BENCHMARK(BM_PipeStream)
    ->ArgName("bytes")
    ->Arg(64)
    ->Arg(1024)
    ->Arg(1 << 20)
    ->Iterations(10)
    ->UseManualTime();
BENCHMARK(BM_SocketStream)
    ->ArgName("bytes")
    ->Arg(64)
    ->Arg(1024)
    ->Arg(1 << 20)
    ->Iterations(10)
    ->UseManualTime();

}  // namespace
}  // namespace mp
