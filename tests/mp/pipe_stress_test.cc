// Those who send through a pipe and those who receive are killed at random, and replaced.

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mp/pipe.h"
#include "mp/wait.h"
#include "shared/inspect.h"
#include "tests/support/bury.h"
#include "tests/support/killer.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::KillerOptions;
using testing::KillerReport;
using testing::kSanitized;
using testing::RunKiller;
using testing::Settle;
using testing::Stress;
using testing::Worker;

constexpr int kSenders = 3;
constexpr int kWorkers = 6;  // the others receive
constexpr uint64_t kMost = uint64_t{1} << 26;

// What was sent, and how often it has come. Only what is touched takes memory.
struct Record {
  struct {
    alignas(64) std::atomic<uint64_t> begun{0};  // messages, by all generations
  } senders[kSenders];
  std::atomic<uint64_t> bad{0};
  std::atomic<uint8_t> received[kSenders][kMost];
};

struct Head {
  uint64_t sender;
  uint64_t number;
  uint64_t checksum;
};

uint64_t Hash(const char* bytes, size_t size) {
  uint64_t hash = 0xcbf29ce484222325;
  for (size_t i = 0; i < size; ++i) {
    hash = (hash ^ static_cast<unsigned char>(bytes[i])) * 0x100000001b3;
  }
  return hash;
}

std::string MessageOf(uint64_t sender, uint64_t number) {
  const size_t size = number % 64 == 0 ? 20'000 : number * 37 % 300;
  std::string message(sizeof(Head) + size, static_cast<char>(number));
  const Head head{sender, number, Hash(message.data() + sizeof(Head), size) ^ number ^ sender};
  std::memcpy(message.data(), &head, sizeof(head));
  return message;
}

class PipeStressTest : public ::testing::Test {
 protected:
  PipeStressTest() {
    void* const place = mmap(nullptr, sizeof(Record), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) std::abort();
    record_ = new (place) Record;
  }
  ~PipeStressTest() override { munmap(record_, sizeof(Record)); }

  void Note(const std::string& message, std::vector<uint64_t>& last) {
    Head head = {};
    if (message.size() >= sizeof(head)) std::memcpy(&head, message.data(), sizeof(head));
    if (head.sender >= kSenders || head.number == 0 || head.number >= kMost ||
        message != MessageOf(head.sender, head.number) || head.number <= last[head.sender]) {
      record_->bad.fetch_add(1);
      return;
    }
    last[head.sender] = head.number;
    record_->received[head.sender][head.number].fetch_add(1);
  }

  void Send(Worker& worker, const Connection& sending) {
    const auto self = static_cast<uint64_t>(worker.index());
    while (!worker.Stopping()) {
      const uint64_t number = record_->senders[self].begun.fetch_add(1) + 1;
      const absl::Status status = number % 2 == 0 ? sending.SendBytes(MessageOf(self, number))
                                                  : sending.Send(MessageOf(self, number));
      if (!status.ok()) record_->bad.fetch_add(1);
      worker.Progress();
    }
  }
  // Until nobody sends any more, whoever they were.
  void Receive(Worker& worker, const Connection& receiving, bool by_descriptor) {
    std::vector<uint64_t> last(kSenders, 0);
    for (;;) {
      if (by_descriptor && !Wait({receiving}).ok()) record_->bad.fetch_add(1);
      const absl::Duration timeout =
          by_descriptor ? absl::ZeroDuration() : absl::InfiniteDuration();
      absl::StatusOr<std::string> message = receiving.Recv<std::string>(timeout);
      if (absl::IsInvalidArgument(message.status())) {
        // Of the other kind; or it was, and somebody else has it.
        message = receiving.RecvBytes(absl::ZeroDuration());
      }
      if (absl::IsOutOfRange(message.status())) return;
      if (!message.ok()) continue;
      Note(*message, last);
      worker.Progress();
    }
  }

  // How many of those who receive wait by descriptor.
  void Run(size_t capacity, int by_descriptor) {
    Settle();
    const size_t before = Stats().in_use;
    {
      const auto [receiving, sending] = *CreatePipe({.duplex = false, .capacity = capacity});
      KillerOptions options;
      options.workers = kWorkers;
      options.kills = Stress() ? 20'000 : kSanitized ? 60 : 800;
      options.stops = 0.05;
      options.longest_life = std::chrono::microseconds(1000);
      options.on_stop = [&sending = sending] { sending.Close(); };
      const KillerReport report = RunKiller(
          [&, &receiving = receiving, &sending = sending](Worker& worker) {
            if (worker.index() < kSenders) {
              receiving.Close();
              Send(worker, sending);
            } else {
              sending.Close();
              Receive(worker, receiving, worker.index() - kSenders < by_descriptor);
            }
          },
          options);
      EXPECT_TRUE(report.Clean()) << report.Summary();
      EXPECT_EQ(record_->bad.load(), 0u);
      CheckAll(report);
    }
    Settle();
    EXPECT_LE(Stats().in_use, before) << Stats().ToString();
    EXPECT_EQ(Check(), absl::OkStatus());
  }

  // Who is killed takes along what it was sending, or has just received: one message at most.
  void CheckAll(const KillerReport& report) {
    uint64_t all = 0;
    uint64_t gone = 0;
    for (int sender = 0; sender < kSenders; ++sender) {
      for (uint64_t n = 1; n <= record_->senders[sender].begun.load(); ++n) {
        const unsigned received = record_->received[sender][n].load();
        ASSERT_LE(received, 1u) << "message " << n << " of " << sender << " was doubled";
        gone += received == 0;
        all += received;
      }
    }
    EXPECT_LE(gone, static_cast<uint64_t>(report.kills));
    EXPECT_GT(all, 1000u);
    std::printf("%d kills, %llu messages, %llu went with their sender or receiver\n", report.kills,
                static_cast<unsigned long long>(all), static_cast<unsigned long long>(gone));
  }

  Record* record_;
};

TEST_F(PipeStressTest, WhoeverDiesNothingIsLostOrDoubled) { Run(size_t{1} << 20, 0); }

TEST_F(PipeStressTest, WhoeverDiesAFullOneGoesOn) { Run(2048, 0); }

TEST_F(PipeStressTest, WhoeverDiesThoseWhoWaitByDescriptorGoOn) { Run(2048, 3); }

TEST_F(PipeStressTest, SomeWaitByDescriptorAndOthersDoNot) { Run(size_t{1} << 20, 2); }

}  // namespace
}  // namespace mp
