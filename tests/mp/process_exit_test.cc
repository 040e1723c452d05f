// What runs at the end of a child, and at the end of a program that has children.

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

#include "mp/start_method.h"
#include "tests/mp/start_methods.h"

namespace mp {
namespace {

using Words = std::vector<std::string>;

class ProcessExitTest : public ::testing::TestWithParam<StartMethod> {
 protected:
  // The words of process_exit_program, in order.
  static Words WordsOf(const std::string& mode) {
    Words words;
    const std::string method = testing::StartMethodName({GetParam(), 0});
    FILE* const program = popen(
        ("tests/mp/process_exit_program " + mode + " " + method + " 2>/dev/null").c_str(), "r");
    EXPECT_NE(program, nullptr);
    char line[200];
    while (std::fgets(line, sizeof(line), program) != nullptr) {
      words.emplace_back(line).pop_back();
    }
    EXPECT_EQ(pclose(program), 0);
    return words;
  }

  // Where what a program makes before main() also ends at the end of a child: it has made it
  // itself. The fork server does so, too; last, when nobody is left that could ask it.
  static Words Expected(Words words) {
    Words expected;
    for (const std::string& word : words) {
      const bool is_of_child = word.ends_with(":global") && !word.starts_with("MainProcess:");
      if (!is_of_child || GetParam() == StartMethod::kSpawn) expected.push_back(word);
    }
    if (GetParam() == StartMethod::kForkserver) expected.emplace_back("forkserver:global");
    return expected;
  }
};

INSTANTIATE_TEST_SUITE_P(All, ProcessExitTest, testing::AllStartMethods(),
                         testing::StartMethodName);

// What the child registered itself, last first; then the parent goes on, and at its end
// runs what it registered.
Words WithCode(int code) {
  const std::string text = std::to_string(code);
  return {"child:child-on_exit-" + text,
          "child:child-atexit-2",
          "child:child-atexit-1",
          "child:child-static",
          "child:global",
          "MainProcess:code-" + text,
          "MainProcess:parent-atexit",
          "MainProcess:parent-static",
          "MainProcess:global"};
}

TEST_P(ProcessExitTest, AChildThatReturnsRunsItsOwnHandlersOnly) {
  EXPECT_EQ(WordsOf("returns"), Expected(WithCode(0)));
}

TEST_P(ProcessExitTest, AChildThatCallsExitRunsItsOwnHandlersOnly) {
  EXPECT_EQ(WordsOf("exits"), Expected(WithCode(3)));
}

TEST_P(ProcessExitTest, AChildThatCallsExitInAThreadRunsItsOwnHandlersOnly) {
  EXPECT_EQ(WordsOf("exits-in-a-thread"), Expected(WithCode(4)));
}

TEST_P(ProcessExitTest, AChildThatThrowsRunsItsOwnHandlersOnly) {
  EXPECT_EQ(WordsOf("throws"), Expected(WithCode(1)));
}

TEST_P(ProcessExitTest, AForkOfTheChildsOwnRunsNoHandlerOfTheParent) {
  // One that is spawned is a program of its own, and its fork runs what that has.
  EXPECT_EQ(
      WordsOf("forks-by-itself"),
      Expected({"child:global", "child:own-fork-0", "child:global", "MainProcess:code-0",
                "MainProcess:parent-atexit", "MainProcess:parent-static", "MainProcess:global"}));
}

TEST_P(ProcessExitTest, WhatAChildHasBufferedIsWrittenAtItsEnd) {
  EXPECT_EQ(
      WordsOf("writes-its-output"),
      Expected({"child:global", "child:stdio", "child:cout", "MainProcess:code-0",
                "MainProcess:parent-atexit", "MainProcess:parent-static", "MainProcess:global"}));
}

TEST_P(ProcessExitTest, ChildrenAreJoinedAtTheEndOfAChildAndOfAProgram) {
  EXPECT_EQ(
      WordsOf("joins-its-children"),
      Expected({"child:atexit", "grand:done", "grand:global", "child:global", "MainProcess:atexit",
                "forgotten:done", "forgotten:global", "MainProcess:global"}));
}

TEST_P(ProcessExitTest, DaemonsGetSigtermAtTheEndOfTheProgram) {
  EXPECT_EQ(WordsOf("ends-its-daemons"), Expected({"MainProcess:first", "polite:got-sigterm",
                                                   "MainProcess:last", "MainProcess:global"}));
}

TEST_P(ProcessExitTest, DaemonsGetSigtermAtTheEndOfAChild) {
  EXPECT_EQ(WordsOf("a-child-ends-its-daemons"),
            Expected({"child:first", "child:last", "polite:got-sigterm", "child:global",
                      "MainProcess:code-0", "MainProcess:parent-atexit",
                      "MainProcess:parent-static", "MainProcess:global"}));
}

TEST_P(ProcessExitTest, AForkOfTheProgramsOwnEndsItsOwnChildrenOnly) {
  EXPECT_EQ(WordsOf("leaves-the-children-of-another"),
            Expected({"own:ran", "own:global", "MainProcess:global", "MainProcess:child-lives",
                      "MainProcess:global"}));
}

}  // namespace
}  // namespace mp
