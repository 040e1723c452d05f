#include "shared/internal/page_heap.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/owner.h"
#include "tests/shared/test_heap.h"
#include "tests/support/settings.h"

namespace mp::internal {
namespace {

using ::mp::testing::kAlice;
using ::mp::testing::kBob;
using ::mp::testing::ResidentPages;

constexpr uint32_t kPages = 8192;

// Pages in memory of its own.
class Pages {
 public:
  explicit Pages(uint64_t limit = kPages, uint32_t pages = kPages)
      : size_(sizeof(PageHeap) + (pages + 1) * (sizeof(PageHeap::Entry) + PageHeap::kPageSize)) {
    memory_ = mmap(nullptr, size_ + PageHeap::kPageSize, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT_NE(memory_, MAP_FAILED);
    auto* bytes = static_cast<std::byte*>(memory_);
    heap_ = new (memory_) PageHeap;
    auto* table = reinterpret_cast<PageHeap::Entry*>(bytes + (sizeof(PageHeap) + 63) / 64 * 64);
    const auto end = reinterpret_cast<uintptr_t>(table + pages + 1);
    heap_->Format(table, reinterpret_cast<std::byte*>((end + 4095) / 4096 * 4096), pages, limit);
  }
  ~Pages() { munmap(memory_, size_ + PageHeap::kPageSize); }

  PageHeap* operator->() const { return heap_; }

  uint32_t Get(uint32_t length) const {
    const absl::StatusOr<uint32_t> page = heap_->Allocate(length, kAlice, kAlice);
    EXPECT_TRUE(page.ok()) << page.status();
    return page.value_or(0);
  }
  std::string Broken() const {
    const absl::Status status = heap_->Check();
    return status.ok() ? "" : status.ToString();
  }
  uint64_t Committed() const { return heap_->GetTotals().committed; }
  uint64_t Free() const { return heap_->GetTotals().free; }
  size_t Resident(uint32_t page, uint32_t length) const {
    return ResidentPages(heap_->AddressOf(page), length * PageHeap::kPageSize);
  }

 private:
  const size_t size_;
  void* memory_;
  PageHeap* heap_;
};

TEST(PageHeapTest, BeginsWithOneFreeSpanWithoutMemory) {
  const Pages pages;
  EXPECT_EQ(pages.Broken(), "");
  EXPECT_EQ(pages.Committed(), 0u);
  EXPECT_EQ(pages->GetTotals().pages, kPages - 1u);
  EXPECT_EQ(pages->GetTotals().high_water, 1u);
  pages->ForEachSpan([](const PageHeap::Span&) { ADD_FAILURE() << "a span in use"; });
}

TEST(PageHeapTest, SpansOfEachLengthAreApart) {
  const Pages pages;
  std::vector<std::pair<uint32_t, uint32_t>> spans;
  for (uint32_t length = 1; length <= 100; ++length) spans.emplace_back(pages.Get(length), length);
  EXPECT_EQ(pages.Broken(), "");
  std::sort(spans.begin(), spans.end());
  for (size_t i = 1; i < spans.size(); ++i) {
    EXPECT_GE(spans[i].first, spans[i - 1].first + spans[i - 1].second);
  }
  EXPECT_GE(spans.front().first, 1u);
  EXPECT_LE(spans.back().first + spans.back().second, kPages);
}

TEST(PageHeapTest, CommitsInStepsOf256KiB) {
  const Pages pages;
  const uint32_t first = pages.Get(1);
  EXPECT_EQ(pages.Committed(), PageHeap::kGrowthPages);
  EXPECT_EQ(pages.Resident(first, 64), 64u);
  for (int i = 1; i < 64; ++i) pages.Get(1);
  EXPECT_EQ(pages.Committed(), 64u);
  EXPECT_EQ(pages.Free(), 0u);
  pages.Get(1);
  EXPECT_EQ(pages.Committed(), 128u);
  pages.Get(1000);
  EXPECT_EQ(pages.Committed(), 1128u);
}

TEST(PageHeapTest, TheLastPagesCanBeCommittedToo) {
  // Where less than a step is left: of the reserve, or of the limit.
  const Pages pages(/*limit=*/100);
  pages.Get(60);
  EXPECT_EQ(pages.Committed(), 64u);
  pages.Get(36);
  EXPECT_EQ(pages.Committed(), 100u);
  pages.Get(4);
  EXPECT_EQ(pages->Allocate(1, kAlice, kAlice).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(pages.Broken(), "");
  const Pages few(kPages, /*pages=*/10);
  few.Get(9);
  EXPECT_EQ(few->Allocate(1, kAlice, kAlice).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(few.Broken(), "");
}

TEST(PageHeapTest, FreedNeighboursBecomeOneSpan) {
  // In each order, and with memory, since less than 8 MiB is free.
  std::vector<int> order = {0, 1, 2, 3};
  do {
    const Pages pages;
    const uint32_t first = pages.Get(64);
    std::vector<uint32_t> spans = {first};
    for (int i = 0; i < 3; ++i) spans.push_back(pages.Get(64));
    const uint32_t fence = pages.Get(64);
    for (const int i : order) {
      pages->Free(spans[i], kAlice);
      ASSERT_EQ(pages.Broken(), "");
    }
    EXPECT_EQ(pages.Free(), 256u);
    EXPECT_EQ(pages.Get(256), first) << "they are not one";
    EXPECT_EQ(pages.Committed(), 320u);
    pages->Free(fence, kAlice);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(PageHeapTest, SpansWithAndWithoutMemoryAreKeptApart) {
  const Pages pages;
  const uint32_t small = pages.Get(64);
  const uint32_t large = pages.Get(PageHeap::kKeptPages + 1);
  pages.Get(1);
  pages->Free(large, kAlice);  // without memory from now on
  pages->Free(small, kAlice);  // with
  EXPECT_EQ(pages.Broken(), "");
  EXPECT_EQ(pages.Resident(large, PageHeap::kKeptPages + 1), 0u);
  EXPECT_EQ(pages.Resident(small, 64), 64u);
  // One that needs both takes new memory, and has all of it.
  const uint32_t both = pages.Get(PageHeap::kKeptPages + 30);
  EXPECT_EQ(pages.Resident(both, PageHeap::kKeptPages + 30), PageHeap::kKeptPages + 30u);
}

TEST(PageHeapTest, WhatAFreeTakesPast8MiBGoesBack) {
  const Pages pages;
  const uint32_t kept = pages.Get(PageHeap::kKeptPages);
  const uint32_t back = pages.Get(64);
  pages->Free(kept, kAlice);
  EXPECT_EQ(pages.Free(), PageHeap::kKeptPages);
  pages->Free(back, kAlice);
  EXPECT_EQ(pages.Free(), PageHeap::kKeptPages);
  EXPECT_EQ(pages.Committed(), PageHeap::kKeptPages);
  EXPECT_EQ(pages.Resident(back, 64), 0u);
  EXPECT_EQ(pages.Resident(kept, PageHeap::kKeptPages), PageHeap::kKeptPages + 0u);
  EXPECT_EQ(pages.Broken(), "");
}

// What was left over once does not stand in the way of what is used again and again.
TEST(PageHeapTest, PiecesMakeRoomForWhatIsFreed) {
  const Pages pages;
  constexpr uint32_t kPiece = 60;
  std::vector<uint32_t> pieces;
  for (uint32_t i = 0; i <= PageHeap::kKeptPages / kPiece; ++i) {
    pieces.push_back(pages.Get(kPiece));
    pages.Get(1);  // so that they stay pieces
  }
  const uint32_t large = pages.Get(256);
  for (const uint32_t piece : pieces) pages->Free(piece, kAlice);
  EXPECT_EQ(pages.Free(), PageHeap::kKeptPages);
  for (int i = 0; i < 3; ++i) {
    pages->Free(large, kAlice);
    EXPECT_EQ(pages.Free(), PageHeap::kKeptPages);
    EXPECT_EQ(pages.Resident(large, 256), 256u);
    EXPECT_EQ(pages.Broken(), "");
    EXPECT_EQ(pages.Get(256), large);
  }
}

TEST(PageHeapTest, ASpanHasItsOwner) {
  const Pages pages;
  const uint32_t page = *pages->Allocate(3, kBob, kAlice);
  for (uint32_t i = 0; i < 3; ++i) {
    const PageHeap::Span span = pages->SpanOf(pages->AddressOf(page + i) + 100);
    EXPECT_EQ(span.page, page);
    EXPECT_EQ(span.length, 3u);
    EXPECT_EQ(span.kind, PageHeap::Kind::kUsed);
    EXPECT_EQ(span.owner, kBob);
  }
  EXPECT_EQ(pages->SpanOf(pages->AddressOf(page + 3)).kind, PageHeap::Kind::kNone);
  pages->Free(page, kAlice);
  EXPECT_EQ(pages->SpanOf(pages->AddressOf(page)).kind, PageHeap::Kind::kNone);
}

TEST(PageHeapTest, OutsideOfThePagesThereIsNoSpan) {
  const Pages pages;
  EXPECT_EQ(pages->SpanOf(nullptr).kind, PageHeap::Kind::kNone);
  EXPECT_EQ(pages->SpanOf(pages->AddressOf(0)).kind, PageHeap::Kind::kNone);
  EXPECT_EQ(pages->SpanOf(pages->AddressOf(0) - 1).kind, PageHeap::Kind::kNone);
  EXPECT_EQ(pages->SpanOf(pages->AddressOf(kPages)).kind, PageHeap::Kind::kNone);
  EXPECT_EQ(pages->SpanOf(reinterpret_cast<void*>(~uintptr_t{0})).kind, PageHeap::Kind::kNone);
}

TEST(PageHeapTest, HighWaterOnlyRises) {
  const Pages pages;
  const uint32_t page = pages.Get(500);
  EXPECT_EQ(pages->GetTotals().high_water, page + 500);
  pages->Free(page, kAlice);
  EXPECT_EQ(pages->GetTotals().high_water, page + 500);
  pages.Get(10);
  EXPECT_EQ(pages->GetTotals().high_water, page + 500);
}

TEST(PageHeapTest, FindsTheOneThatFitsAmongManyThatDoNot) {
  // More spans of one bin than are tried at first, and the one that fits is the last.
  const Pages pages;
  const uint32_t fits = pages.Get(79);
  pages.Get(64);
  std::vector<uint32_t> short_ones;
  for (int i = 0; i < 25; ++i) {
    short_ones.push_back(pages.Get(64));  // 64 to 79 pages are one bin
    pages.Get(64);                        // so that they stay apart
  }
  pages->Free(fits, kAlice);
  for (const uint32_t page : short_ones) pages->Free(page, kAlice);
  const uint64_t committed = pages.Committed();
  EXPECT_EQ(pages.Get(79), fits);
  EXPECT_EQ(pages.Committed(), committed);
  EXPECT_EQ(pages.Broken(), "");
}

TEST(PageHeapTest, BehindASpanWhereASlabHasBeenThereIsNone) {
  // A slab leaves marks on its pages that lead to where it began.
  const Pages pages;
  const uint32_t page = pages.Get(16);
  pages->MarkInside(page, 16, 1);
  pages->Free(page, kAlice);
  ASSERT_EQ(pages.Get(3), page);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(pages->SpanOf(pages->AddressOf(page + i)).page, page);
  }
  for (uint32_t i = 3; i < 64; ++i) {
    EXPECT_EQ(pages->SpanOf(pages->AddressOf(page + i)).kind, PageHeap::Kind::kNone) << i;
  }
}

TEST(PageHeapTest, RandomUseKeepsEachInvariant) {
  const uint64_t seed = testing::Seed(1);
  SCOPED_TRACE("MP_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const Pages pages(/*limit=*/5000);
  std::map<uint32_t, uint32_t> spans;  // in use: first page, length
  const int steps = 5000 / testing::kSlowness;
  for (int step = 0; step < steps; ++step) {
    if (random() % 100 < (step % 2000 < 1000 ? 60u : 40u)) {
      const auto length = static_cast<uint32_t>(1 + random() % (random() % 8 == 0 ? 1500 : 60));
      const absl::StatusOr<uint32_t> page = pages->Allocate(length, kAlice, kAlice);
      if (!page.ok()) continue;
      const auto next = spans.lower_bound(*page);
      if (next != spans.end()) {
        ASSERT_LE(*page + length, next->first);
      }
      if (next != spans.begin()) {
        ASSERT_LE(std::prev(next)->first + std::prev(next)->second, *page);
      }
      ASSERT_EQ(pages.Resident(*page, length), length);
      spans[*page] = length;
    } else if (!spans.empty()) {
      auto span = spans.lower_bound(static_cast<uint32_t>(random() % kPages));
      if (span == spans.end()) span = spans.begin();
      pages->Free(span->first, kAlice);
      spans.erase(span);
    }
    ASSERT_EQ(pages.Broken(), "");
    ASSERT_LE(pages.Committed(), 5000u);
    ASSERT_LE(pages.Free(), PageHeap::kKeptPages + PageHeap::kGrowthPages);
  }
  std::map<uint32_t, uint32_t> found;
  pages->ForEachSpan([&](const PageHeap::Span& span) { found[span.page] = span.length; });
  EXPECT_EQ(found, spans);
  for (const auto& [page, length] : spans) pages->Free(page, kAlice);
  EXPECT_EQ(pages.Committed(), pages.Free());
  EXPECT_EQ(pages.Broken(), "");
}

}  // namespace
}  // namespace mp::internal
