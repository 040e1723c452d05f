#include "tests/support/watchdog.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <iterator>

#include "tests/support/look.h"
#include "tests/support/settings.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

namespace mp::testing {
namespace {

// What the test and its watchdog share.
struct Collar {
  std::atomic<uint64_t> pets;  // written by the test
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);

// The watchdog looks so often in the time of a test and counts its looks: when
// the machine stalls, the watchdog does, too, and no time has passed.
constexpr int kLooks = 20;

Collar* GetCollar() {
  static Collar* const collar = [] {
    void* memory =
        mmap(nullptr, sizeof(Collar), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? nullptr : static_cast<Collar*>(memory);
  }();
  return collar;
}

// From here on in the watchdog. It may have been cloned while another thread
// held the heap's lock: nothing below allocates.

void Bark(pid_t test, const char* name, int64_t limit_ms) {
  static pid_t children[512];
  const size_t count = Descendants(test, children, std::size(children));
  static char text[4096];
  dprintf(STDERR_FILENO, "\n[ WATCHDOG ] %s: no end after %lld s; ended. Asleep were:\n", name,
          static_cast<long long>(limit_ms / 1000));
  DescribeProcess(test, text, sizeof(text));
  dprintf(STDERR_FILENO, "  test  %s\n", text);
  const pid_t self = static_cast<pid_t>(syscall(SYS_getpid));
  for (size_t i = 0; i < count; ++i) {
    if (children[i] == self) continue;
    DescribeProcess(children[i], text, sizeof(text));
    dprintf(STDERR_FILENO, "  child %s\n", text);
  }
  // The test first: else it would see its children die and go on.
  kill(test, SIGSTOP);
  for (size_t i = 0; i < count; ++i) {
    if (children[i] != self) kill(children[i], SIGKILL);
  }
  kill(test, SIGABRT);
  kill(test, SIGCONT);
  poll(nullptr, 0, 1000);
  kill(test, SIGKILL);
}

[[noreturn]] void Watch(pid_t test, const char* name, int64_t limit_ms) {
  prctl(PR_SET_NAME, "test-watchdog");
  // Not to hold open what the test expects to see closed.
  syscall(SYS_close_range, 3u, ~0u, 0u);
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, test, 0));
  if (fd < 0) _exit(0);
  uint64_t pets = GetCollar()->pets.load();
  const int slice_ms = static_cast<int>(std::clamp<int64_t>(limit_ms / kLooks, 1, INT_MAX));
  for (int looks = 0; looks < kLooks; ++looks) {
    pollfd end = {fd, POLLIN, 0};
    if (poll(&end, 1, slice_ms) == 1) _exit(0);
    const uint64_t now = GetCollar()->pets.load();
    if (now != pets) looks = 0;
    pets = now;
  }
  Bark(test, name, limit_ms);
  _exit(0);
}

class WatchdogListener : public ::testing::EmptyTestEventListener {
 public:
  void OnTestStart(const ::testing::TestInfo& info) override {
    const int64_t limit_ms = HangLimit().count();
    if (limit_ms == 0 || GetCollar() == nullptr) return;
    static char name[256];
    snprintf(name, sizeof(name), "%s.%s", info.test_suite_name(), info.name());
    const pid_t test = getpid();
    // A bare clone: no fork handlers, and no signal at its end, which hides it
    // from a wait() for any child.
    const long pid = syscall(SYS_clone, 0, nullptr, nullptr, nullptr, nullptr);
    if (pid == 0) Watch(test, name, limit_ms);
    watchdog_ = pid < 0 ? 0 : static_cast<pid_t>(pid);
    owner_ = test;
  }

  void OnTestEnd(const ::testing::TestInfo&) override {
    if (watchdog_ == 0 || owner_ != getpid()) return;
    kill(watchdog_, SIGKILL);
    while (waitpid(watchdog_, nullptr, __WCLONE) < 0 && errno == EINTR) {
    }
    watchdog_ = 0;
  }

 private:
  pid_t watchdog_ = 0;
  pid_t owner_ = 0;
};

const bool kInstalled = [] {
  ::testing::UnitTest::GetInstance()->listeners().Append(new WatchdogListener);
  return true;
}();

}  // namespace

void PetWatchdog() {
  if (Collar* collar = GetCollar()) collar->pets.fetch_add(1);
}

}  // namespace mp::testing
