// mpls: the processes and the objects of a family that runs.
//
//   bazel run //mp:mpls -- PID        of any process of the family
//
// It only looks: it writes nothing, takes no lock and waits for nobody, so it can be asked
// about a family that hangs, and does it no harm. Exit code 1, and a line on stderr: there is
// nothing to look at. 2: it was called wrongly.

#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "shared/internal/domain_file.h"
#include "shared/internal/domain_memory.h"
#include "shared/internal/domain_of.h"
#include "shared/internal/process_table.h"
#include "shared/internal/proof_of_death.h"
#include "shared/internal/snapshot.h"
#include "shared/object_info.h"

namespace mp {
namespace {

using internal::ProcessTable;
using internal::Snapshot;
using Kind = ProcessTable::Kind;

constexpr int kNothingToSee = 1;
constexpr int kUsage = 2;

std::string OrDash(pid_t pid) { return pid == 0 ? "-" : absl::StrCat(pid); }

// It may be somebody else's, or no text at all: nothing of it may move a terminal.
std::string Quoted(std::string_view name) {
  // The quote that needs no escape in these quotes.
  const std::string escaped = absl::StrReplaceAll(absl::Utf8SafeCHexEscape(name), {{"\\'", "'"}});
  return absl::StrCat("\"", escaped, "\"");
}

std::string Counted(size_t count, std::string_view what, std::string_view plural) {
  return absl::StrCat(count, " ", count == 1 ? what : plural);
}

std::string_view StateOf(const ProcessTable::Entry& process) {
  switch (process.kind) {
    case Kind::kLive:
      return "running";
    case Kind::kDead:
      return "ended";  // what it left is still there
    default:
      return "starting";
  }
}

// A copy that fork(2) made is called as its parent, and the first one as Process says.
std::string NameOf(const Snapshot& snapshot, const ProcessTable::Entry& process) {
  const ProcessTable::Entry* named = &process;
  // As many steps as there are processes, were the bytes to say that two are each other's.
  for (size_t i = 0; i < snapshot.processes.size() && named->name.empty(); ++i) {
    named = snapshot.Find(named->parent);
    if (named == nullptr) break;
  }
  return named == nullptr || named->name.empty() ? "MainProcess" : named->name;
}

std::string AgeOf(const ProcessTable::Entry& process) {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  const absl::Duration age =
      absl::DurationFromTimespec(now) - absl::Nanoseconds(static_cast<int64_t>(process.started));
  if (age < absl::ZeroDuration()) return "-";
  return absl::FormatDuration(absl::Trunc(age, absl::Milliseconds(100)));
}

std::string Processes(const Snapshot& snapshot) {
  std::string text = absl::StrFormat("%8s %8s  %-8s  %-6s %12s  %s\n", "PID", "PARENT", "STATE",
                                     "DAEMON", "AGE", "NAME");
  for (const ProcessTable::Entry& process : snapshot.processes) {
    const ProcessTable::Entry* parent = snapshot.Find(process.parent);
    absl::StrAppendFormat(&text, "%8s %8s  %-8s  %-6s %12s  %s\n", OrDash(process.pid),
                          OrDash(parent == nullptr ? 0 : parent->pid), StateOf(process),
                          (process.flags & ProcessTable::kDaemon) != 0 ? "yes" : "no",
                          AgeOf(process), Quoted(NameOf(snapshot, process)));
  }
  return text;
}

// The first few; a primitive may have thousands.
std::string Listed(const std::vector<pid_t>& ids) {
  constexpr size_t kMost = 3;
  if (ids.empty()) return "-";
  const size_t shown = std::min(ids.size(), kMost);
  std::string text = absl::StrJoin(absl::MakeConstSpan(ids).first(shown), ",");
  if (ids.size() > shown) absl::StrAppend(&text, "+", ids.size() - shown);
  return text;
}

std::string Objects(const Snapshot& snapshot) {
  std::string text =
      absl::StrFormat("%-16s %-9s %12s %8s %7s %-12s %9s %-12s %s\n", "ADDRESS", "TYPE", "BYTES",
                      "MAKER", "STAKES", "HOLDERS", "ACQUIRED", "SLEEPERS", "NAME");
  for (const ObjectInfo& object : snapshot.objects) {
    absl::StrAppendFormat(&text, "0x%-14x %-9s %12d %8s %7d %-12s %9s %-12s %s\n", object.address,
                          object.type, object.bytes, OrDash(object.maker_pid), object.stakes,
                          Listed(object.holders), OrDash(object.acquired_by),
                          Listed(object.sleepers), object.name.empty() ? "" : Quoted(object.name));
  }
  return text;
}

std::string Totals(const Snapshot& snapshot, size_t reserved, size_t memory) {
  return absl::StrCat(Counted(snapshot.processes.size(), "process", "processes"), ", ",
                      Counted(snapshot.objects.size(), "object", "objects"), "; ", snapshot.in_use,
                      " bytes in ", Counted(snapshot.blocks, "block", "blocks"), "; ", memory,
                      " bytes of memory, of ", snapshot.commit_limit, " for blocks and ", reserved,
                      " reserved\n");
}

std::string NamespaceOf(std::string_view process) {
  char text[64];
  const std::string path = absl::StrCat("/proc/", process, "/ns/pid");
  const ssize_t length = readlink(path.c_str(), text, sizeof(text));
  return length < 0 ? "" : std::string(text, static_cast<size_t>(length));
}

absl::StatusOr<std::string> Look(pid_t pid) {
  const absl::StatusOr<int> fd = internal::OpenDomainOf(pid);
  if (!fd.ok()) return fd.status();
  const absl::StatusOr<internal::DomainHeader> header = internal::ReadDomainHeader(*fd);
  if (!header.ok()) {
    return absl::DataLossError(absl::StrCat("pid ", pid, ": ", header.status().message()));
  }
  struct stat file;
  if (fstat(*fd, &file) != 0) return absl::ErrnoToStatus(errno, "fstat");
  constexpr size_t kBlock = 512;
  const size_t memory = static_cast<size_t>(file.st_blocks) * kBlock;
  // In a container a process knows its family by other pids than we do.
  const bool same_pids = NamespaceOf("self") == NamespaceOf(absl::StrCat(pid));
  const Snapshot snapshot = internal::TakeSnapshot(
      internal::DomainMemory::OfFile(*fd, *header),
      same_pids ? std::optional(internal::Evidence::kThorough) : std::nullopt);
  close(*fd);
  return absl::StrCat(Processes(snapshot), "\n", Objects(snapshot), "\n",
                      Totals(snapshot, header->size, memory));
}

int Main(int argc, char** argv) {
  pid_t pid = 0;
  if (argc != 2 || !absl::SimpleAtoi(argv[1], &pid) || pid <= 0) {
    fputs("usage: mpls PID   (of any process of a running family)\n", stderr);
    return kUsage;
  }
  const absl::StatusOr<std::string> text = Look(pid);
  if (!text.ok()) {
    absl::FPrintF(stderr, "mpls: %s\n", text.status().message());
    return kNothingToSee;
  }
  const bool written = fwrite(text->data(), 1, text->size(), stdout) == text->size();
  if (fflush(stdout) != 0 || !written) {
    perror("mpls: stdout");
    return kNothingToSee;
  }
  return 0;
}

}  // namespace
}  // namespace mp

int main(int argc, char** argv) { return mp::Main(argc, argv); }
