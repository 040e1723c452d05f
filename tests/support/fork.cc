#include "tests/support/fork.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <exception>

namespace mp::testing {
namespace {

// The exception being handled must not leave: above us is the test's own frame.
void RunOrExplain(const std::function<void()>& body) noexcept {
  try {
    body();
  } catch (const std::exception& e) {
    dprintf(STDERR_FILENO, "test child %d: threw: %s\n", getpid(), e.what());
    _exit(kThrew);
  } catch (...) {
    dprintf(STDERR_FILENO, "test child %d: threw\n", getpid());
    _exit(kThrew);
  }
}

}  // namespace

pid_t ForkMortal(const std::function<void()>& body) {
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    perror("test child: fork");
    abort();
  }
  if (pid > 0) return pid;
  // A parent that died before the prctl sends no signal: look afterwards.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(kThrew);
  RunOrExplain(body);
  _exit(0);
}

int KillAndReap(pid_t pid) {
  kill(pid, SIGKILL);
  int status = 0;
  // A traced child may report a stop before it reports its end.
  do {
    while (waitpid(pid, &status, __WALL) < 0) {
      if (errno != EINTR) return 0;
    }
  } while (!WIFEXITED(status) && !WIFSIGNALED(status));
  return status;
}

}  // namespace mp::testing
