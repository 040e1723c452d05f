#include "mp/fd.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "mp/internal/decoder_access.h"
#include "mp/internal/descriptor_io.h"
#include "mp/internal/encoder_access.h"

namespace mp {

void Fd::Close() {
  if (has_value()) close(release());
}

absl::StatusOr<size_t> Fd::ReadInto(absl::Span<char> to) const {
  absl::StatusOr<size_t> n = internal::ReadSome(fd_, to);
  if (n.ok() && *n == 0 && !to.empty()) {
    return absl::OutOfRangeError(absl::StrCat("read descriptor ", fd_, ": the end"));
  }
  return n;
}

absl::StatusOr<std::string> Fd::Read(size_t max_size) const {
  std::string bytes(max_size, '\0');
  const absl::StatusOr<size_t> n = ReadInto(absl::MakeSpan(bytes));
  if (!n.ok()) return n.status();
  bytes.resize(*n);
  return bytes;
}

absl::StatusOr<std::string> Fd::ReadAll() const {
  std::string bytes;
  size_t size = 0;
  for (;;) {
    if (size == bytes.size()) bytes.resize(std::max(2 * size, kReadSize));
    const absl::StatusOr<size_t> n = internal::ReadSome(fd_, absl::MakeSpan(bytes).subspan(size));
    if (!n.ok()) return n.status();
    if (*n == 0) break;
    size += *n;
  }
  bytes.resize(size);
  return bytes;
}

absl::Status Fd::WriteAll(std::string_view bytes) const { return internal::WriteFully(fd_, bytes); }

absl::Status Fd::Flush() const {
  while (fsync(fd_) != 0) {
    if (errno == EINVAL || errno == EROFS) break;  // it has no disk
    if (errno != EINTR) {
      return absl::ErrnoToStatus(
          errno, absl::StrCat("fsync descriptor ", fd_, ": ", std::strerror(errno)));
    }
  }
  return absl::OkStatus();
}

void Codec<Fd>::Encode(const Fd& value, Encoder& encoder) {
  encoder.Put(value.has_value());
  if (value.has_value()) internal::EncoderAccess::PutDescriptorCopy(encoder, value.get());
}

Fd Codec<Fd>::Decode(Decoder& decoder) {
  return decoder.Get<bool>() ? Fd(internal::DecoderAccess::GetDescriptor(decoder)) : Fd();
}

}  // namespace mp
