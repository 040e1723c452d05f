#include "shared/internal/slab.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "shared/internal/journal.h"
#include "shared/internal/size_class.h"
#include "shared/owner.h"

namespace mp::internal {
namespace {

constexpr Owner kOwner = Owner::Process(7);

// A slab for each class in turn, in private memory.
class SlabTest : public ::testing::TestWithParam<uint32_t> {
 protected:
  SlabTest() : slab_(static_cast<Slab*>(std::aligned_alloc(4096, Slab::kBytes))) {
    journal_.Init();
    slab_->Format(/*arena_index=*/3, Use::kBlocks, GetParam());
  }
  ~SlabTest() override { std::free(slab_); }

  uint32_t Take(Owner owner = kOwner) {
    Journal::Section section(journal_);
    const uint32_t index = slab_->Take(section, owner);
    section.Commit();
    return index;
  }
  void Give(uint32_t index) {
    Journal::Section section(journal_);
    slab_->Give(section, index);
    section.Commit();
  }
  absl::Status Check() {
    const Journal::Section section(journal_);
    return slab_->Check(section);
  }
  bool Full() { return Slab::FirstFree(slab_->state.load()) == Slab::kNoBlock; }

  Journal journal_;
  Slab* const slab_;
};

INSTANTIATE_TEST_SUITE_P(EachClass, SlabTest, ::testing::Range(0u, kSizeClassCount));

TEST_P(SlabTest, BlocksLieBehindTheHeaderAlignedAndInside) {
  const size_t header = sizeof(Slab) + slab_->count * sizeof(Word);
  EXPECT_GE(slab_->first, header);
  EXPECT_EQ(slab_->size, SizeOfClass(GetParam()));
  for (uint32_t i = 0; i < slab_->count; ++i) {
    const auto block = reinterpret_cast<uintptr_t>(slab_->BlockAt(i));
    EXPECT_EQ(block % AlignmentOfClass(GetParam()), 0u) << i;
    EXPECT_EQ(block, reinterpret_cast<uintptr_t>(slab_) + slab_->first + i * slab_->size);
  }
  EXPECT_LE(slab_->first + slab_->count * slab_->size, Slab::kBytes);
}

TEST_P(SlabTest, WastesAtMostOneBlockAndTheAlignment) {
  const size_t used = slab_->first + slab_->count * slab_->size;
  EXPECT_LT(Slab::kBytes - used, slab_->size + sizeof(Word) + AlignmentOfClass(GetParam()));
}

TEST_P(SlabTest, GivesEachBlockOnceAndTakesThemBackInAnyOrder) {
  std::vector<uint32_t> taken;
  for (int round = 0; round < 3; ++round) {
    while (!Full()) taken.push_back(Take());
    EXPECT_EQ(Check(), absl::OkStatus());
    EXPECT_EQ(taken.size(), slab_->count);
    EXPECT_EQ(std::set<uint32_t>(taken.begin(), taken.end()).size(), slab_->count);
    EXPECT_LT(*std::max_element(taken.begin(), taken.end()), slab_->count);
    // Every other one, then the rest backwards: another order each round.
    for (size_t i = round % 2; i < taken.size(); i += 2) {
      Give(taken[i]);
      taken[i] = Slab::kNoBlock;
    }
    EXPECT_EQ(Check(), absl::OkStatus());
    for (; !taken.empty(); taken.pop_back()) {
      if (taken.back() != Slab::kNoBlock) Give(taken.back());
    }
    EXPECT_EQ(Check(), absl::OkStatus());
    EXPECT_EQ(Slab::Used(slab_->state.load()), 0u);
  }
}

TEST_P(SlabTest, KeepsTheOwnerOfEachBlock) {
  const uint32_t first = Take(Owner::Process(1));
  const uint32_t second = Take(Owner::Message(slab_));
  EXPECT_EQ(Owner::FromWord(slab_->owners[first].load()), Owner::Process(1));
  EXPECT_EQ(Owner::FromWord(slab_->owners[second].load()), Owner::Message(slab_));
  Give(first);
  EXPECT_EQ(Owner::FromWord(slab_->owners[first].load()).kind(), Owner::Kind::kNone);
  EXPECT_EQ(Owner::FromWord(slab_->owners[second].load()), Owner::Message(slab_));
}

TEST_P(SlabTest, KnowsWhereBlocksBegin) {
  auto* start = reinterpret_cast<std::byte*>(slab_);
  std::vector<uint32_t> found;
  for (size_t offset = 0; offset < Slab::kBytes; ++offset) {
    const uint32_t index = slab_->IndexOf(start + offset);
    if (index == Slab::kNoBlock) continue;
    ASSERT_EQ(slab_->BlockAt(index), start + offset);
    ASSERT_EQ(index, found.size());
    found.push_back(index);
  }
  EXPECT_EQ(found.size(), slab_->count);
  EXPECT_EQ(slab_->IndexOf(start - 1), Slab::kNoBlock);
  EXPECT_EQ(slab_->IndexOf(start + Slab::kBytes), Slab::kNoBlock);
}

}  // namespace
}  // namespace mp::internal
