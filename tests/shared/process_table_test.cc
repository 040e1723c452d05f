// The table of processes by itself: slots, ids, and who may do what.

#include "shared/internal/process_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/support/child.h"
#include "tests/support/inherited.h"

namespace mp::internal {

struct ProcessTableTestPeer {
  static Word& State(ProcessTable& table, ProcessId id) {
    return table.slots_[ProcessTable::IndexOf(id)].state;
  }
};

namespace {

using Kind = ProcessTable::Kind;
using mp::testing::Child;
using mp::testing::Inherited;
using ::testing::HasSubstr;

class ProcessTableTest : public ::testing::Test {
 protected:
  ProcessTableTest() {
    memory_ = mmap(nullptr, ProcessTable::BytesFor(kSlots), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    table().Format(memory_, kSlots);
    EXPECT_TRUE(table().Grow().ok());
    self_ = *table().ClaimForSelf(false);
  }
  ~ProcessTableTest() override {
    EXPECT_EQ(table().Check(), absl::OkStatus());
    munmap(memory_, ProcessTable::BytesFor(kSlots));
  }

  ProcessTable& table() { return *table_; }
  Kind KindOf(ProcessId id) { return table().Find(id).kind; }
  void BuryNow(ProcessId id) {
    table().DeclareDead(id, Kind::kLive);
    ASSERT_TRUE(table().BeginBurial(id, self_));
    table().ReleaseActed(id);
    table().EndBurial(id);
  }
  std::vector<ProcessId> All() {
    std::vector<ProcessId> all;
    for (auto entry = table().Next(0); entry.kind != Kind::kFree; entry = table().Next(entry.id)) {
      all.push_back(entry.id);
    }
    return all;
  }

  static constexpr uint32_t kSlots = 128;
  void* memory_;
  Inherited<ProcessTable> table_;
  ProcessId self_;
};

TEST_F(ProcessTableTest, SizeFollowsTheReserve) {
  EXPECT_EQ(ProcessTable::SlotsFor(2 << 20), ProcessTable::kLeastSlots);
  EXPECT_EQ(ProcessTable::SlotsFor(size_t{64} << 30), ProcessTable::kMostSlots);
  const uint32_t between = ProcessTable::SlotsFor(size_t{200} << 20);
  EXPECT_GT(between, ProcessTable::kLeastSlots);
  EXPECT_LT(between, ProcessTable::kMostSlots);
  EXPECT_LE(ProcessTable::BytesFor(between), (size_t{200} << 20) / 100);
}

TEST_F(ProcessTableTest, AProcessClaimsForItself) {
  const ProcessTable::Entry entry = table().Find(self_);
  EXPECT_EQ(entry.kind, Kind::kLive);
  EXPECT_EQ(entry.pid, getpid());
  EXPECT_EQ(entry.parent, 0u);
  EXPECT_NE(entry.started, 0u);
  EXPECT_EQ(entry.name, "");
  EXPECT_THAT(All(), ::testing::ElementsAre(self_));
}

TEST_F(ProcessTableTest, AChildIsKnownBeforeItRunsAndLivesWhenItDoes) {
  const ProcessId id = *table().ClaimForChild(self_);
  EXPECT_EQ(KindOf(id), Kind::kBorn);
  EXPECT_EQ(table().Find(id).parent, self_);
  EXPECT_EQ(table().Find(id).pid, 0);
  table().ChildForked(id);
  EXPECT_EQ(KindOf(id), Kind::kForked);
  Child child([&] {
    EXPECT_TRUE(table().BecomeLive(id));
    EXPECT_EQ(table().Find(id).pid, getpid());
  });
  EXPECT_EQ(child.Finish(), 0);
  EXPECT_EQ(KindOf(id), Kind::kLive);
  EXPECT_EQ(table().Find(id).pid, child.pid());
}

TEST_F(ProcessTableTest, AChildMayBeFasterThanItsParent) {
  const ProcessId id = *table().ClaimForChild(self_);
  EXPECT_TRUE(table().BecomeLive(id));
  table().ChildForked(id);
  EXPECT_EQ(KindOf(id), Kind::kLive);
}

TEST_F(ProcessTableTest, AForkThatFailedGivesItsSlotBack) {
  const ProcessId id = *table().ClaimForChild(self_);
  table().ChildNotForked(id);
  EXPECT_EQ(KindOf(id), Kind::kFree);
  EXPECT_FALSE(table().BecomeLive(id));
  EXPECT_THAT(All(), ::testing::ElementsAre(self_));
}

TEST_F(ProcessTableTest, NoIdIsGivenTwice) {
  std::set<ProcessId> ids = {self_};
  for (int i = 0; i < 1000; ++i) {
    const ProcessId id = *table().ClaimForChild(self_);
    EXPECT_TRUE(ids.insert(id).second);
    EXPECT_TRUE(table().BecomeLive(id));
    BuryNow(id);
    EXPECT_EQ(KindOf(id), Kind::kFree);
  }
}

TEST_F(ProcessTableTest, GrowsToItsEndAndThenRefuses) {
  std::vector<ProcessId> ids;
  for (;;) {
    absl::StatusOr<ProcessId> id = table().ClaimForChild(self_);
    if (!id.ok()) {
      EXPECT_EQ(id.status().code(), absl::StatusCode::kResourceExhausted);
      const absl::Status grown = table().Grow();
      if (grown.ok()) continue;
      EXPECT_EQ(grown.code(), absl::StatusCode::kResourceExhausted);
      EXPECT_THAT(grown.message(), HasSubstr("127 processes"));
      break;
    }
    EXPECT_TRUE(table().BecomeLive(*id));
    ids.push_back(*id);
  }
  EXPECT_EQ(ids.size(), kSlots - 2);  // slot 0 is nobody's, one is our own
  BuryNow(ids[50]);
  const ProcessId again = *table().ClaimForChild(self_);
  EXPECT_EQ(ProcessTable::IndexOf(again), ProcessTable::IndexOf(ids[50]));
  EXPECT_EQ(ProcessTable::GenerationOf(again), ProcessTable::GenerationOf(ids[50]) + 1);
}

TEST_F(ProcessTableTest, NamesAreCutWhereTheyDoNotFit) {
  table().SetName(self_, "jobs");
  EXPECT_EQ(table().Find(self_).name, "jobs");
  table().SetName(self_, std::string(500, 'x'));
  EXPECT_EQ(table().Find(self_).name, std::string(55, 'x'));
}

TEST_F(ProcessTableTest, FlagsAreTheProcesssAndGoWithIt) {
  const ProcessId id = *table().ClaimForChild(self_);
  EXPECT_TRUE(table().BecomeLive(id));
  table().SetFlag(id, ProcessTable::kUsedHeap);
  table().SetFlag(id, ProcessTable::kDaemon);
  table().SetName(id, "one");
  EXPECT_EQ(table().Find(id).flags, ProcessTable::kUsedHeap | ProcessTable::kDaemon);
  EXPECT_EQ(table().Find(id).pid, getpid());
  BuryNow(id);
  ProcessId next = *table().ClaimForChild(self_);
  while (ProcessTable::IndexOf(next) != ProcessTable::IndexOf(id)) {
    next = *table().ClaimForChild(self_);
  }
  EXPECT_TRUE(table().BecomeLive(next));
  EXPECT_EQ(table().Find(next).flags, 0u);
  EXPECT_EQ(table().Find(next).name, "");
  EXPECT_EQ(KindOf(id), Kind::kFree);
}

TEST_F(ProcessTableTest, OneUndertakerAtATime) {
  const ProcessId id = *table().ClaimForChild(self_);
  EXPECT_TRUE(table().BecomeLive(id));
  EXPECT_FALSE(table().BeginBurial(id, self_));  // it lives
  table().DeclareDead(id, Kind::kForked);        // proof of something else
  EXPECT_EQ(KindOf(id), Kind::kLive);
  table().DeclareDead(id, Kind::kLive);
  EXPECT_EQ(KindOf(id), Kind::kDead);
  EXPECT_TRUE(table().BeginBurial(id, self_));
  EXPECT_FALSE(table().BeginBurial(id, self_));
  table().EndBurial(id);
  EXPECT_EQ(KindOf(id), Kind::kFree);
  EXPECT_FALSE(table().BeginBurial(id, self_));
}

TEST_F(ProcessTableTest, WhatTheDeadHadBegunIsLeftToOthers) {
  const ProcessId parent = *table().ClaimForChild(self_);
  EXPECT_TRUE(table().BecomeLive(parent));
  const ProcessId dead = *table().ClaimForChild(self_);
  EXPECT_TRUE(table().BecomeLive(dead));
  const ProcessId born = *table().ClaimForChild(parent);
  const ProcessId forked = *table().ClaimForChild(parent);
  table().ChildForked(forked);
  table().DeclareDead(dead, Kind::kLive);
  EXPECT_TRUE(table().BeginBurial(dead, parent));
  BuryNow(parent);
  // Whether there is a child nobody can tell any more.
  EXPECT_EQ(KindOf(born), Kind::kForked);
  EXPECT_EQ(KindOf(forked), Kind::kForked);
  EXPECT_TRUE(table().BeginBurial(dead, self_));
  EXPECT_TRUE(table().BecomeLive(born));
}

TEST_F(ProcessTableTest, ProcessesClaimAtOnce) {
  constexpr int kRounds = 2000;
  // The second table holds what each had, to see that no two had the same at once.
  Inherited<std::array<Word, kSlots>> holders;
  auto work = [&] {
    const ProcessId self = *table().ClaimForSelf(false);
    for (int i = 0; i < kRounds; ++i) {
      const absl::StatusOr<ProcessId> id = table().ClaimForChild(self);
      ASSERT_TRUE(id.ok());
      Word& holder = (*holders)[ProcessTable::IndexOf(*id)];
      EXPECT_EQ(holder.exchange(self), 0u);
      EXPECT_EQ(holder.exchange(0), self);
      table().ChildNotForked(*id);
    }
  };
  Child one(work);
  Child two(work);
  Child three(work);
  EXPECT_EQ(one.Finish(), 0);
  EXPECT_EQ(two.Finish(), 0);
  EXPECT_EQ(three.Finish(), 0);
}

TEST_F(ProcessTableTest, WhatWasMadeBeforeAForkWithoutASlotMayBeAnyones) {
  const uint64_t before = table().Clock();
  EXPECT_FALSE(table().MayBeUnknown(before));
  table().NoteForkWithoutSlot();
  EXPECT_TRUE(table().MayBeUnknown(0));  // made during a fork
  EXPECT_TRUE(table().MayBeUnknown(before));
  EXPECT_FALSE(table().MayBeUnknown(table().Clock()));
}

TEST_F(ProcessTableTest, CheckNamesWhatIsBroken) {
  const ProcessId id = *table().ClaimForChild(self_);
  Word& state = ProcessTableTestPeer::State(table(), id);
  const uint64_t good = state.load();
  auto breaks = [&](uint64_t value, const char* what) {
    state.store(value);
    const absl::Status status = table().Check();
    EXPECT_THAT(status.message(), HasSubstr(what));
    state.store(good);
  };
  breaks(good | 7, "T1: it is of no kind");
  breaks((good & ~uint64_t{7}) | static_cast<uint64_t>(Kind::kLive), "T1: an actor of nothing");
  breaks(good | (uint64_t{0xffff} << 3), "T3: its actor is no slot");
  breaks((good & ~(uint64_t{0xffff} << 3)) | (uint64_t{20} << 3), "T3: its actor is gone");
}

}  // namespace
}  // namespace mp::internal
