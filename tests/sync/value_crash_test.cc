// A process is killed at every instruction of what can be done with a Value and an Array.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/wait.h"
#include "sync/array.h"
#include "sync/lock.h"
#include "sync/rlock.h"
#include "sync/value.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/inherited.h"

namespace mp {
namespace {

using testing::Bury;
using testing::CrashCase;
using testing::CrashReport;
using testing::Inherited;
using testing::RunCrashSweep;

void ExpectClean(const CrashCase& crash) {
  const CrashReport report = RunCrashSweep(crash);
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// By whoever comes next: "" or what is wrong.
template <typename V>
std::string RepairAndCheck(const V& value) {
  value.Acquire();
  value.MarkConsistent();
  value.Release();
  if (value.Locked()) return "locked after the release";
  return std::string(Check().message());
}

// Some bytes, of which no two of the values below have one in common.
template <size_t kSize>
std::array<uint8_t, kSize> Filled(uint8_t byte) {
  std::array<uint8_t, kSize> bytes;
  bytes.fill(byte);
  return bytes;
}

class ValueCrashTest : public ::testing::Test {
 protected:
  // `change` makes a value that is all 1 into one that is all 2.
  template <size_t kSize, typename Change>
  void Sweep(const std::string& name, const Change& change) {
    using Bytes = std::array<uint8_t, kSize>;
    std::optional<Value<Bytes>> value;
    CrashCase crash;
    crash.name = absl::StrCat(name, ", ", kSize, " bytes");
    crash.set_up = [&] {
      testing::Settle();
      internal::LaneForNotes();
      value.emplace(Filled<kSize>(1));
    };
    // So that nothing in the operation happens for the first time.
    crash.prepare = [&] { change(Value<Bytes>(Filled<kSize>(1))); };
    crash.operation = [&] { change(*value); };
    crash.check = [&]() -> std::string {
      value->Acquire();
      const bool died = value->owner_died();
      const Bytes now = *value->Raw();
      value->Release();
      const bool whole = now == Filled<kSize>(1) || now == Filled<kSize>(2);
      if (!whole && kSize <= 8) return "half-written";
      if (!whole && !died) return "half-written, and nobody was told";
      value->Update([](Bytes& bytes) { bytes = Filled<kSize>(3); });
      if (value->Get() != Filled<kSize>(3)) return "not to be changed";
      return RepairAndCheck(*value);
    };
    ExpectClean(crash);
  }
};

TEST_F(ValueCrashTest, AWordIsSetWholeOrNotAtAll) {
  auto set = [](const auto& value) { value.Set({2, 2, 2}); };
  Sweep<3>("set", set);
  Sweep<8>("set", [](const auto& value) { value.Set(Filled<8>(2)); });
}

TEST_F(ValueCrashTest, MoreThanAWordIsWholeOrItIsTold) {
  Sweep<100>("set", [](const auto& value) { value.Set(Filled<100>(2)); });
}

TEST_F(ValueCrashTest, AnUpdateIsStoredAtItsEnd) {
  auto update = [](const auto& value) {
    value.Update([](auto& bytes) {
      for (uint8_t& byte : bytes) byte = 2;
    });
  };
  Sweep<5>("update", update);
  Sweep<8>("update", update);
  Sweep<100>("update", update);
}

TEST_F(ValueCrashTest, ASleeperIsWokenByTheEndOfAnUpdateOrByTheDeath) {
  std::optional<Value<int64_t>> value;
  CrashCase crash;
  crash.name = "update with a sleeper";
  crash.set_up = [&] {
    testing::Settle();
    internal::LaneForNotes();
    value.emplace(1);
  };
  crash.prepare = [&] {
    Value<int64_t>().Update([](int64_t& n) { ++n; });
    value->Acquire();
  };
  crash.operation = [&] {
    value->Update([](int64_t& n) { ++n; });
    value->Release();
  };
  crash.sleeper = [&] { value->Update([](int64_t& n) { n += 10; }); };
  crash.check = [&]() -> std::string {
    const int64_t now = value->Get() % 10;
    if (now != 1 && now != 2) return "neither the old value nor the new one";
    return RepairAndCheck(*value);
  };
  ExpectClean(crash);
}

TEST_F(ValueCrashTest, AValueOfAnArrayIsTold) {
  std::optional<Array<char>> text;
  CrashCase crash;
  crash.name = "Array<char>::SetValue";
  crash.set_up = [&] {
    testing::Settle();
    internal::LaneForNotes();
    text.emplace(std::string(100, 'a'));
  };
  crash.prepare = [&] { (void)Array<char>(100).SetValue(std::string(100, 'b')); };
  const std::string longer(100, 'b');
  crash.operation = [&] { (void)text->SetValue(longer); };
  crash.check = [&]() -> std::string {
    text->Acquire();
    const std::string now = text->value();
    const bool whole = now == std::string(100, 'a') || now == longer;
    if (!whole && !text->owner_died()) return "half-written, and nobody was told";
    text->Release();
    return RepairAndCheck(*text);
  };
  ExpectClean(crash);
}

// The making and the dropping, with whatever handle is the last.
class ValueLifeCrashTest : public ::testing::Test {
 protected:
  ValueLifeCrashTest() { (void)Domain::Get(); }

  void Sweep(const std::string& name, const std::function<void()>& operation) {
    CrashCase crash;
    crash.name = name;
    crash.set_up = [&] {
      testing::Settle();
      *before_ = Stats().in_use;
    };
    crash.prepare = [&] {
      operation();  // once before, so that nothing happens for the first time
      *victim_ = Domain::Current()->ThisProcess().identity();
    };
    crash.operation = operation;
    crash.check = [&]() -> std::string {
      if (const absl::Status status = Check(); !status.ok()) return status.ToString();
      operation();  // others make and drop as before
      Bury(*victim_);
      if (const absl::Status status = Check(); !status.ok()) return status.ToString();
      const DomainStats stats = Stats();
      if (stats.in_use == *before_) return "";
      return absl::StrCat("not given back: ", stats.in_use - *before_, " bytes; ",
                          stats.ToString());
    };
    ExpectClean(crash);
  }

  Inherited<uint64_t> victim_;
  Inherited<size_t> before_;
};

TEST_F(ValueLifeCrashTest, NothingOfAValueIsLeftBehind) {
  Sweep("Value", [] { const Value<int> value(1); });
  Sweep("Value with a name", [] { const Value<int> value(1, {.name = "jobs"}); });
  Sweep("Value with a Lock of its own", [] { const Value<int> value(1, Lock()); });
  Sweep("Value, its lock last", [] {
    const RLock lock = Value<int>(1).GetLock();
    lock.Acquire();
    lock.Release();
  });
}

TEST_F(ValueLifeCrashTest, NothingOfAnArrayIsLeftBehind) {
  Sweep("Array", [] { const Array<int> array({1, 2, 3}); });
  Sweep("Array of pages, with a name", [] { const Array<char> array(10'000, {.name = "grid"}); });
  Sweep("Array with an RLock of its own", [] { const Array<int> array({1, 2, 3}, RLock()); });
  Sweep("Array, its lock last", [] {
    const RLock lock = Array<int>({1, 2, 3}).GetLock();
    lock.Acquire();
    lock.Release();
  });
  Sweep("Array of pages, its lock last", [] {
    const RLock lock = Array<char>(10'000).GetLock();
    lock.Acquire();
    lock.Release();
  });
}

}  // namespace
}  // namespace mp
