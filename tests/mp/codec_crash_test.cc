// A process is killed at every instruction of giving a message its stakes, and of receiving it.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/codec.h"
#include "mp/internal/cargo.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/owner.h"
#include "shared/raw_value.h"
#include "sync/value.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/inherited.h"

namespace mp {
namespace {

using internal::Cargo;
using testing::Bury;
using testing::CrashCase;
using testing::CrashReport;
using testing::Inherited;
using testing::RunCrashSweep;
using testing::Settle;

using Pair = std::pair<RawValue<int>, Value<int>>;

class CodecCrashTest : public ::testing::Test {
 protected:
  CodecCrashTest() {
    (void)Domain::Get();
    Settle();
    before_ = Stats().in_use;
  }

  void Sweep(CrashCase crash) {
    crash.check = [this]() -> std::string {
      if (const absl::Status status = Check(); !status.ok()) return status.ToString();
      // Others go on at once.
      { const Pair other(RawValue<int>(1), Value<int>(2)); }
      Bury(*victim_);
      if (const absl::Status status = Check(); !status.ok()) return status.ToString();
      DropMessage();
      const absl::Status status = Check();
      return status.ok() ? "" : status.ToString();
    };
    const CrashReport report = RunCrashSweep(crash);
    EXPECT_TRUE(report.Clean()) << report.Summary();
    ExpectNothingLeft(crash.name);
  }

  // What was made before who checks was born may be its inheritance, as long as it lives.
  void ExpectNothingLeft(const std::string& name) {
    DropMessage();
    Settle();
    EXPECT_EQ(Stats().in_use, before_) << name << ": " << Stats().ToString();
  }

  void MakeMessage() {
    const Pair pair(RawValue<int>(1), Value<int>(2));
    Encoder encoder;
    if (!Encode(pair, encoder).ok()) std::abort();
    void* const block = Domain::Current()->Allocate(Cargo::Size(2)).value();
    Cargo::Load(block, encoder.handles());
    // As when it is in a queue: from now on anybody's.
    Domain::Current()->heap().SetOwner(block, Owner::Message(block));
    *block_ = reinterpret_cast<uint64_t>(block);
    bytes_ = encoder.ToString();
  }
  void DropMessage() {
    if (*block_ == 0) return;
    MessageCargo().Drop();
    Domain::Current()->Free(reinterpret_cast<void*>(*block_));
    *block_ = 0;
  }
  Cargo MessageCargo() const { return Cargo(reinterpret_cast<void*>(*block_), 2); }

  Inherited<uint64_t> victim_;
  size_t before_;
  Inherited<uint64_t> block_;  // of the message; 0: there is none
  std::string bytes_;
};

TEST_F(CodecCrashTest, AMessageOfADeadSenderKeepsNothing) {
  std::optional<Pair> pair;
  std::optional<Encoder> encoder;
  void* block = nullptr;
  CrashCase crash;
  crash.name = "loaded";
  crash.set_up = [&] { ExpectNothingLeft("loaded"); };
  crash.prepare = [&] {
    *victim_ = Domain::Current()->ThisProcess().identity();
    pair.emplace(RawValue<int>(1), Value<int>(2));
    encoder.emplace();
    if (!Encode(*pair, *encoder).ok()) std::abort();
    block = Domain::Current()->Allocate(Cargo::Size(2)).value();
    // Once before, so that nothing happens for the first time.
    Cargo::Load(block, encoder->handles()).Drop();
  };
  crash.operation = [&] { Cargo::Load(block, encoder->handles()); };
  Sweep(crash);
}

TEST_F(CodecCrashTest, AMessageThatADeadReceiverHadInHandKeepsItsObjects) {
  std::optional<Pair> pair;
  CrashCase crash;
  crash.name = "decoded";
  crash.set_up = [&] {
    ExpectNothingLeft("decoded");
    MakeMessage();
  };
  crash.prepare = [&] { *victim_ = Domain::Current()->ThisProcess().identity(); };
  crash.operation = [&] {
    Decoder decoder(bytes_, MessageCargo().words());
    absl::StatusOr<Pair> decoded = Decode<Pair>(decoder);
    if (!decoded.ok()) std::abort();
    pair.emplace(*std::move(decoded));
  };
  Sweep(crash);
}

TEST_F(CodecCrashTest, AReceiverThatDiesAsItDropsTheMessageLeavesNothing) {
  CrashCase crash;
  crash.name = "dropped";
  crash.set_up = [&] {
    ExpectNothingLeft("dropped");
    MakeMessage();
  };
  crash.prepare = [&] { *victim_ = Domain::Current()->ThisProcess().identity(); };
  crash.operation = [&] { MessageCargo().Drop(); };
  Sweep(crash);
}

}  // namespace
}  // namespace mp
