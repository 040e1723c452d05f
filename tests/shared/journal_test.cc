#include "shared/internal/journal.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "shared/internal/atomic.h"
#include "tests/support/child.h"
#include "tests/support/inherited.h"

namespace mp::internal {

struct JournalTestPeer {
  static Word& Committed(Journal& journal) { return journal.committed_; }
};

namespace {

using ::mp::testing::Child;
using ::mp::testing::Inherited;
using ::mp::testing::Steps;

struct Words {
  Words() { journal.Init(); }

  Journal journal;
  std::array<Word, Journal::kCapacity> words{};
};

TEST(JournalTest, ACommitSetsEachWord) {
  Inherited<Words> words;
  Journal::Section section(words->journal);
  for (size_t i = 0; i < Journal::kCapacity; ++i) section.Set(words->words[i], i + 100);
  EXPECT_EQ(words->words[3].load(), 0u);
  section.Commit();
  for (size_t i = 0; i < Journal::kCapacity; ++i) EXPECT_EQ(words->words[i].load(), i + 100);
  EXPECT_TRUE(words->journal.Settled());
}

TEST(JournalTest, GetSeesWhatIsStagedAndTheLastValueCounts) {
  Inherited<Words> words;
  Journal::Section section(words->journal);
  Word& word = words->words[0];
  word.store(5);
  EXPECT_EQ(section.Get(word), 5u);
  // More often than there are entries: one word takes one.
  for (uint64_t i = 0; i < 2 * Journal::kCapacity; ++i) {
    section.Set(word, i);
    EXPECT_EQ(section.Get(word), i);
  }
  EXPECT_EQ(word.load(), 5u);
  section.Commit();
  EXPECT_EQ(word.load(), 2 * Journal::kCapacity - 1);
}

TEST(JournalTest, WhatIsNotCommittedHasNeverBeen) {
  Inherited<Words> words;
  {
    Journal::Section section(words->journal);
    section.Set(words->words[0], 1);
  }
  Journal::Section section(words->journal);
  EXPECT_EQ(section.Get(words->words[0]), 0u);
  section.Commit();
  EXPECT_EQ(words->words[0].load(), 0u);
}

TEST(JournalTest, ASectionMayCommitSeveralTimes) {
  Inherited<Words> words;
  Journal::Section section(words->journal);
  for (uint64_t round = 1; round <= 3; ++round) {
    for (Word& word : words->words) section.Set(word, section.Get(word) + round);
    section.Commit();
  }
  for (const Word& word : words->words) EXPECT_EQ(word.load(), 6u);
}

TEST(JournalTest, ATryTellsWhetherItGotIn) {
  Inherited<Words> words;
  Child child([&](Steps& step) {
    const Journal::Section section(words->journal);
    step("inside");
  });
  ASSERT_TRUE(child.RunTo("inside"));
  {
    const Journal::Section section(words->journal, std::try_to_lock);
    EXPECT_FALSE(section.held());
  }
  EXPECT_EQ(child.Finish(), 0);
  const Journal::Section section(words->journal, std::try_to_lock);
  EXPECT_TRUE(section.held());
}

TEST(JournalTest, TheNextOneAppliesWhatADeadHolderCommitted) {
  for (const bool try_only : {false, true}) {
    Inherited<Words> words;
    Child child([&] {
      Journal::Section section(words->journal);
      for (Word& word : words->words) section.Set(word, 7);
      JournalTestPeer::Committed(words->journal).store(10);
      raise(SIGKILL);
    });
    EXPECT_EQ(child.Finish(), -SIGKILL);
    EXPECT_EQ(words->words[0].load(), 0u);
    if (try_only) {
      const Journal::Section section(words->journal, std::try_to_lock);
      EXPECT_TRUE(section.held());
    } else {
      const Journal::Section section(words->journal);
      EXPECT_TRUE(section.held());
    }
    for (size_t i = 0; i < 10; ++i) EXPECT_EQ(words->words[i].load(), 7u) << i;
    EXPECT_EQ(words->words[10].load(), 0u) << "was not committed";
    EXPECT_TRUE(words->journal.Settled());
    const Journal::Section again(words->journal);
    EXPECT_TRUE(again.held()) << "the death is forgotten";
  }
}

TEST(JournalTest, TheNextOneForgetsWhatADeadHolderOnlyStaged) {
  Inherited<Words> words;
  Child child([&] {
    Journal::Section section(words->journal);
    for (Word& word : words->words) section.Set(word, 7);
    raise(SIGKILL);
  });
  EXPECT_EQ(child.Finish(), -SIGKILL);
  Journal::Section section(words->journal);
  for (const Word& word : words->words) EXPECT_EQ(section.Get(word), 0u);
}

TEST(JournalTest, SectionsOfThreadsExcludeOneAnother) {
  Inherited<Words> words;
  constexpr int kThreads = 4;
  constexpr int kRounds = 2000;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        Journal::Section section(words->journal);
        for (Word& word : words->words) section.Set(word, section.Get(word) + 1);
        section.Commit();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Word& word : words->words) EXPECT_EQ(word.load(), uint64_t{kThreads} * kRounds);
}

}  // namespace
}  // namespace mp::internal
