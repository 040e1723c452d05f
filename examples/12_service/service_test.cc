// The program prints what its README says, and ends cleanly, whichever signal tells it to.

#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "mp/or_die.h"
#include "mp/signals.h"
#include "tests/support/example.h"

namespace {

constexpr char kProgram[] = "examples/12_service/12_service";

TEST(ServiceExampleTest, PrintsWhatItsReadmeSays) {
  EXPECT_EQ(mp::testing::OutputOf(std::string(kProgram) + " once"),
            mp::testing::LastBlockOf("examples/12_service/README.md"));
}

// Sends it to the service when that is up, to all of its group or to itself; returns the rest of
// what it prints, after which nobody is left.
std::string OutputAfter(int signal, bool group) {
  int output[2];
  EXPECT_EQ(pipe(output), 0);
  const pid_t service = fork();
  if (service == 0) {
    setpgid(0, 0);
    dup2(output[1], STDOUT_FILENO);
    close(output[0]);
    close(output[1]);
    execl(kProgram, kProgram, nullptr);
    _exit(127);
  }
  close(output[1]);
  FILE* const lines = fdopen(output[0], "r");
  char line[100] = "";
  EXPECT_NE(fgets(line, sizeof(line), lines), nullptr);
  EXPECT_STREQ(line, "up, with 3 workers\n");
  if (group) {
    EXPECT_EQ(kill(-service, signal), 0);
  } else {
    mp::OrDie(mp::Kill(service, signal));
  }
  std::string rest;
  while (fgets(line, sizeof(line), lines) != nullptr) rest += line;
  fclose(lines);
  int status = 0;
  EXPECT_EQ(waitpid(service, &status, 0), service);
  EXPECT_EQ(status, 0);
  return rest;
}

TEST(ServiceExampleTest, EndsCleanlyWhenItIsSentSigterm) {
  EXPECT_EQ(OutputAfter(SIGTERM, false), "got SIGTERM, shutting down\nall jobs are done\n");
}

// As from a terminal.
TEST(ServiceExampleTest, EndsCleanlyByCtrlC) {
  EXPECT_EQ(OutputAfter(SIGINT, true), "got SIGINT, shutting down\nall jobs are done\n");
}

}  // namespace
