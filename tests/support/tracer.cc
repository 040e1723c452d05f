#include "tests/support/tracer.h"

#include <elf.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "tests/support/fork.h"
#include "tests/support/look.h"

namespace mp::testing {
namespace {

constexpr int kFromInt3 = 0x80;  // si_code SI_KERNEL
constexpr long kInt3 = 0xcc;
constexpr std::chrono::milliseconds kForever = std::chrono::hours(24);

// Reads the eight bytes at `address`; eight times 0xff if there are not as
// many.
void ReadText(pid_t pid, uintptr_t address, unsigned char (&bytes)[8]) {
  errno = 0;
  const long word = ptrace(PTRACE_PEEKTEXT, pid, address, nullptr);
  memcpy(bytes, &word, sizeof(bytes));
}

// Whether it is in the vdso, what of the kernel runs as a part of every program.
bool IsOfKernel(uintptr_t address) {
  static const uintptr_t start = getauxval(AT_SYSINFO_EHDR);
  static const uintptr_t size = [] {
    uintptr_t end = 0;
    if (start == 0) return end;
    const auto& file = *reinterpret_cast<const Elf64_Ehdr*>(start);
    const auto* const parts = reinterpret_cast<const Elf64_Phdr*>(start + file.e_phoff);
    for (int i = 0; i < file.e_phnum; ++i) {
      if (parts[i].p_type == PT_LOAD) end = std::max(end, parts[i].p_offset + parts[i].p_memsz);
    }
    return end;
  }();
  return address - start < size;
}

int TrapCode(pid_t pid) {
  siginfo_t info = {};
  if (ptrace(PTRACE_GETSIGINFO, pid, nullptr, &info) != 0) return 0;
  return info.si_code;
}

}  // namespace

Victim::Victim(Patience& patience, const std::function<void()>& prepare, const Operation& operation)
    : patience_(patience) {
  pid_ = ForkMortal([&] {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    if (prepare) prepare();
    operation.Run();
  });
  // The opening mark is the first trap. Asleep in `prepare` is the test's own
  // affair; its watchdog tells.
  request_ = 0;
  Stop stop = Stop::kAsleep;
  while (stop == Stop::kAsleep || stop == Stop::kStuck) stop = Await(kForever);
  if (stop == Stop::kDied) return;
  ptrace(PTRACE_SETOPTIONS, pid_, nullptr, PTRACE_O_EXITKILL);
}

Victim::~Victim() {
  if (alive()) Kill();
}

Victim::Stop Victim::Step() {
  const uintptr_t before = pc();
  if (before == repeating_) return FinishRepetition();
  ClearBreakpoint();
  const Stop stop = Resume(PTRACE_SINGLESTEP);
  if (stop == Stop::kStepped && IsOfKernel(pc())) return LeaveKernelsCode();
  const bool stayed = stop == Stop::kStepped && pc() == before;
  repeating_ = stayed && RepeatedLength(before) > 0 ? before : 0;
  return stop;
}

// A memset of a page is thousands of rounds, each a trap. Nothing can be torn
// in more ways by the third round than by the first.
Victim::Stop Victim::FinishRepetition() {
  const uintptr_t repeated = std::exchange(repeating_, 0);
  if (SetBreakpoint(repeated + RepeatedLength(repeated))) {
    const Stop stop = Resume(PTRACE_CONT);
    return stop == Stop::kAtAddress ? Stop::kStepped : stop;
  }
  Stop stop = Stop::kStepped;
  while (stop == Stop::kStepped && pc() == repeated) stop = Resume(PTRACE_SINGLESTEP);
  return stop;
}

// A clock is read there, anew for as long as the kernel's tick comes in between: who steps through
// it on a busy machine never comes to its end. It leaves nothing that could be torn.
Victim::Stop Victim::LeaveKernelsCode() {
  const long stack = ptrace(PTRACE_PEEKUSER, pid_, offsetof(user, regs.rsp), nullptr);
  const long caller = ptrace(PTRACE_PEEKDATA, pid_, stack, nullptr);
  if (!SetBreakpoint(static_cast<uintptr_t>(caller))) return Stop::kStepped;
  const Stop stop = Resume(PTRACE_CONT);
  return stop == Stop::kAtAddress ? Stop::kStepped : stop;
}

Victim::Stop Victim::RunTo(uintptr_t address) {
  return SetBreakpoint(address) ? Resume(PTRACE_CONT) : Stop::kStepped;
}

Victim::Stop Victim::RunToEnd() {
  ClearBreakpoint();
  return Resume(PTRACE_CONT);
}

Victim::Stop Victim::Resume(int request) {
  request_ = request;
  slept_at_ = -1;
  if (ptrace(static_cast<__ptrace_request>(request), pid_, nullptr, nullptr) != 0) {
    Kill();
    return Stop::kDied;
  }
  return Await(kForever);
}

Victim::Stop Victim::Await(std::chrono::milliseconds limit) {
  int64_t seen_asleep = -1;
  std::chrono::milliseconds slept(0);
  Stop verdict = Stop::kAsleep;
  const auto still_waiting = [&] {
    const Look look = LookAt(pid_);
    if (look.state != 'S') {
      seen_asleep = -1;
      return true;
    }
    if (look.switches == slept_at_) {
      // One tick, one millisecond: a stall of the machine counts as one as
      // well.
      slept += std::chrono::milliseconds(1);
      verdict = Stop::kStuck;
      return slept < limit;
    }
    // Asleep at two ticks and not awake in between.
    const bool sleeps = look.switches == seen_asleep;
    seen_asleep = look.switches;
    if (sleeps) slept_at_ = look.switches;
    verdict = Stop::kAsleep;
    return !sleeps;
  };
  for (;;) {
    const std::optional<int> status = patience_.WaitFor(pid_, still_waiting);
    if (!status) return verdict;
    if (!WIFSTOPPED(*status)) {
      Died(*status);
      return Stop::kDied;
    }
    const int signal = WSTOPSIG(*status);
    if (signal == SIGTRAP) {
      if (TrapCode(pid_) != kFromInt3) return Stop::kStepped;
      return Hit() ? Stop::kAtAddress : Stop::kAtEnd;
    }
    // A signal on its way to the victim: the victim's business.
    const int request = request_ == 0 ? PTRACE_CONT : request_;
    ptrace(static_cast<__ptrace_request>(request), pid_, nullptr, signal);
  }
}

void Victim::Finish() {
  if (!alive()) return;
  ClearBreakpoint();
  Stop stop = Resume(PTRACE_CONT);
  while (stop == Stop::kAsleep) stop = Await(kForever);
  if (alive()) Kill();
}

void Victim::Kill() {
  KillAndReap(pid_);
  pid_ = 0;
}

void Victim::Died(int status) {
  pid_ = 0;
  if (WIFSIGNALED(status)) {
    death_ = std::string("signal ") + strsignal(WTERMSIG(status));
  } else {
    death_ = "exit status " + std::to_string(WEXITSTATUS(status));
  }
}

uintptr_t Victim::pc() const {
  return static_cast<uintptr_t>(
      ptrace(PTRACE_PEEKUSER, pid_, offsetof(struct user, regs.rip), nullptr));
}

bool Victim::AtSyscall() const {
  unsigned char bytes[8];
  ReadText(pid_, pc(), bytes);
  return bytes[0] == 0x0f && bytes[1] == 0x05;
}

bool Victim::AtFork() const {
  const long number = ptrace(PTRACE_PEEKUSER, pid_, offsetof(struct user, regs.rax), nullptr);
  return number == SYS_clone || number == SYS_clone3 || number == SYS_fork || number == SYS_vfork;
}

// The length of the string instruction with rep at `address`; 0: it is none.
size_t Victim::RepeatedLength(uintptr_t address) const {
  unsigned char bytes[8];
  ReadText(pid_, address, bytes);
  size_t at = 0;
  bool repeats = false;
  // Prefixes: rep, repne, operand size, REX.
  for (; at < 4; ++at) {
    const unsigned char byte = bytes[at];
    if (byte == 0xf3 || byte == 0xf2) {
      repeats = true;
    } else if (byte != 0x66 && (byte & 0xf0) != 0x40) {
      break;
    }
  }
  const unsigned char code = bytes[at];
  const bool is_string = (code >= 0xa4 && code <= 0xa7) || (code >= 0xaa && code <= 0xaf);
  return repeats && is_string ? at + 1 : 0;
}

bool Victim::SetBreakpoint(uintptr_t address) {
  if (address == breakpoint_) return true;
  ClearBreakpoint();
  errno = 0;
  const long text = ptrace(PTRACE_PEEKTEXT, pid_, address, nullptr);
  if (errno != 0) return false;
  if (ptrace(PTRACE_POKETEXT, pid_, address, (text & ~0xffL) | kInt3) != 0) return false;
  breakpoint_ = address;
  replaced_ = text;
  return true;
}

void Victim::ClearBreakpoint() {
  if (breakpoint_ != 0) ptrace(PTRACE_POKETEXT, pid_, breakpoint_, replaced_);
  breakpoint_ = 0;
}

// Whether the int3 behind which the victim stands is the breakpoint. If so, the victim is put
// before what was there.
bool Victim::Hit() {
  const uintptr_t address = pc() - 1;
  if (address != breakpoint_) return false;
  ClearBreakpoint();
  ptrace(PTRACE_POKEUSER, pid_, offsetof(struct user, regs.rip), address);
  return true;
}

}  // namespace mp::testing
