// Fd: a file descriptor that is owned. It is read and written, and can be sent through a
// Connection.
//
//   auto [reading, writing] = mp::OrDie(mp::OsPipe());
//   mp::OrDie(writing.WriteAll("hello"));
//   writing.Close();
//   std::string word = mp::OrDie(reading.ReadAll());
//
// And to another process:
//
//   auto [mine, its] = mp::Pipe();
//   mp::Process child([its = its] {
//     mp::Fd log = mp::OrDie(its.Recv<mp::Fd>());
//     mp::OrDie(log.WriteAll("hello\n"));
//   });
//   mp::OrDie(child.Start());
//   mp::OrDie(mine.Send(mp::Fd(open("log", O_WRONLY | O_CLOEXEC))));
//
// Also as a part of what is sent: std::pair<int, Fd>, std::vector<Fd>, a struct. It arrives as a
// descriptor of the receiver's for the same open file, with another number, close-on-exec, and none
// of the standard ones; one that is empty arrives empty. The sender keeps its own. Not through a
// Queue, which has no place for it.
//
// Ordering: as the file has it; nothing is buffered here.
// Death:    what was written is in the file. The file stays open while the message is in the pipe:
//           see mp/connection.h.
// Fork:     a child has all its parent's.
// Threads:  as an int.
// Signals:  a read or write goes on after one, and SIGPIPE does not come, nor end the process.
// Errors:   kOutOfRange: the end. kUnavailable: nobody is left to read what is written.
//           kFailedPrecondition: no descriptor, or not for that direction. Else what errno says:
//           kResourceExhausted for a full disk, and so on. When sent, see mp/connection.h;
//           kInvalidArgument, too: more than 253 descriptors in a message, or one that is not open.
// Cost:     a read is one system call; a write is four, of which three keep SIGPIPE away. When
//           sent, a duplicate while it is, and five system calls more for a message, whatever their
//           number.

#ifndef MP_MP_FD_H_
#define MP_MP_FD_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "mp/codec.h"

namespace mp {

class Fd {
 public:
  // What Read() takes at most by default: as much as a pipe holds.
  static constexpr size_t kReadSize = size_t{64} << 10;

  Fd() = default;
  // Takes it over. A negative number: none.
  explicit Fd(int fd) : fd_(fd < 0 ? kNone : fd) {}
  ~Fd() { Close(); }
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = other.release();
    }
    return *this;
  }

  // Waits for bytes, also where O_NONBLOCK is set, and returns those that are there, as read(2):
  // one or more, unless `max_size` is 0.
  absl::StatusOr<std::string> Read(size_t max_size = kReadSize) const;
  // The same, to `to`; returns how many.
  absl::StatusOr<size_t> ReadInto(absl::Span<char> to) const;
  // Until the end, which is no error here.
  absl::StatusOr<std::string> ReadAll() const;
  // Waits until all are written. When it fails, some may be.
  absl::Status WriteAll(std::string_view bytes) const;
  // What was written to a file is on its disk: fsync(2). OK where there is none, as for a pipe.
  absl::Status Flush() const;

  // -1: none.
  int get() const { return fd_; }
  bool has_value() const { return fd_ != kNone; }
  explicit operator bool() const { return has_value(); }
  // It is the caller's to close.
  [[nodiscard]] int release() { return std::exchange(fd_, kNone); }
  void Close();

 private:
  static constexpr int kNone = -1;

  int fd_ = kNone;
};

template <>
struct TravelsOnlyThroughConnection<Fd> : std::true_type {};

template <>
struct Codec<Fd> {
  static void Encode(const Fd& value, Encoder& encoder);
  static Fd Decode(Decoder& decoder);
};

}  // namespace mp

#endif  // MP_MP_FD_H_
