#include "mp/internal/spawn.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "mp/codec.h"
#include "mp/fd.h"
#include "mp/internal/cargo.h"
#include "mp/internal/child_main.h"
#include "mp/internal/exec.h"
#include "mp/internal/forkserver_client.h"
#include "mp/internal/function_id.h"
#include "mp/internal/surroundings.h"
#include "shared/domain.h"
#include "shared/internal/spawn_marker.h"

namespace mp::internal {
namespace {

// The child's descriptors: the standard ones, the domain, those of its order.
constexpr int kDomainInChild = STDERR_FILENO + 1;
constexpr int kFirstOfOrder = kDomainInChild + 1;

// Of Init(); nullptr before that. Never destroyed: children may be started at exit.
constinit const std::vector<std::string>* arguments = nullptr;

// An order in the domain: this, the words of its handles, its bytes.
struct OrderBlock {
  uint64_t handles;
  uint64_t bytes;
  uint64_t descriptors;

  void* words() { return this + 1; }
  char* text() { return static_cast<char*>(words()) + Cargo::Size(handles); }
};

// `child`'s, which is yet to be.
absl::StatusOr<OrderBlock*> MakeBlock(Domain& domain, const Encoder& encoder, ProcessId child) {
  const size_t handles = encoder.handles().size();
  const absl::StatusOr<void*> place =
      domain.Allocate(sizeof(OrderBlock) + Cargo::Size(handles) + encoder.size());
  if (!place.ok()) return place.status();
  auto* const block = new (*place) OrderBlock{
      .handles = handles, .bytes = encoder.size(), .descriptors = encoder.descriptors().size()};
  Cargo::Load(block->words(), encoder.handles());
  encoder.CopyTo(block->text());
  // Before: a block of this process's, with stakes in what it names.
  // After:  a block of the child's, also while there is none: its slot is buried like any.
  // Test:   SpawnCrashTest.AStartLeavesNothing
  domain.heap().SetOwner(block, Owner::Process(child));
  return block;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (std::string& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> EnvironmentWith(const SpawnMarker& marker) {
  std::vector<std::string> variables = {marker.ToVariable()};
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    if (!SpawnMarker::IsVariable(*variable)) variables.emplace_back(*variable);
  }
  return variables;
}

struct Claimed {
  ProcessTable& processes;
  ProcessId id;
  char* marker;
};

// In the child, on this process's memory.
void TellPid(void* argument) {
  const auto& claimed = *static_cast<const Claimed*>(argument);
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  SpawnMarker::SetProcess(
      claimed.marker, getpid(),
      static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec));
  claimed.processes.TellSpawned(claimed.id);
}

absl::StatusOr<Executed> Execute(Domain& domain, int domain_fd, ProcessId id,
                                 const OrderBlock* block, absl::Span<const int> of_order,
                                 uint64_t ignored_signals, const std::string& executable) {
  const OpenOutput open_output = OpenOutput::Now();
  const Fd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null.has_value()) return absl::ErrnoToStatus(errno, "open /dev/null");
  std::vector<std::pair<int, int>> descriptors = {{null.get(), STDIN_FILENO},
                                                  {domain_fd, kDomainInChild}};
  if (open_output.out) descriptors.emplace_back(STDOUT_FILENO, STDOUT_FILENO);
  if (open_output.err) descriptors.emplace_back(STDERR_FILENO, STDERR_FILENO);
  int number = kFirstOfOrder;
  for (const int fd : of_order) descriptors.emplace_back(fd, number++);

  std::vector<std::string> argv = *arguments;
  std::vector<std::string> variables =
      EnvironmentWith({.fd = kDomainInChild,
                       .id = id,
                       .payload = reinterpret_cast<uint64_t>(block),
                       .family = domain.header().id[0]});
  const char* const paths[] = {executable.empty() ? "/proc/self/exe" : executable.c_str()};
  Claimed claimed = {domain.processes(), id, variables.front().data()};
  return Exec({.paths = paths,
               .argv = Pointers(argv).data(),
               .envp = Pointers(variables).data(),
               .descriptors = descriptors,
               .ignored_signals = ignored_signals,
               .before = &TellPid,
               .before_argument = &claimed});
}

// What a child can still say that cannot do what it was to.
[[noreturn]] void EndWith(const absl::Status& why) {
  const std::string line = absl::StrCat(
      "Process (pid ", getpid(), "): it was spawned, but cannot begin: ", why.ToString(), "\n");
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  std::exit(1);
}

// Gives the block back.
absl::StatusOr<ChildOrder> TakeOrder(Domain& domain, OrderBlock& block) {
  std::vector<int> descriptors(block.descriptors);
  int number = kFirstOfOrder;
  for (int& fd : descriptors) {
    fd = number++;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  const Cargo cargo(block.words(), block.handles);
  Decoder decoder(std::string_view(block.text(), block.bytes), cargo.words(), Via::kConnection,
                  absl::MakeSpan(descriptors));
  absl::StatusOr<ChildOrder> order = Decode<ChildOrder>(decoder);
  cargo.Drop();
  domain.Free(&block);
  for (const int fd : descriptors) {
    if (fd >= 0) close(fd);
  }
  return order;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Child>> Spawn(const ChildOrder& order,
                                             const std::string& executable) {
  if (!executable.empty()) {
    if (absl::Status same = FunctionId::CheckIsThisProgram(executable); !same.ok()) return same;
  }
  Encoder encoder(Via::kConnection);
  if (absl::Status encoded = mp::Encode(order, encoder); !encoded.ok()) return encoded;
  const absl::StatusOr<Domain*> domain = Domain::Get();
  if (!domain.ok()) return domain.status();
  const absl::StatusOr<int> domain_fd = (*domain)->FileDescriptor();
  if (!domain_fd.ok()) return domain_fd.status();
  const absl::StatusOr<ProcessId> id = (*domain)->ClaimForSpawn();
  if (!id.ok()) return id.status();
  absl::Cleanup give_back = [&id] { Child::Bury(*id); };
  const absl::StatusOr<OrderBlock*> block = MakeBlock(**domain, encoder, *id);
  if (!block.ok()) return block.status();
  absl::StatusOr<Executed> child = Execute(**domain, *domain_fd, *id, *block, encoder.descriptors(),
                                           order.ignored_signals, executable);
  if (!child.ok()) return child.status();
  std::move(give_back).Cancel();
  return std::make_shared<Child>(child->pid, *id, Child::TraitsOf(order.self),
                                 std::move(child->sentinel));
}

void NoteArguments(int argc, char** argv) {
  arguments = new std::vector<std::string>(argv, argv + argc);
}

bool ArgumentsAreNoted() { return arguments != nullptr; }

void RunIfSpawned() {
  if (Domain::Current() == nullptr && !SpawnMarker::FromEnvironment().has_value()) return;
  const absl::StatusOr<Domain*> domain = Domain::Get();
  if (!domain.ok()) EndWith(domain.status());
  auto* const block = reinterpret_cast<OrderBlock*>(Domain::SpawnPayload());
  if (block == nullptr) return;
  // Not what the kernel made of /proc/self/exe.
  prctl(PR_SET_NAME, program_invocation_short_name);
  absl::StatusOr<ChildOrder> taken = TakeOrder(**domain, *block);
  if (!taken.ok()) EndWith(taken.status());
  // Where it stays: at-exit handlers may ask who this process is.
  auto& order = *new ChildOrder(*std::move(taken));
  KnownForkserver::Adopt(std::move(order.server));
  SpawnedChildMain(order.self, *order.target);
}

}  // namespace mp::internal
