#include "mp/internal/end.h"

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "mp/internal/channel.h"
#include "mp/internal/message_type.h"
#include "mp/internal/queue_calls.h"
#include "shared/domain.h"

namespace mp::internal {

using Result = ChannelSide::Result;

// While it lives, and is ok(), the descriptors stay open.
class End::Work {
 public:
  explicit Work(End& end) : end_(end), ok_(end.life_.Enter()) {}
  ~Work() {
    if (ok_ && end_.life_.Leave()) end_.CloseNow();
  }
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  bool ok() const { return ok_; }

 private:
  End& end_;
  const bool ok_;
};

absl::Status End::MayWork(const Work& work, bool able, const char* what) const {
  if (!work.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(what_, " is closed in this process"));
  }
  if (able) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(what_, what));
}

absl::Status End::StatusOf(Result result) const {
  switch (result) {
    case Result::kDone:
      return absl::OkStatus();
    case Result::kLate:
      return absl::DeadlineExceededError(absl::StrCat(what_, ": not in time"));
    case Result::kClosed:
      return absl::FailedPreconditionError(absl::StrCat(what_, " was closed in this process"));
    case Result::kNoMemory:
      return absl::ResourceExhaustedError(
          absl::StrCat(what_, ": no memory for another message: see MP_COMMIT_LIMIT"));
    default:
      return absl::InternalError(what_);
  }
}

// To send --------------------------------------------------------------------------------------

namespace {

absl::Status NobodyReads(const std::string& what) {
  return absl::UnavailableError(absl::StrCat(what, ": nobody is left to read from it"));
}

}  // namespace

absl::Status End::Put(uint64_t type, size_t size, absl::FunctionRef<void(void* place)> write,
                      absl::Duration timeout) {
  const Work work(*this);
  absl::Status status = MayWork(work, writable_, " is for receiving only");
  if (!status.ok()) return status;
  const QueueDeadline deadline(timeout);
  const size_t all = kTypeSize + size;
  auto write_all = [&](void* place) {
    std::memcpy(place, &type, kTypeSize);
    write(static_cast<char*>(place) + kTypeSize);
  };
  Result result;
  if (all <= MessageRings::kMostInRing) {
    result = writer_->Put(all, write_all, life_, deadline.get());
  } else {
    const absl::StatusOr<void*> place = Domain::Current()->Allocate(all);
    if (!place.ok()) return place.status();
    write_all(*place);
    const MessageRings::Block block = {*place, all, MessageHead::Kind::kBlock};
    result = writer_->PutBlock(block, life_, deadline.get());
    if (result != Result::kDone) MessageRings::FreeBlock(block);
  }
  return result == Result::kOver ? NobodyReads(what_) : StatusOf(result);
}

absl::Status End::PutEncoded(const Encoder& encoder, absl::Duration timeout) {
  const Work work(*this);
  absl::Status status = MayWork(work, writable_, " is for receiving only");
  if (!status.ok()) return status;
  const QueueDeadline deadline(timeout);
  Result result;
  if (!Sent::NeedsBlock(encoder)) {
    result = writer_->Put(
        encoder.size(), [&](void* place) { encoder.CopyTo(place); }, life_, deadline.get());
  } else {
    Sent sent;
    status = sent.Load(encoder, writer_->state());
    if (!status.ok()) return status;
    result = writer_->PutBlock(sent.block(), life_, deadline.get());
    if (result == Result::kDone) sent.HasQueue();
  }
  return result == Result::kOver ? NobodyReads(what_) : StatusOf(result);
}

// To receive -----------------------------------------------------------------------------------

absl::Status End::Get(const Receiver& receiver, absl::Duration timeout) {
  const Work work(*this);
  absl::Status status = MayWork(work, readable_, " is for sending only");
  if (!status.ok()) return status;
  const QueueDeadline deadline(timeout);
  uint64_t type = 0;
  absl::Status refusal;
  auto accept = [&](const void* bytes, size_t size) {
    if (size < kTypeSize) return false;
    std::memcpy(&type, bytes, kTypeSize);
    if (type != receiver.type) return false;
    refusal = receiver.accept(size - kTypeSize);
    return refusal.ok();
  };
  const Result result = reader_->Get({accept, receiver.read, receiver.take}, life_, deadline.get());
  if (result == Result::kOver) {
    return absl::OutOfRangeError(
        absl::StrCat(what_, ": nobody is left to send to it, and nothing is left in it"));
  }
  if (result != Result::kRefused) return StatusOf(result);
  if (!refusal.ok()) return refusal;
  return absl::InvalidArgumentError(
      absl::StrCat(what_, ": the next message is of type ", MessageType::NameOf(type), ", not ",
                   MessageType::NameOf(receiver.type), "; it is still there"));
}

absl::StatusOr<bool> End::Poll(absl::Duration timeout) {
  const Work work(*this);
  const absl::Status status = MayWork(work, readable_, " is for sending only");
  if (!status.ok()) return status;
  return Look(QueueDeadline(timeout).get());
}

// By who works.
absl::StatusOr<bool> End::Look(const timespec* deadline) const {
  const Result result = reader_->Look(life_, deadline);
  if (result == Result::kDone || result == Result::kOver) return true;
  if (result == Result::kLate) return false;
  return StatusOf(result);
}

absl::StatusOr<int> End::Door() {
  const Work work(*this);
  const absl::Status status = MayWork(work, readable_, " is for sending only");
  if (!status.ok()) return status;
  return reader_->Door();
}

absl::StatusOr<int> End::BeginWait() {
  const Work work(*this);
  const absl::Status status = MayWork(work, readable_, " is for sending only");
  if (!status.ok()) return status;
  absl::StatusOr<int> door = reader_->Door();
  // What has entered it once more stays until EndWait(); it may be closed by now.
  if (door.ok() && !life_.Enter()) return StatusOf(Result::kClosed);
  return door;
}

void End::EndWait() {
  if (life_.Leave()) CloseNow();
}

absl::StatusOr<bool> End::IsReady() {
  if (closed()) return StatusOf(Result::kClosed);
  return Look(QueueDeadline(absl::ZeroDuration()).get());
}

// To close -------------------------------------------------------------------------------------

void End::Close() {
  if (life_.Close()) CloseNow();
}

void End::CloseNow() {
  if (reader_.has_value()) reader_->TellClose();
  reader_.reset();
  writer_.reset();
}

}  // namespace mp::internal
