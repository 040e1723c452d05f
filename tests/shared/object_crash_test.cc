// A process is killed at every instruction of the making and the dropping of an object.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/heap.h"
#include "shared/inspect.h"
#include "shared/internal/object.h"
#include "shared/internal/process_table.h"
#include "shared/internal/proof_of_death.h"
#include "shared/owner.h"
#include "shared/raw_array.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/lock.h"
#include "tests/support/bury.h"
#include "tests/support/crash.h"
#include "tests/support/fork.h"
#include "tests/support/inherited.h"
#include "tests/support/pause.h"

namespace mp {
namespace {

using testing::AllIds;
using testing::Bury;
using testing::CrashCase;
using testing::CrashReport;
using testing::Inherited;
using testing::RunCrashSweep;

using Words =
    std::vector<std::basic_string<char, std::char_traits<char>, Allocator<char>>,
                Allocator<std::basic_string<char, std::char_traits<char>, Allocator<char>>>>;

constexpr char kLong[] = "a text that is too long for the string itself";

class ObjectCrashTest : public ::testing::Test {
 protected:
  ObjectCrashTest() { (void)Domain::Get(); }

  // O1, and no more than the dead one's cells: each either an object, whose type is
  // `type`, or on its way.
  std::string CheckCells(internal::ObjectType type) {
    std::string wrong;
    Domain::Current()->heap().ForEachBlock([&](const Heap::Block& block) {
      if (!block.cell) return;
      const auto* object = static_cast<const internal::ObjectHeader*>(block.address);
      if (object->maker.load() != *victim_) return;
      if (block.owner == Owner::Process(*victim_)) return;
      if (block.owner != Owner::Object(object)) wrong = "a cell of a stranger's";
      if (object->type() != type) wrong = "an object of another type";
    });
    return wrong;
  }

  // What is made and dropped by `operation` is there or is the dead one's.
  void Sweep(const std::string& name, internal::ObjectType type,
             const std::function<void()>& operation) {
    CrashCase crash;
    crash.name = name;
    crash.set_up = [&] { *before_ = Stats().in_use; };
    crash.prepare = [&] {
      operation();  // once before, so that nothing happens for the first time
      *victim_ = Domain::Current()->ThisProcess().identity();
    };
    crash.operation = operation;
    crash.check = [&]() -> std::string {
      if (const absl::Status status = Check(); !status.ok()) return status.ToString();
      if (std::string wrong = CheckCells(type); !wrong.empty()) return wrong;
      (void)Stats();
      operation();  // others make and drop as before
      Bury(*victim_);
      if (const absl::Status status = Check(); !status.ok()) return status.ToString();
      const DomainStats stats = Stats();
      if (stats.in_use == *before_) return "";
      return absl::StrCat("not given back: ", stats.in_use - *before_, " bytes; ",
                          stats.ToString());
    };
    const CrashReport report = RunCrashSweep(crash);
    EXPECT_TRUE(report.Clean()) << report.Summary();
  }

  Inherited<uint64_t> victim_;
  Inherited<size_t> before_;
};

TEST_F(ObjectCrashTest, AnObjectIsThereOrItsCellIsTheDeads) {
  using internal::ObjectType;
  Sweep("Lock", ObjectType::kLock, [] { const Lock lock; });
  Sweep("Lock with a name", ObjectType::kLock, [] { const Lock lock({.name = "jobs"}); });
  Sweep("RawValue", ObjectType::kRawValue, [] { const RawValue<int> value(1); });
  Sweep("RawArray", ObjectType::kRawArray, [] { const RawArray<int> array({1, 2, 3}); });
  Sweep("RawArray of pages", ObjectType::kRawArray, [] { const RawArray<char> array(10'000); });
  Sweep("Shared", ObjectType::kShared, [] { const Shared<int> number(1); });
  Sweep("Shared with a block", ObjectType::kShared,
        [] { const Shared<std::array<char, 2000>> bytes; });
  Sweep("Shared<vector>", ObjectType::kShared, [] { const Shared<Words> words(2, kLong); });
}

// Killed anywhere in the drop of an object that a child has: what is in limbo comes back
// when the child is gone, too, whoever buries; what was not yet dropped stays, as that of
// any maker that was killed.
TEST_F(ObjectCrashTest, AnObjectInLimboComesBack) {
  std::optional<Shared<Words>> words;
  CrashCase crash;
  crash.name = "drop of an object that a child has";
  crash.set_up = [&] {
    // The child of the last victim may still be dying.
    while (AllIds().size() > 1) Domain::Current()->BuryTheDead(internal::Evidence::kThorough);
    *before_ = Stats().in_use;
  };
  crash.prepare = [&] {
    words.emplace(2, kLong);
    *victim_ = Domain::Current()->ThisProcess().identity();
    testing::ForkMortal([] { testing::PauseForEver(); });
  };
  crash.operation = [&] { words.reset(); };
  crash.check = [&]() -> std::string {
    if (const absl::Status status = Check(); !status.ok()) return status.ToString();
    Domain& domain = *Domain::Current();
    // The victim and its child, which dies with it.
    while (AllIds().size() > 2) domain.BuryTheDead(internal::Evidence::kThorough);
    bool stays = false;
    domain.heap().ForEachBlock([&](const Heap::Block& block) {
      if (!block.cell) return;
      const auto* object = static_cast<const internal::ObjectHeader*>(block.address);
      if (object->maker.load() != *victim_) return;
      if ((object->stakes.load() & internal::Stakes::kLimbo) != 0) stays = true;
    });
    if (stays) return "an object stayed in limbo";
    Bury(*victim_);
    if (const absl::Status status = Check(); !status.ok()) return status.ToString();
    if (Stats().in_use != *before_) return absl::StrCat("not given back: ", Stats().ToString());
    return "";
  };
  const CrashReport report = RunCrashSweep(crash);
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST_F(ObjectCrashTest, CopiesOfAHandleAreSafe) {
  const Lock lock;
  Sweep("copies", internal::ObjectType::kNone, [&] {
    Lock copy = lock;
    const Lock other = copy;
    copy = other;
  });
}

}  // namespace
}  // namespace mp
