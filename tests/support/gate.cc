#include "tests/support/gate.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

namespace mp::testing {

void Gate::Wait() {
  while (open_.load() == 0) {
    syscall(SYS_futex, &open_, FUTEX_WAIT, 0, nullptr, nullptr, 0);
  }
}

void Gate::Open() {
  open_.store(1);
  syscall(SYS_futex, &open_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void Gate::Close() { open_.store(0); }

}  // namespace mp::testing
