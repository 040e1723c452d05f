#include "mp/encoder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "mp/internal/codec_error.h"
#include "mp/internal/descriptor_packets.h"
#include "mp/internal/encoder_access.h"
#include "mp/internal/handle_mark.h"

namespace mp {

void Encoder::Fail(const absl::Status& why) {
  failure_ = why.ok() ? absl::InternalError("failed, with a status that is OK") : why;
  throw internal::CodecError{failure_};
}

void Encoder::Grow(size_t size) {
  const size_t capacity = std::max(2 * capacity_, size_ + size);
  auto heap = std::make_unique_for_overwrite<char[]>(capacity);
  std::memcpy(heap.get(), data_, size_);
  heap_ = std::move(heap);
  data_ = heap_.get();
  capacity_ = capacity;
}

void Encoder::CopyTo(void* to) const {
  auto* out = static_cast<char*>(to);
  size_t done = 0;
  for (const Borrowed& borrowed : borrows_) {
    out = std::copy(data_ + done, data_ + borrowed.at, out);
    done = borrowed.at;
    std::memcpy(out, borrowed.bytes, borrowed.size);
    out += borrowed.size;
  }
  std::copy(data_ + done, data_ + size_, out);
}

std::string Encoder::ToString() const {
  std::string bytes(size(), '\0');
  CopyTo(bytes.data());
  return bytes;
}

namespace internal {

void EncoderAccess::PutLong(Encoder& encoder, const void* bytes, size_t size) {
  if (encoder.copies_ || size < Encoder::kBorrowed) return encoder.PutBytes(bytes, size);
  encoder.borrows_.push_back({encoder.size_, bytes, size});
  encoder.borrowed_ += size;
}

void EncoderAccess::PutHandle(Encoder& encoder, ObjectHeader* object, uint64_t type,
                              std::shared_ptr<const void> handle) {
  const HandleMark mark = HandleMark::Of(*object, type);
  encoder.PutBytes(&mark, sizeof(mark));
  encoder.handles_.push_back(object);
  encoder.kept_.push_back(std::move(handle));
}

void EncoderAccess::PutDescriptor(Encoder& encoder, int fd, std::shared_ptr<const void> owner) {
  if (encoder.via_ != Via::kConnection) {
    encoder.Fail("a descriptor travels only through a Connection");
  }
  if (encoder.descriptors_.size() == kMostDescriptors) {
    encoder.Fail(absl::StrCat("more than ", kMostDescriptors, " descriptors in one message"));
  }
  encoder.descriptors_.push_back(fd);
  encoder.kept_.push_back(std::move(owner));
}

void EncoderAccess::PutDescriptorCopy(Encoder& encoder, int fd) {
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (copy < 0 && errno == EBADF) {
    encoder.Fail(absl::StrCat("descriptor ", fd, " is not open"));
  }
  if (copy < 0) encoder.Fail(absl::ErrnoToStatus(errno, "fcntl(F_DUPFD_CLOEXEC)"));
  const auto owner = std::make_shared<DescriptorList>();
  owner->Add(copy);
  PutDescriptor(encoder, copy, owner);
}

bool EncoderAccess::PutShared(Encoder& encoder, std::shared_ptr<const void> object, uint64_t type) {
  // Once for each type: one who shares only a member has the same address.
  const auto [entry, first] =
      encoder.shared_.try_emplace(std::pair(object.get(), type), encoder.shared_.size() + 1);
  encoder.PutNumber(entry->second);
  // Else another might come to lie where this one was.
  if (first) encoder.kept_.push_back(std::move(object));
  return first;
}

absl::Status EncoderAccess::Describe(const absl::Status& why, std::string_view type) {
  return absl::Status(why.code(), absl::StrCat(type, ": cannot be sent: ", why.message()));
}

void EncoderAccess::FailTooDeep(Encoder& encoder) {
  encoder.Fail(absl::StrCat("values lie more than ", kMostDepth, " deep within one another"));
}

}  // namespace internal
}  // namespace mp
