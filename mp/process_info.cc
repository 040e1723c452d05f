#include "mp/process_info.h"

#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/internal/children.h"
#include "mp/internal/self.h"
#include "mp/internal/sentinel.h"
#include "shared/domain.h"
#include "shared/internal/fatal.h"
#include "shared/internal/process_table.h"

namespace mp {
namespace {

using Kind = internal::ProcessTable::Kind;

[[noreturn]] void NoSentinel(const internal::Who& who, const char* call) {
  internal::Fatal(absl::StrCat(
      "ProcessInfo \"", who.name, "\" (pid ", who.pid, "): ", call, " in pid ", getpid(),
      who.pid == getpid()
          ? ": a process cannot wait for itself; its parent can, and a child by ParentProcess()"
          : ", but CurrentProcess() was called in the other; use ParentProcess()"));
}

// A copy that fork(2) made is called as its parent.
std::string NameOf(internal::ProcessTable::Entry entry, const internal::ProcessTable& table) {
  while (entry.name.empty()) {
    entry = table.Find(entry.parent);
    if (entry.kind == Kind::kFree) return internal::Self().name;
  }
  return entry.name;
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

std::vector<ProcessInfo> AllProcesses() {
  std::vector<ProcessInfo> all;
  Domain* const domain = Domain::Current();
  if (domain == nullptr) return all;
  const internal::ProcessTable& table = domain->processes();
  const uint64_t self = domain->ThisProcess().identity();
  for (auto entry = table.Next(0); entry.kind != Kind::kFree; entry = table.Next(entry.id)) {
    if (entry.kind != Kind::kLive) continue;
    std::shared_ptr<const internal::Sentinel> sentinel;
    if (entry.id != self) {
      auto opened = internal::Sentinel::Open(entry.pid);
      // Gone, or its pid was another's before the sentinel was there.
      if (!opened.ok() || table.Find(entry.id).kind != Kind::kLive) continue;
      if (opened->Wait(absl::ZeroDuration())) continue;
      sentinel = std::make_shared<const internal::Sentinel>(*std::move(opened));
    }
    all.emplace_back(internal::Who{.pid = entry.pid,
                                   .name = NameOf(entry, table),
                                   .daemon = (entry.flags & internal::ProcessTable::kDaemon) != 0,
                                   .sentinel = std::move(sentinel)});
  }
  return all;
}

}  // namespace mp
