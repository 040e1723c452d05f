#include "tests/support/look.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "tests/support/settings.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

namespace mp::testing {
namespace {

// Reads /proc/<tid>/<file> as a C string; false if it cannot be read.
bool ReadProc(pid_t tid, const char* file, char* text, size_t size) {
  char path[64];
  snprintf(path, sizeof(path), "/proc/%d/%s", static_cast<int>(tid), file);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  size_t used = 0;
  while (used + 1 < size) {
    const ssize_t n = read(fd, text + used, size - 1 - used);
    if (n <= 0) break;
    used += static_cast<size_t>(n);
  }
  close(fd);
  text[used] = '\0';
  return used > 0;
}

// Calls `visit` with the tid of each thread of `pid`. getdents64 instead of
// readdir, which allocates: this also runs in the watchdog.
template <class Visit>
void ForEachThread(pid_t pid, Visit visit) {
  struct Entry {
    uint64_t inode;
    int64_t next;
    uint16_t length;
    uint8_t type;
    char name[];
  };
  char path[64];
  snprintf(path, sizeof(path), "/proc/%d/task", static_cast<int>(pid));
  const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  alignas(uint64_t) char buffer[2048];
  long n = 0;
  while ((n = syscall(SYS_getdents64, fd, buffer, sizeof(buffer))) > 0) {
    for (long at = 0; at < n;) {
      const Entry* entry = reinterpret_cast<const Entry*>(buffer + at);
      if (const int tid = atoi(entry->name); tid > 0) visit(tid);
      at += entry->length;
    }
  }
  close(fd);
}

int64_t Switches(pid_t tid) {
  char text[4096];
  if (!ReadProc(tid, "status", text, sizeof(text))) return -1;
  int64_t sum = 0;
  const char* at = text;
  while ((at = strstr(at, "voluntary_ctxt_switches:")) != nullptr) {
    at += strlen("voluntary_ctxt_switches:");  // also ends "nonvoluntary_…"
    sum += strtoll(at, nullptr, 10);
  }
  return sum;
}

char StateOf(pid_t tid) {
  char text[512];
  if (!ReadProc(tid, "stat", text, sizeof(text))) return 0;
  const char* name_end = strrchr(text, ')');
  return name_end != nullptr && name_end[1] == ' ' ? name_end[2] : 0;
}

long SyscallOf(pid_t tid) {
  char text[256];
  if (!ReadProc(tid, "syscall", text, sizeof(text))) return -1;
  return text[0] == 'r' ? -1 : strtol(text, nullptr, 10);
}

// The thread sanitizer adds a thread that naps and wakes all the time; it is
// nobody's progress.
bool IsOfTheSanitizer(pid_t pid, pid_t tid, const Look& look) {
  return kSanitized && tid != pid && look.asleep() &&
         (look.syscall == SYS_nanosleep || look.syscall == SYS_clock_nanosleep);
}

bool IsFutexWait(long call) { return call == SYS_futex || call == SYS_futex_waitv; }

const char* NameOfSyscall(long call) {
  if (IsFutexWait(call)) return "futex";
  switch (call) {
    case -1:
      return "no system call";
    case SYS_read:
      return "read";
    case SYS_write:
      return "write";
    case SYS_poll:
      return "poll";
    case SYS_ppoll:
      return "ppoll";
    case SYS_epoll_wait:
      return "epoll_wait";
    case SYS_recvfrom:
      return "recv";
    case SYS_recvmsg:
      return "recvmsg";
    case SYS_sendmsg:
      return "sendmsg";
    case SYS_wait4:
      return "wait4";
    case SYS_waitid:
      return "waitid";
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
      return "nanosleep";
    case SYS_fcntl:
      return "fcntl";
    case SYS_pause:
      return "pause";
    default:
      return "a system call";
  }
}

void Nap() {
  const timespec nap = {0, 100'000};
  nanosleep(&nap, nullptr);
}

template <class Accept>
bool WaitUntilAsleepIf(pid_t tid, Accept accept) {
  const auto limit = HangLimit();
  const auto start = std::chrono::steady_clock::now();
  for (int round = 0;; ++round) {
    const Look look = LookAt(tid);
    if (!look.exists()) return false;
    if (look.asleep() && accept(look.syscall)) {
      // Twice the same, so that it is not on its way through a short wait.
      Nap();
      const Look again = LookAt(tid);
      if (again.asleep() && again.switches == look.switches && again.syscall == look.syscall) {
        return true;
      }
      continue;
    }
    if (limit.count() > 0 && std::chrono::steady_clock::now() - start > limit) {
      return false;
    }
    // On one core, spinning would keep the other from getting there.
    if (round < 10) {
      sched_yield();
    } else {
      Nap();
    }
  }
}

}  // namespace

Look LookAt(pid_t tid) {
  Look look;
  look.state = StateOf(tid);
  if (look.exists()) {
    look.switches = Switches(tid);
    look.syscall = look.asleep() ? SyscallOf(tid) : -1;
  }
  return look;
}

bool WaitUntilAsleep(pid_t tid, std::initializer_list<long> syscalls) {
  return WaitUntilAsleepIf(tid, [syscalls](long call) {
    return syscalls.size() == 0 ||
           std::find(syscalls.begin(), syscalls.end(), call) != syscalls.end();
  });
}

bool WaitUntilAsleepInFutex(pid_t tid) { return WaitUntilAsleepIf(tid, IsFutexWait); }

size_t DescribeProcess(pid_t pid, char* text, size_t size) {
  if (size == 0) return 0;
  text[0] = '\0';
  size_t used = 0;
  ForEachThread(pid, [&](pid_t tid) {
    char name[64] = "?";
    if (ReadProc(tid, "comm", name, sizeof(name))) name[strcspn(name, "\n")] = '\0';
    char where[64] = "?";
    ReadProc(tid, "wchan", where, sizeof(where));
    const Look look = LookAt(tid);
    if (used + 1 >= size) return;
    const int n = snprintf(text + used, size - used, "%s%d (%s): %c in %s (%ld), %s, %lld switches",
                           used == 0 ? "" : "; ", static_cast<int>(tid), name,
                           look.state == 0 ? '?' : look.state, NameOfSyscall(look.syscall),
                           look.syscall, where, static_cast<long long>(look.switches));
    if (n > 0) used = std::min(size - 1, used + static_cast<size_t>(n));
  });
  if (used == 0) {
    const int n = snprintf(text, size, "%d: gone", static_cast<int>(pid));
    used = n < 0 ? 0 : std::min(size - 1, static_cast<size_t>(n));
  }
  return used;
}

std::string DescribeProcess(pid_t pid) {
  char text[2048];
  return std::string(text, DescribeProcess(pid, text, sizeof(text)));
}

size_t Descendants(pid_t pid, pid_t* result, size_t capacity) {
  size_t count = 0;
  pid_t parent = pid;
  for (size_t next = 0;; parent = result[next++]) {
    ForEachThread(parent, [&](pid_t tid) {
      char file[64];
      snprintf(file, sizeof(file), "task/%d/children", static_cast<int>(tid));
      char text[4096];
      if (!ReadProc(parent, file, text, sizeof(text))) return;
      const char* at = text;
      while (count < capacity) {
        char* end = nullptr;
        const long child = strtol(at, &end, 10);
        if (end == at) break;
        result[count++] = static_cast<pid_t>(child);
        at = end;
      }
    });
    if (next >= count) return count;
  }
}

QuietClock::QuietClock(std::vector<pid_t> pids) : pids_(std::move(pids)), last_(Clock::now()) {}

std::chrono::nanoseconds QuietClock::Sample() {
  constexpr std::chrono::milliseconds kSpacing{5}, kMostCredit{20};
  const Clock::time_point now = Clock::now();
  if (now - last_ < kSpacing) return quiet_;
  // The threads and what they have done, as one number; 0 if one can run.
  uint64_t fingerprint = 1;
  const auto add_process = [&](pid_t pid) {
    ForEachThread(pid, [&](pid_t tid) {
      const Look look = LookAt(tid);
      if (!look.exists() || IsOfTheSanitizer(pid, tid, look)) return;
      if (!look.asleep()) {
        fingerprint = 0;
      } else if (fingerprint != 0) {
        fingerprint = (fingerprint ^
                       (static_cast<uint64_t>(tid) << 32 ^ static_cast<uint64_t>(look.switches))) *
                          0x9e3779b97f4a7c15u |
                      1;
      }
    });
  };
  for (const pid_t pid : pids_) {
    add_process(pid);
    pid_t children[64];
    const size_t count = Descendants(pid, children, std::size(children));
    for (size_t i = 0; i < count; ++i) add_process(children[i]);
  }
  if (fingerprint != 0 && fingerprint == fingerprint_) {
    quiet_ += std::min<std::chrono::nanoseconds>(now - last_, kMostCredit);
  } else {
    quiet_ = std::chrono::nanoseconds(0);
  }
  fingerprint_ = fingerprint;
  last_ = now;
  return quiet_;
}

}  // namespace mp::testing
