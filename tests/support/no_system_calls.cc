#include "tests/support/no_system_calls.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "tests/support/fork.h"
#include "tests/support/settings.h"

namespace mp::testing {
namespace {

constexpr int kCannotForbid = 77;

}  // namespace

void ForbidSystemCalls() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  const sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) EndNow(kCannotForbid);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) EndNow(kCannotForbid);
}

void EndNow(int status) {
  for (;;) syscall(SYS_exit_group, status);
}

int EndWithoutSystemCalls(const std::function<void()>& prepare, const std::function<void()>& body) {
  const pid_t pid = ForkMortal([&] {
    prepare();
    ForbidSystemCalls();
    body();
    EndNow(0);
  });
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

bool KilledForSystemCall(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS; }

bool SystemCallsCanBeForbidden() {
  return !kSanitized && EndWithoutSystemCalls([] {}, [] {}) == 0 &&
         KilledForSystemCall(EndWithoutSystemCalls([] {}, [] { syscall(SYS_getppid); }));
}

}  // namespace mp::testing
