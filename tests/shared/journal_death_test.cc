#include <gtest/gtest.h>

#include "shared/internal/atomic.h"
#include "shared/internal/journal.h"

// What tests do to locks on purpose the thread-safety analysis would not let them.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace mp::internal {
namespace {

TEST(JournalDeathTest, MoreWordsThanItHoldsEndTheProcess) {
  Journal journal;
  journal.Init();
  Word words[Journal::kCapacity + 1] = {};
  EXPECT_DEATH(
      {
        Journal::Section section(journal);
        for (Word& word : words) section.Set(word, 1);
      },
      "mp: journal: a section of more words than it holds");
}

TEST(JournalDeathTest, EnteringTwiceEndsTheProcess) {
  Journal journal;
  journal.Init();
  EXPECT_DEATH(
      {
        const Journal::Section section(journal);
        const Journal::Section again(journal);
      },
      "mp: domain: entered again by a thread that is inside it");
}

TEST(JournalDeathTest, TryingToEnterTwiceEndsTheProcess) {
  Journal journal;
  journal.Init();
  EXPECT_DEATH(
      {
        const Journal::Section section(journal);
        const Journal::Section again(journal, std::try_to_lock);
      },
      "mp: domain: entered again by a thread that is inside it");
}

}  // namespace
}  // namespace mp::internal
