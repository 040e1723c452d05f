#include "mp/process_info.h"

#include <unistd.h>

#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "mp/internal/children.h"
#include "mp/internal/self.h"
#include "shared/internal/fatal.h"

namespace mp {
namespace {

[[noreturn]] void NoSentinel(const internal::Who& who, const char* call) {
  internal::Fatal(absl::StrCat(
      "ProcessInfo \"", who.name, "\" (pid ", who.pid, "): ", call, " in pid ", getpid(),
      who.pid == getpid()
          ? ": a process cannot wait for itself; its parent can, and a child by ParentProcess()"
          : ", but CurrentProcess() was called in the other; use ParentProcess()"));
}

}  // namespace

bool ProcessInfo::IsAlive() const {
  if (who_.sentinel != nullptr) return !who_.sentinel->Wait(absl::ZeroDuration());
  if (who_.pid == getpid()) return true;
  NoSentinel(who_, "IsAlive()");
}

bool ProcessInfo::Join(absl::Duration timeout) const {
  if (who_.sentinel == nullptr) NoSentinel(who_, "Join()");
  return who_.sentinel->Wait(timeout);
}

int ProcessInfo::sentinel() const {
  if (who_.sentinel == nullptr) NoSentinel(who_, "sentinel()");
  return who_.sentinel->fd();
}

ProcessInfo CurrentProcess() {
  const internal::Self& self = internal::GetSelf();
  return ProcessInfo({.pid = getpid(), .name = self.name, .daemon = self.daemon});
}

std::optional<ProcessInfo> ParentProcess() {
  const internal::Self& self = internal::GetSelf();
  if (!self.parent.has_value()) return std::nullopt;
  return ProcessInfo(*self.parent);
}

std::vector<ProcessInfo> ActiveChildren() {
  std::vector<ProcessInfo> active;
  for (const auto& child : internal::LiveChildren()) {
    active.emplace_back(internal::Who{
        .pid = child->pid(),
        .name = child->name(),
        .daemon = child->daemon(),
        .sentinel = std::shared_ptr<const internal::Sentinel>(child, &child->sentinel())});
  }
  return active;
}

}  // namespace mp
