#include "mp/decoder.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "mp/internal/codec_error.h"
#include "mp/internal/decoder_access.h"
#include "mp/internal/handle_mark.h"
#include "shared/domain.h"
#include "shared/internal/stakes.h"

namespace mp {

void Decoder::Fail(const absl::Status& why) {
  failure_ = why.ok() ? absl::InternalError("failed, with a status that is OK") : why;
  throw internal::CodecError{failure_};
}

void Decoder::FailShort(size_t size) {
  Fail(absl::StrCat(size, " bytes more are needed, and ", left(), " are left"));
}

uint64_t Decoder::GetNumber() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (at_ == end_) FailShort(1);
    const auto byte = static_cast<unsigned char>(*at_++);
    const uint64_t bits = byte & 0x7f;
    if (bits << shift >> shift != bits) break;
    value |= bits << shift;
    if (byte < 0x80) return value;
  }
  Fail("a number of more than 64 bits");
}

size_t Decoder::GetLength(size_t least) {
  const uint64_t length = GetNumber();
  if (length > left() / least) {
    Fail(absl::StrCat("a length of ", length, ", of ", least, " bytes each or more, and ", left(),
                      " bytes are left"));
  }
  return length;
}

namespace internal {

DecoderAccess::Shared DecoderAccess::GetShared(Decoder& decoder, uint64_t type) {
  const uint64_t index = decoder.GetNumber();
  if (index == 0) return {.index = 0, .follows = false, .object = nullptr};
  if (index <= decoder.shared_.size()) {
    const Decoder::SharedObject& shared = decoder.shared_[index - 1];
    if (shared.type != type) decoder.Fail("a shared object that was one of another type");
    if (shared.object == nullptr) {
      decoder.Fail("a shared object that contains itself, and cannot be made before what it has");
    }
    return {.index = index, .follows = false, .object = shared.object};
  }
  if (index != decoder.shared_.size() + 1) decoder.Fail("a shared object that never came");
  decoder.shared_.push_back({nullptr, type, nullptr});
  return {.index = index, .follows = true, .object = nullptr};
}

void DecoderAccess::SetShared(Decoder& decoder, size_t index, std::shared_ptr<void> object,
                              void (*clear)(void* object)) {
  Decoder::SharedObject& shared = decoder.shared_[index - 1];
  shared.object = std::move(object);
  shared.clear = clear;
}

DecoderAccess::PlacedHandle DecoderAccess::GetHandle(Decoder& decoder, uint64_t type) {
  HandleMark mark;
  decoder.GetBytes(&mark, sizeof(mark));
  if (mark.family == 0 || mark.family != HandleMark::FamilyHere()) {
    decoder.Fail("a handle to an object of another family of processes");
  }
  if (decoder.handles_taken_ == decoder.handles_.size()) {
    decoder.Fail("a handle that its message does not carry");
  }
  const Word& word = decoder.handles_[decoder.handles_taken_++];
  ObjectHeader* const object = Stakes::ObjectAt(word);
  // Only then is it one to look at.
  const Heap::Block block =
      object != nullptr ? Domain::Current()->heap().Find(object) : Heap::Block{};
  if (object == nullptr || !block.cell || block.address != object) {
    decoder.Fail("a handle that its message carries no more");
  }
  if (HandleMark::Of(*object, type).check != mark.check) {
    decoder.Fail("a handle that is not the one that was sent, or of another type");
  }
  return {.word = word, .object = object};
}

int DecoderAccess::GetDescriptor(Decoder& decoder) {
  if (decoder.descriptors_taken_ == decoder.descriptors_.size()) {
    decoder.Fail("a descriptor that its message does not carry");
  }
  return std::exchange(decoder.descriptors_[decoder.descriptors_taken_++], -1);
}

void DecoderAccess::ClearShared(Decoder& decoder) {
  for (const Decoder::SharedObject& shared : decoder.shared_) {
    if (shared.object != nullptr && shared.clear != nullptr) shared.clear(shared.object.get());
  }
}

absl::Status DecoderAccess::Describe(const Decoder& decoder, const absl::Status& why,
                                     std::string_view type) {
  return absl::Status(why.code(),
                      absl::StrCat(type, ": byte ", decoder.offset(), " of ",
                                   decoder.offset() + decoder.left(), ": ", why.message()));
}

void DecoderAccess::FailTooDeep(Decoder& decoder) {
  decoder.Fail(absl::StrCat("values lie more than ", kMostDepth, " deep within one another"));
}

}  // namespace internal
}  // namespace mp
