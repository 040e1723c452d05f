// What runs at the end of a child, and at the end of a program that has children.

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

namespace mp {
namespace {

// The words of process_exit_program, in order.
std::vector<std::string> WordsOf(const std::string& mode) {
  std::vector<std::string> words;
  FILE* const program =
      popen(("tests/mp/process_exit_program " + mode + " 2>/dev/null").c_str(), "r");
  EXPECT_NE(program, nullptr);
  char line[200];
  while (std::fgets(line, sizeof(line), program) != nullptr) {
    words.emplace_back(line).pop_back();
  }
  EXPECT_EQ(pclose(program), 0);
  return words;
}

using Words = std::vector<std::string>;

// What the child registered itself, last first; then the parent goes on, and at its end
// runs what it registered.
Words WithCode(int code) {
  const std::string text = std::to_string(code);
  return {"child:child-on_exit-" + text, "child:child-atexit-2",     "child:child-atexit-1",
          "child:child-static",          "MainProcess:code-" + text, "MainProcess:parent-atexit",
          "MainProcess:parent-static",   "MainProcess:global"};
}

TEST(ProcessExitTest, AChildThatReturnsRunsItsOwnHandlersOnly) {
  EXPECT_EQ(WordsOf("returns"), WithCode(0));
}

TEST(ProcessExitTest, AChildThatCallsExitRunsItsOwnHandlersOnly) {
  EXPECT_EQ(WordsOf("exits"), WithCode(3));
}

TEST(ProcessExitTest, AChildThatCallsExitInAThreadRunsItsOwnHandlersOnly) {
  EXPECT_EQ(WordsOf("exits-in-a-thread"), WithCode(4));
}

TEST(ProcessExitTest, AChildThatThrowsRunsItsOwnHandlersOnly) {
  EXPECT_EQ(WordsOf("throws"), WithCode(1));
}

TEST(ProcessExitTest, AForkOfTheChildsOwnRunsNoHandlerOfTheParent) {
  EXPECT_EQ(WordsOf("forks-by-itself"),
            (Words{"child:own-fork-0", "MainProcess:code-0", "MainProcess:parent-atexit",
                   "MainProcess:parent-static", "MainProcess:global"}));
}

TEST(ProcessExitTest, ChildrenAreJoinedAtTheEndOfAChildAndOfAProgram) {
  EXPECT_EQ(WordsOf("joins-its-children"),
            (Words{"child:atexit", "grand:done", "MainProcess:atexit", "forgotten:done",
                   "MainProcess:global"}));
}

TEST(ProcessExitTest, DaemonsGetSigtermAtTheEndOfTheProgram) {
  EXPECT_EQ(WordsOf("ends-its-daemons"), (Words{"MainProcess:first", "polite:got-sigterm",
                                                "MainProcess:last", "MainProcess:global"}));
}

TEST(ProcessExitTest, AForkOfTheProgramsOwnEndsItsOwnChildrenOnly) {
  EXPECT_EQ(
      WordsOf("leaves-the-children-of-another"),
      (Words{"own:ran", "MainProcess:global", "MainProcess:child-lives", "MainProcess:global"}));
}

}  // namespace
}  // namespace mp
