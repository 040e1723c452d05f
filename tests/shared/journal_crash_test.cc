#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "shared/internal/atomic.h"
#include "shared/internal/journal.h"
#include "tests/support/crash.h"
#include "tests/support/inherited.h"

namespace mp::internal {

struct JournalTestPeer {
  static Word& Committed(Journal& journal) { return journal.committed_; }
};

namespace {

using ::mp::testing::CrashCase;
using ::mp::testing::CrashReport;
using ::mp::testing::Inherited;
using ::mp::testing::RunCrashSweep;

struct Words {
  Journal journal;
  std::array<Word, 20> words;
};

// Words that are all of one value, and only one of `values`; a settled journal.
std::string Torn(Words& words, uint64_t from, uint64_t to) {
  const Journal::Section section(words.journal);
  if (!words.journal.Settled()) return "a commit is still pending";
  const uint64_t first = words.words[0].load();
  for (const Word& word : words.words) {
    if (word.load() != first) return absl::StrCat("torn: ", first, " and ", word.load());
  }
  if (first < from || first > to) return absl::StrCat("neither before nor after: ", first);
  return "";
}

void SetAll(Words& words, Journal::Section& section, uint64_t value) {
  for (Word& word : words.words) section.Set(word, value);
}

CrashCase OfWords(const char* name, Inherited<Words>& words) {
  CrashCase c;
  c.name = name;
  c.set_up = [&words] {
    words->journal.Init();
    for (Word& word : words->words) word.store(0);
  };
  c.prepare = [&words] { const Journal::Section section(words->journal); };
  return c;
}

TEST(JournalCrashTest, ACommitIsAllOrNothing) {
  Inherited<Words> words;
  CrashCase c = OfWords("journal: commit", words);
  c.operation = [&] {
    Journal::Section section(words->journal);
    SetAll(*words, section, 1);
    section.Commit();
  };
  c.check = [&] { return Torn(*words, 0, 1); };
  const CrashReport report = RunCrashSweep(c);
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(JournalCrashTest, ASecondCommitIsAllOrNothingToo) {
  Inherited<Words> words;
  CrashCase c = OfWords("journal: two commits", words);
  c.operation = [&] {
    Journal::Section section(words->journal);
    SetAll(*words, section, 1);
    section.Commit();
    // Backwards, so that a mixture of the two would not go unnoticed.
    for (size_t i = words->words.size(); i-- > 0;) section.Set(words->words[i], 2);
    section.Commit();
  };
  c.check = [&] { return Torn(*words, 0, 2); };
  const CrashReport report = RunCrashSweep(c);
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(JournalCrashTest, AReplayMayDieAndIsDoneAgain) {
  Inherited<Words> words;
  CrashCase c = OfWords("journal: replay", words);
  const auto init = c.set_up;
  c.set_up = [&, init] {
    init();
    // Somebody died with all committed and nothing applied.
    const pid_t pid = fork();
    if (pid == 0) {
      Journal::Section section(words->journal);
      SetAll(*words, section, 1);
      JournalTestPeer::Committed(words->journal).store(words->words.size());
      raise(SIGKILL);
    }
    waitpid(pid, nullptr, 0);
  };
  c.prepare = nullptr;
  c.operation = [&] { const Journal::Section section(words->journal); };
  c.check = [&] { return Torn(*words, 1, 1); };
  const CrashReport report = RunCrashSweep(c);
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

}  // namespace
}  // namespace mp::internal
