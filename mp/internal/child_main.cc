#include "mp/internal/child_main.h"

#include <cxxabi.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <typeinfo>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "mp/internal/children.h"
#include "mp/internal/flush.h"
#include "mp/internal/parent_watch.h"
#include "shared/internal/fatal.h"

namespace mp::internal {
namespace {

constexpr int kFailed = 1;

// The last of the child's own at-exit handlers: after it come the parent's handlers and
// static destructors, which are the parent's to run.
void EndInsteadOfParentsHandlers(int status, void* /*unused*/) {
  EndChildren();
  FlushOutput();
  _exit(status);
}

// Without a call into the C library, which would be a page fault.
bool HoldsSomething(const FILE* stream) {
  return stream->_IO_read_ptr != stream->_IO_read_end ||
         stream->_IO_write_ptr != stream->_IO_write_base;
}

// Input is the parent's. So are bytes that it had read ahead, and output that another
// thread has buffered since Start() flushed: it will use them itself.
void LeaveParentsStreamsAlone() {
  close(STDIN_FILENO);
  // Gets the least free number, which that now is; where there is no such file, standard
  // input stays closed. (On the stack: another page that is there already.)
  const char path[] = "/dev/null";
  [[maybe_unused]] const int null = open(path, O_RDONLY);
  for (FILE* const stream : {stdin, stdout, stderr}) {
    if (HoldsSomething(stream)) __fpurge(stream);
  }
}

// With one write(2), after what the target has printed.
void Tell(std::string_view what) {
  FlushOutput();
  const std::string line = absl::StrCat("Process ", GetSelf().name, ": ", what, "\n");
  // Nothing can be done about a stderr that cannot be written.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

std::string CurrentExceptionType() {
  const char* const mangled = abi::__cxa_current_exception_type()->name();
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(mangled, nullptr, nullptr, &status), &std::free);
  return name != nullptr ? name.get() : mangled;
}

// Also when it throws, the target is destroyed. (Its memory is not given back: that would
// only cost time.)
absl::StatusOr<int> RunAndDestroy(StoredTarget& target) {
  const std::unique_ptr<StoredTarget, void (*)(StoredTarget*)> destroyed(
      &target, [](StoredTarget* parts) { std::destroy_at(parts); });
  return target.Run();
}

// The exit code.
int Run(StoredTarget& target) {
  try {
    const absl::StatusOr<int> code = RunAndDestroy(target);
    if (code.ok()) return *code;
    Tell(code.status().ToString());
    return kFailed;
  } catch (const std::exception& exception) {
    Tell(absl::StrCat(exception.what(), " (", CurrentExceptionType(), ")"));
    return kFailed;
  } catch (...) {
    // Without a type it is pthread_exit(). That may not be swallowed, and must not unwind
    // into the functions of the parent that called Start().
    if (abi::__cxa_current_exception_type() == nullptr) std::exit(0);
    Tell(absl::StrCat("threw a ", CurrentExceptionType()));
    return kFailed;
  }
}

[[noreturn]] void BecomeAndRun(Self& self, StoredTarget& target) noexcept {
  BecomeInChild(self);
  if (self.on_parent_exit == OnParentExit::kKill) {
    const absl::Status status = DieWithParentInChild(*self.parent->sentinel);
    if (!status.ok()) {
      Tell(status.message());
      std::exit(kFailed);
    }
  }
  std::exit(Run(target));
}

}  // namespace

void ChildMain(Self& self, StoredTarget& target) noexcept {
  // First of all: everything that is registered from now on is the child's.
  if (on_exit(&EndInsteadOfParentsHandlers, nullptr) != 0) {
    Fatal(absl::StrCat("Process \"", self.name, "\" (pid ", getpid(),
                       "): on_exit: no memory for the handler that ends it; raise its memory "
                       "limit, or start fewer processes"));
  }
  LeaveParentsStreamsAlone();
  BecomeAndRun(self, target);
}

void SpawnedChildMain(Self& self, StoredTarget& target) noexcept {
  // Before the target registers anything: its children end after what that is.
  PrepareForChildren();
  BecomeAndRun(self, target);
}

}  // namespace mp::internal
