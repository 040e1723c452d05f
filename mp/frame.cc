#include "mp/frame.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "mp/internal/descriptor_io.h"

namespace mp {
namespace {

constexpr size_t kHeaderSize = 4;
// What is read at once before more has come.
constexpr size_t kFirstStep = size_t{64} << 10;

// Where the byte of the length is that stands for the `i`-th eight of its bits.
size_t PlaceOf(size_t i, std::endian order) {
  return order == std::endian::little ? i : kHeaderSize - 1 - i;
}

absl::Status TooLong(const char* call, const Fd& fd, uint64_t size, size_t max_size) {
  return absl::InvalidArgumentError(absl::StrCat(call, " descriptor ", fd.get(), ": a frame of ",
                                                 size, " bytes; the limit is ", max_size));
}

absl::Status Torn(const Fd& fd, size_t got, size_t size) {
  return absl::DataLossError(absl::StrCat("ReadFrame: descriptor ", fd.get(), ": the end after ",
                                          got, " of ", size, " bytes"));
}

size_t LimitOf(const FrameOptions& options) {
  return std::min<size_t>(options.max_size, std::numeric_limits<uint32_t>::max());
}

}  // namespace

absl::StatusOr<std::string> ReadFrame(const Fd& fd, const FrameOptions& options) {
  char header[kHeaderSize];
  absl::StatusOr<size_t> n = internal::ReadFully(fd.get(), absl::MakeSpan(header));
  if (!n.ok()) return n.status();
  if (*n == 0) {
    return absl::OutOfRangeError(absl::StrCat("ReadFrame: descriptor ", fd.get(), ": the end"));
  }
  if (*n < kHeaderSize) return Torn(fd, *n, kHeaderSize);
  uint32_t size = 0;
  for (size_t i = 0; i < kHeaderSize; ++i) {
    const auto byte = static_cast<unsigned char>(header[PlaceOf(i, options.order)]);
    size |= uint32_t{byte} << (8 * i);
  }
  if (size > LimitOf(options)) return TooLong("ReadFrame:", fd, size, LimitOf(options));

  std::string message;
  while (message.size() < size) {
    const size_t got = message.size();
    message.resize(std::min<size_t>(size, std::max(2 * got, kFirstStep)));
    n = internal::ReadFully(fd.get(), absl::MakeSpan(message).subspan(got));
    if (!n.ok()) return n.status();
    if (got + *n < message.size()) return Torn(fd, got + *n, size);
  }
  return message;
}

absl::Status WriteFrame(const Fd& fd, std::string_view message, const FrameOptions& options) {
  if (message.size() > LimitOf(options)) {
    return TooLong("WriteFrame:", fd, message.size(), LimitOf(options));
  }
  char header[kHeaderSize];
  for (size_t i = 0; i < kHeaderSize; ++i) {
    header[PlaceOf(i, options.order)] = static_cast<char>(message.size() >> (8 * i));
  }
  return internal::WriteFully(fd.get(), std::string_view(header, kHeaderSize), message);
}

}  // namespace mp
