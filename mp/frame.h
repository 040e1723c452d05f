// Frames: messages over any descriptor that carries bytes: four bytes of length, and as many more.
//
//   mp::OrDie(mp::WriteFrame(child.stdin(), "question"));
//   absl::StatusOr<std::string> answer = mp::ReadFrame(child.stdout());
//
// For programs in any language: in Python, struct.pack("<I", len(b)) + b. Between processes of a
// family there is mp/pipe.h.
//
// Death:   who is killed while it writes leaves a torn frame, which the reader learns of.
// Threads: one reader and one writer at a time. (Of several writers, frames of up to 4,092 bytes
//          stay whole in a pipe.)
// Signals: as mp/fd.h has them.
// Errors:  kOutOfRange: the end, between frames. kDataLoss: the end, in the middle of one.
//          kInvalidArgument: longer than the limit; to write, nothing was written; to read, its
//          length was read, and what follows is no frame. kUnavailable: nobody is left to read what
//          is written. Else as in mp/fd.h.
// Cost:    two reads; one write, without a copy. Memory as bytes arrive, whatever the length says.

#ifndef MP_MP_FRAME_H_
#define MP_MP_FRAME_H_

#include <bit>
#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/fd.h"

namespace mp {

struct FrameOptions {
  std::endian order = std::endian::little;  // of the length
  size_t max_size = size_t{64} << 20;       // bytes of a message, without the length
};

absl::StatusOr<std::string> ReadFrame(const Fd& fd, const FrameOptions& options = {});
absl::Status WriteFrame(const Fd& fd, std::string_view message, const FrameOptions& options = {});

}  // namespace mp

#endif  // MP_MP_FRAME_H_
