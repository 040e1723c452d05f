#include "mp/internal/queue_calls.h"

#include <pthread.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "mp/encoder.h"
#include "mp/internal/cargo.h"
#include "shared/domain.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/object.h"

namespace mp::internal {

// Messages -------------------------------------------------------------------------------------

namespace {

// A block with cargo: how many handles, their words, the message (queue_ring.h).
size_t BytesBefore(size_t handles) { return sizeof(Word) + Cargo::Size(handles); }

}  // namespace

void Received::Read(const void* place, size_t size) {
  char* to = inline_;
  if (size > kInline) {
    heap_ = std::make_unique_for_overwrite<char[]>(size);
    to = heap_.get();
  }
  if (size != 0) std::memcpy(to, place, size);
  bytes_ = {to, size};
}

void Received::Take(const MessageRings::Block& block) {
  block_ = block;
  bytes_ = {MessageRings::BytesOf(block), block.size};
}

absl::Span<const Word> Received::handles() const {
  if (!MessageHead::HasCargo(block_.kind)) return {};
  const auto* const words = static_cast<const Word*>(block_.address);
  return {words + 1, words->load(std::memory_order_relaxed)};
}

MessageRings::Block Received::ReleaseBlock() {
  return std::exchange(block_, {nullptr, 0, MessageHead::Kind::kBytes});
}

void Received::Free() {
  if (block_.address != nullptr) MessageRings::FreeBlock(ReleaseBlock());
}

absl::Status Sent::Load(const Encoder& encoder, ObjectHeader& holder,
                        MessageHead::Kind with_cargo) {
  Domain& domain = *Domain::Current();
  const size_t handles = encoder.handles().size();
  const bool cargo = handles != 0;
  const size_t before = cargo ? BytesBefore(handles) : 0;
  const absl::StatusOr<void*> block = domain.Allocate(before + encoder.size());
  if (!block.ok()) return block.status();
  encoder.CopyTo(static_cast<char*>(*block) + before);
  if (cargo) {
    auto* const words = static_cast<Word*>(*block);
    new (words) Word(handles);
    Cargo::Load(words + 1, encoder.handles());
    domain.stakes().NoteHolds(holder, domain.processes());
  }
  block_ = {*block, encoder.size(), cargo ? with_cargo : MessageHead::Kind::kBlock};
  return absl::OkStatus();
}

// Queues ---------------------------------------------------------------------------------------

absl::StatusOr<QueueState*> QueueCalls::Make(size_t maxsize, std::string_view name,
                                             ObjectType type) {
  bool has_memory = true;
  absl::StatusOr<QueueState*> state = MakeObject<QueueState>(type, name, [&](QueueState& made) {
    has_memory = MessageQueue::Init(made, LimitFor(maxsize));
  });
  if (!state.ok() || has_memory) return state;
  FreeCell(*state);
  return absl::ResourceExhaustedError(
      absl::StrCat(NameOf(type), ": no memory for its first messages"));
}

QueueState* QueueCalls::MakeOrDie(size_t maxsize, std::string_view name, ObjectType type) {
  return OrCannotMake(Make(maxsize, name, type), type, sizeof(QueueState), name);
}

absl::Status QueueCalls::PutFailed(Result result, const QueueState& state) {
  switch (result) {
    case Result::kBusy:
      return LateStatus("the queue is full");
    case Result::kShut:
      return absl::FailedPreconditionError(absl::StrCat(state.Describe(), " is shut down"));
    case Result::kNoDescriptor:
      return absl::ResourceExhaustedError(
          absl::StrCat(state.Describe(),
                       ": no descriptor to call those who wait for it by one: see RLIMIT_NOFILE"));
    default:
      return absl::ResourceExhaustedError(
          absl::StrCat(state.Describe(), ": no memory for another message: see MP_COMMIT_LIMIT"));
  }
}

absl::Status QueueCalls::GetFailed(Result result, const QueueState& state) {
  if (result == Result::kBusy) return LateStatus("the queue is empty");
  return absl::OutOfRangeError(
      absl::StrCat(state.Describe(), " is shut down, and nothing is left in it"));
}

absl::Status QueueCalls::Put(QueueState& state, const Encoder& encoder, const timespec* deadline,
                             MessageHead::Kind with_cargo) {
  MessageQueue queue(state);
  if (!Sent::NeedsBlock(encoder)) {
    return AfterPut(queue.Put(
                        encoder.size(), [&](void* place) { encoder.CopyTo(place); }, deadline),
                    state);
  }
  Sent sent;
  if (absl::Status status = sent.Load(encoder, state, with_cargo); !status.ok()) {
    return status;
  }
  const Result result = queue.PutBlock(sent.block(), deadline);
  if (result == Result::kDone) sent.HasQueue();
  return AfterPut(result, state);
}

absl::Status QueueCalls::PutBlock(QueueState& state, const MessageRings::Block& block,
                                  const timespec* deadline) {
  return AfterPut(MessageQueue(state).PutBlock(block, deadline), state);
}

absl::Status QueueCalls::PutMany(QueueState& state, size_t count,
                                 absl::FunctionRef<MessageRings::Outgoing(size_t index)> message,
                                 const timespec* deadline) {
  if (count == 0) return absl::OkStatus();
  if (state.limit != 0 && count > state.limit) {
    return absl::InvalidArgumentError(absl::StrCat(
        state.Describe(), ": ", count, " values at once, where there is room for ", state.limit));
  }
  return AfterPut(MessageQueue(state).PutMany(count, message, deadline), state);
}

absl::Status QueueCalls::Get(QueueState& state, Received& received, const timespec* deadline) {
  const Result result = MessageQueue(state).Get(
      [&](const void* place, size_t size) { received.Read(place, size); },
      [&](const MessageRings::Block& block) { received.Take(block); }, deadline);
  return AfterGet(result, state);
}

absl::Status QueueCalls::GetMany(QueueState& state, size_t most,
                                 std::vector<std::unique_ptr<Received>>& received,
                                 const timespec* deadline) {
  size_t count;
  auto next = [&]() -> Received& { return *received.emplace_back(std::make_unique<Received>()); };
  const Result result = MessageQueue(state).GetMany(
      most, count, [&](const void* place, size_t size) { next().Read(place, size); },
      [&](const MessageRings::Block& block) { next().Take(block); }, deadline);
  return AfterGet(result, state);
}

// To end ---------------------------------------------------------------------------------------

namespace {

// What this process has closed: by its cell, and what that was then. Held across a fork: a child
// has closed what its parent had.
constinit std::mutex closed_mutex;
constinit std::map<const QueueState*, uint64_t>* closed = nullptr;  // under it; never destroyed

[[gnu::constructor(101)]] void RegisterForkHandlers() {
  pthread_atfork([] { closed_mutex.lock(); }, [] { closed_mutex.unlock(); },
                 [] { closed_mutex.unlock(); });
}

}  // namespace

void QueueCalls::Close(const QueueState& state) {
  const std::lock_guard lock(closed_mutex);
  if (closed == nullptr) closed = new std::map<const QueueState*, uint64_t>;
  (*closed)[&state] = state.state.load(std::memory_order_relaxed);
  closed_.fetch_or(MarkOf(&state), std::memory_order_relaxed);
}

absl::Status QueueCalls::LookIfOpen(const QueueState& state) {
  const std::lock_guard lock(closed_mutex);
  const auto it = closed->find(&state);
  if (it == closed->end()) return absl::OkStatus();
  if (it->second == state.state.load(std::memory_order_relaxed)) {
    return absl::FailedPreconditionError(
        absl::StrCat(state.Describe(), " is closed in this process"));
  }
  closed->erase(it);  // the cell is another queue's by now
  uint64_t marks = 0;
  for (const auto& [other, word] : *closed) marks |= MarkOf(other);
  closed_.store(marks, std::memory_order_relaxed);
  return absl::OkStatus();
}

void QueueCalls::Shutdown(QueueState& state, bool immediate) {
  MessageQueue(state).Shut(immediate);
}

}  // namespace mp::internal
