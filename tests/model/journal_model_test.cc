// A journal, in every order and with deaths at every step: all or nothing.

#include <gtest/gtest.h>

#include <cstdint>
#include <mutex>
#include <string>

#include "absl/strings/str_cat.h"
#include "shared/internal/atomic.h"
#include "shared/internal/journal.h"
#include "tests/model/explore.h"
#include "tests/support/settings.h"

namespace mp::model {
namespace {

using internal::Journal;
using internal::Word;
using mp::testing::Stress;

struct Words {
  Journal journal;
  Word first;
  Word second;
};

void SetBoth(Words& words, Journal::Section& section, uint64_t value) {
  section.Set(words.first, value);
  section.Set(words.second, value);
}

std::string Torn(const Words& words) {
  const uint64_t first = words.first.load();
  const uint64_t second = words.second.load();
  return first == second ? "" : absl::StrCat("torn: ", first, " and ", second);
}

// Whoever comes last finds it whole.
std::string AtTheEnd(Words& words) {
  const Journal::Section section(words.journal);
  return words.journal.Settled() ? Torn(words) : "a commit is still pending";
}

Words& MakeWords(Model& model) {
  auto& words = model.Make<Words>();
  words.journal.Init();
  model.Check([&words] { return AtTheEnd(words); });
  return words;
}

TEST(JournalModelTest, ACommitIsAllOrNothing) {
  const Report report = Explore({.name = "journal: commits", .kills = 2}, [](Model& model) {
    Words& words = MakeWords(model);
    for (const uint64_t value : {1, 2}) {
      model.Actor(value == 1 ? "one" : "two", [&model, &words, value] {
        Journal::Section section(words.journal);
        model.Require(section.Get(words.first) == section.Get(words.second), "torn");
        SetBoth(words, section, value);
        section.Commit();
      });
    }
  });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

TEST(JournalModelTest, SoIsEachOfTwoCommits) {
  const Report report =
      Explore({.name = "journal: two commits each", .kills = 3}, [](Model& model) {
        Words& words = MakeWords(model);
        for (const uint64_t value : {1, 3}) {
          model.Actor(value == 1 ? "one" : "two", [&model, &words, value] {
            Journal::Section section(words.journal);
            model.Require(section.Get(words.first) == section.Get(words.second), "torn");
            SetBoth(words, section, value);
            section.Commit();
            // Backwards, so that a mixture of the two would not go unnoticed.
            section.Set(words.second, value + 1);
            section.Set(words.first, value + 1);
            section.Commit();
          });
        }
        model.Actor("reader", [&model, &words] {
          const Journal::Section section(words.journal);
          model.Require(section.Get(words.first) == section.Get(words.second), "torn");
        });
      });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// Each adds one, twice; nothing that was committed is lost, nothing is there twice.
TEST(JournalModelTest, WhatWasCommittedStaysSo) {
  struct Counted {
    Words words;
    Word committed;  // by those that came out
  };
  const Report report = Explore({.name = "journal: additions", .kills = 2}, [](Model& model) {
    auto& counted = model.Make<Counted>();
    Words& words = counted.words;
    words.journal.Init();
    for (const char* name : {"one", "two"}) {
      model.Actor(name, [&words, &counted] {
        for (int i = 0; i < 2; ++i) {
          Journal::Section section(words.journal);
          SetBoth(words, section, section.Get(words.first) + 1);
          section.Commit();
          counted.committed.fetch_add(1);
        }
      });
    }
    model.Check([&model, &words, &counted]() -> std::string {
      std::string torn = AtTheEnd(words);
      if (!torn.empty()) return torn;
      const uint64_t dead = (model.Killed(0) ? 1 : 0) + (model.Killed(1) ? 1 : 0);
      const uint64_t least = counted.committed.load();
      const uint64_t is = words.first.load();
      if (is >= least && is <= least + dead) return "";
      return absl::StrCat(is, " additions, but ", least, " came out, and ", dead, " died");
    });
  });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

// One that does not wait, and one that waits with an end, come in, or not, and leave all whole.
TEST(JournalModelTest, WhoDoesNotWaitBreaksNothing) {
  const Report report =
      Explore({.name = "journal: tries and timeouts", .kills = 2, .timeouts = Stress() ? 3 : 2},
              [](Model& model) {
                Words& words = MakeWords(model);
                model.Actor("one", [&words] {
                  Journal::Section section(words.journal);
                  SetBoth(words, section, 1);
                  section.Commit();
                });
                model.Actor("trying", [&model, &words] {
                  Journal::Section section(words.journal, std::try_to_lock);
                  if (!section.held()) return;
                  model.Require(section.Get(words.first) == section.Get(words.second), "torn");
                  SetBoth(words, section, 2);
                  section.Commit();
                });
                model.Actor("for a while", [&model, &words] {
                  const timespec deadline = {};
                  Journal::Section section(words.journal, &deadline);
                  if (!section.held()) return;
                  model.Require(section.Get(words.first) == section.Get(words.second), "torn");
                  SetBoth(words, section, 3);
                  section.Commit();
                });
              });
  EXPECT_TRUE(report.Clean()) << report.Summary();
}

}  // namespace
}  // namespace mp::model
