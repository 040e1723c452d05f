// Fd: a file descriptor that is owned, and can be sent through a Connection.
//
//   auto [mine, its] = mp::Pipe();
//   mp::Process child([its = its] {
//     mp::Fd log = mp::OrDie(its.Recv<mp::Fd>());
//     dprintf(log.get(), "hello\n");
//   });
//   mp::OrDie(child.Start());
//   mp::OrDie(mine.Send(mp::Fd(open("log", O_WRONLY | O_CLOEXEC))));
//
// Also as a part of what is sent: std::pair<int, Fd>, std::vector<Fd>, a struct. It arrives as a
// descriptor of the receiver's for the same open file, with another number, close-on-exec, and none
// of the standard ones; one that is empty arrives empty. The sender keeps its own. Not through a
// Queue, which has no place for it.
//
// Death:    the file stays open while the message is in the pipe. See mp/connection.h.
// Fork:     a child has all its parent's.
// Threads:  as an int.
// Errors:   see mp/connection.h. kInvalidArgument, too: more than 253 descriptors in a message, or
//           one that is not open.
// Cost:     a duplicate while it is sent; five system calls more for a message, whatever their
//           number.

#ifndef MP_MP_FD_H_
#define MP_MP_FD_H_

#include <type_traits>
#include <utility>

#include "mp/codec.h"

namespace mp {

class Fd {
 public:
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
