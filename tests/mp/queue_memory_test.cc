// A queue where memory is short.

#include <gtest/gtest.h>

#include <cstddef>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/or_die.h"
#include "mp/queue.h"
#include "shared/domain.h"
#include "shared/internal/proof_of_death.h"
#include "shared/shared.h"
#include "tests/support/child.h"

namespace mp {
namespace {

using testing::Child;
using testing::Steps;

// Before any test makes the domain.
const absl::Status configured =
    ConfigureDomain({.reserve = size_t{64} << 20, .commit_limit = size_t{8} << 20});

struct PutsAtItsEnd {
  explicit PutsAtItsEnd(const Queue<int>& its) : queue(its) {}
  PutsAtItsEnd(const PutsAtItsEnd&) = delete;
  PutsAtItsEnd& operator=(const PutsAtItsEnd&) = delete;
  ~PutsAtItsEnd() { (void)queue.TryPut(-1); }

  Queue<int> queue;
};

// The ends of what may end, which so gives memory back, come when nothing is locked.
TEST(QueueMemoryTest, WhatEndsForItMayUseTheQueue) {
  OrDie(configured);
  const Queue<int> queue;
  // Whoever learns of a death would look for them.
  Child undertaker([](Steps& step) {
    step("up");
    Domain::Current()->BuryTheDead(internal::Evidence::kQuick);
  });
  ASSERT_TRUE(undertaker.RunTo("up"));
  std::optional<Shared<PutsAtItsEnd>> shared(std::in_place, queue);
  Child heir([](Steps& step) { step("up"); });
  ASSERT_TRUE(heir.RunTo("up"));
  shared.reset();  // the heir may have it
  EXPECT_EQ(heir.Finish(), 0);
  EXPECT_EQ(undertaker.Finish(), 0);

  std::vector<void*> all;
  for (const size_t size : {size_t{1} << 16, size_t{1} << 12}) {
    for (;;) {
      const absl::StatusOr<void*> block = Domain::Current()->Allocate(size);
      if (!block.ok()) break;
      all.push_back(*block);
    }
  }
  absl::Status status;
  int count = 0;
  while (status.ok()) {
    status = queue.Put(count);
    if (status.ok()) ++count;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  for (void* const block : all) Domain::Current()->Free(block);
  for (int i = 0; i < count; ++i) EXPECT_EQ(queue.Get().value(), i);
  // It ended then, or will.
  OrDie(queue.Put(count));
  EXPECT_EQ(queue.Get().value(), count);
}

}  // namespace
}  // namespace mp
