// Producers and consumers of a queue are killed at random, and replaced.

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mp/or_die.h"
#include "mp/queue.h"
#include "shared/domain.h"
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

constexpr int kProducers = 4;
constexpr int kWorkers = 8;  // the others are consumers
constexpr uint64_t kMost = uint64_t{1} << 26;

// What the producers have put, and how often it has come out. Only what is touched takes memory.
struct Record {
  struct {
    alignas(64) std::atomic<uint64_t> begun{0};  // messages, by all generations
  } producers[kProducers];
  std::atomic<uint64_t> producers_lives{0};
  std::atomic<uint64_t> consumers_lives{0};
  std::atomic<uint64_t> bad{0};
  // Of each message: kPut when Put() has returned, and how often it was received.
  static constexpr uint8_t kPut = 0x80;
  std::atomic<uint8_t> messages[kProducers][kMost];
};

struct Head {
  uint64_t producer;
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

std::string MessageOf(uint64_t producer, uint64_t number) {
  const size_t size = number % 64 == 0 ? 20'000 : number * 37 % 300;
  std::string message(sizeof(Head) + size, static_cast<char>(number));
  const Head head{producer, number, Hash(message.data() + sizeof(Head), size) ^ number ^ producer};
  std::memcpy(message.data(), &head, sizeof(head));
  return message;
}

class QueueStressTest : public ::testing::Test {
 protected:
  QueueStressTest() {
    void* const place = mmap(nullptr, sizeof(Record), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) std::abort();
    record_ = new (place) Record;
  }
  ~QueueStressTest() override { munmap(record_, sizeof(Record)); }

  void Note(const std::string& message, std::vector<uint64_t>& last) {
    Head head = {};
    if (message.size() >= sizeof(head)) std::memcpy(&head, message.data(), sizeof(head));
    if (head.producer >= kProducers || head.number == 0 || head.number >= kMost ||
        message != MessageOf(head.producer, head.number) || head.number <= last[head.producer]) {
      record_->bad.fetch_add(1);
      return;
    }
    last[head.producer] = head.number;
    record_->messages[head.producer][head.number].fetch_add(1);
  }

  void Produce(Worker& worker, const Queue<std::string>& queue) {
    const auto self = static_cast<uint64_t>(worker.index());
    auto& mine = record_->producers[self];
    record_->producers_lives.fetch_add(1);
    while (!worker.Stopping()) {
      const uint64_t number = mine.begun.fetch_add(1) + 1;
      if (number % 7 == 0) {
        // One of many.
        if (!queue.PutMany({MessageOf(self, number)}).ok()) return;
      } else if (!queue.Put(MessageOf(self, number)).ok()) {
        return;
      }
      record_->messages[self][number].fetch_or(Record::kPut);
      worker.Progress();
    }
  }
  void Consume(Worker& worker, const Queue<std::string>& queue) {
    record_->consumers_lives.fetch_add(1);
    std::vector<uint64_t> last(kProducers, 0);
    while (!worker.Stopping()) {
      const absl::StatusOr<std::string> message = queue.Get(absl::Seconds(100));
      if (!message.ok()) return;
      Note(*message, last);
      worker.Progress();
    }
  }

  void Run(size_t maxsize) {
    Settle();
    const size_t before = Stats().in_use;
    {
      const Queue<std::string> queue(maxsize);
      KillerOptions options;
      options.workers = kWorkers;
      options.kills = Stress() ? 20'000 : kSanitized ? 60 : 1200;
      options.stops = 0.05;
      options.longest_life = std::chrono::microseconds(1000);
      options.on_stop = [&] { queue.Shutdown(); };
      const KillerReport report = RunKiller(
          [&](Worker& worker) {
            worker.index() < kProducers ? Produce(worker, queue) : Consume(worker, queue);
          },
          options);
      EXPECT_TRUE(report.Clean()) << report.Summary();
      std::vector<uint64_t> last(kProducers, 0);
      for (auto left = queue.TryGet(); left.ok(); left = queue.TryGet()) Note(*left, last);
      EXPECT_EQ(record_->bad.load(), 0u);
      CheckAll(report);
    }
    Settle();
    EXPECT_LE(Stats().in_use, before) << Stats().ToString();
    EXPECT_EQ(Check(), absl::OkStatus());
  }

  // A receiver that is killed takes along what it has just got: one message at most. A sender that
  // is killed has put the one that it was at, or not.
  void CheckAll(const KillerReport& report) {
    uint64_t all = 0;
    uint64_t gone_with_receivers = 0;
    uint64_t gone_with_senders = 0;  // or with a receiver
    for (int p = 0; p < kProducers; ++p) {
      const auto& producer = record_->producers[p];
      for (uint64_t n = 1; n <= producer.begun.load(); ++n) {
        const unsigned message = record_->messages[p][n].load();
        const unsigned received = message & ~unsigned{Record::kPut};
        ASSERT_LE(received, 1u) << "message " << n << " of " << p << " was doubled";
        all += received;
        if (received != 0) continue;
        ((message & Record::kPut) != 0 ? gone_with_receivers : gone_with_senders) += 1;
      }
    }
    EXPECT_LE(gone_with_receivers, record_->consumers_lives.load());
    EXPECT_LE(gone_with_senders, record_->producers_lives.load());
    EXPECT_GT(all, 1000u);
    RecordProperty("messages", static_cast<int>(all));
    std::printf("%d kills, %llu messages, %llu went with their receiver, %llu with their sender\n",
                report.kills, static_cast<unsigned long long>(all),
                static_cast<unsigned long long>(gone_with_receivers),
                static_cast<unsigned long long>(gone_with_senders));
  }

  Record* record_;
};

TEST_F(QueueStressTest, WhoeverDiesNothingIsLostOrDoubled) { Run(0); }

TEST_F(QueueStressTest, WhoeverDiesAFullOneGoesOn) { Run(8); }

}  // namespace
}  // namespace mp
