#include "mp/internal/doorbell.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "mp/internal/descriptor.h"
#include "shared/domain.h"
#include "shared/internal/atomic.h"

namespace mp::internal {
namespace {

// In the abstract namespace: no file. Nobody outside of the family knows its id.
class Address {
 public:
  explicit Address(uint64_t number) {
    const uint64_t* const id = Domain::Current()->header().id;
    name_.sun_family = AF_UNIX;
    // Not by snprintf(): in a signal handler that may do anything.
    char* end = name_.sun_path + 1;
    for (const char c : {'m', 'p', '.'}) *end++ = c;
    end = PutHex(id[1], PutHex(id[0], end));
    *end++ = '.';
    end = PutHex(number, end);
    size_ = static_cast<socklen_t>(end - reinterpret_cast<char*>(&name_));
  }

  const sockaddr* name() const { return reinterpret_cast<const sockaddr*>(&name_); }
  socklen_t size() const { return size_; }

 private:
  static char* PutHex(uint64_t number, char* to) {
    for (int shift = 60; shift >= 0; shift -= 4) *to++ = "0123456789abcdef"[number >> shift & 15];
    return to;
  }

  sockaddr_un name_ = {};
  socklen_t size_;
};

int Socket() { return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

// A socket to call others with. Allocates nothing, for signal handlers.
class Sender {
 public:
  Sender() : fd_(Socket()) {
    // None of the standard ones: another thread may put a file in its place.
    if (fd_ < 0 || fd_ > STDERR_FILENO) return;
    const int low = fd_;
    fd_ = fcntl(low, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(low);
  }
  ~Sender() {
    if (fd_ >= 0) close(fd_);
  }
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  int fd() const { return fd_; }  // negative: there is no descriptor

 private:
  int fd_;
};

uint64_t RandomNumber() {
  uint64_t number = 0;
  while (number == 0) {
    if (getrandom(&number, sizeof(number), 0) != sizeof(number)) number = 0;
  }
  return number;
}

}  // namespace

absl::StatusOr<Doorbell> Doorbell::Make() {
  absl::StatusOr<Descriptor> socket = Descriptor::Own(Socket(), "socket");
  if (!socket.ok()) return socket.status();
  const uint64_t number = RandomNumber();
  const Address address(number);
  if (bind(socket->fd(), address.name(), address.size()) != 0) {
    return absl::ErrnoToStatus(errno, "bind");
  }
  return Doorbell(number, *std::move(socket));
}

void Doorbell::Drain() const {
  char bytes[8];
  while (recv(socket_.fd(), bytes, sizeof(bytes), 0) >= 0) {
  }
}

void Doorbell::RingItself() const {
  const Address address(number_);
  // Where there is no room for more it rings.
  while (sendto(socket_.fd(), "", 1, MSG_NOSIGNAL, address.name(), address.size()) < 0) {
    if (errno != EINTR && errno != ENOBUFS && errno != ENOMEM) return;
  }
}

bool Doorbell::IsThere(uint64_t number) {
  const Sender sender;
  const Address address(number);
  // Where one cannot ask, it may be.
  return sender.fd() < 0 || connect(sender.fd(), address.name(), address.size()) == 0 ||
         errno != ECONNREFUSED;
}

namespace {

bool RingBy(const Sender& sender, absl::Span<const Word> numbers) {
  bool all = true;
  for (const Word& number : numbers) {
    const Address address(number.load(std::memory_order_relaxed));
    const ssize_t sent = sendto(sender.fd(), "", 1, MSG_NOSIGNAL, address.name(), address.size());
    // It is gone; or it rings already, unheard.
    const bool in_vain = sent < 0 && (errno == ECONNREFUSED || errno == EAGAIN);
    all = all && (sent >= 0 || in_vain);
  }
  return all;
}

// Where no number is left for a socket: by a thread that has a copy of all descriptors, and gives
// one of those up. False: there can be none.
bool RingFromBeside(absl::Span<const Word> numbers) {
  bool rung = false;
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // for the thread: no handler runs in it
  try {
    std::thread([&] {
      if (unshare(CLONE_FILES) != 0) return;
      close(STDERR_FILENO + 1);
      const Sender sender;
      rung = sender.fd() >= 0 && RingBy(sender, numbers);
    }).join();
  } catch (const std::system_error&) {
    // There is no thread, either.
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return rung;
}

}  // namespace

bool Doorbell::Ring(absl::Span<const Word> numbers) {
  {
    const Sender sender;
    if (sender.fd() >= 0) return RingBy(sender, numbers);
  }
  return RingFromBeside(numbers);
}

void Doorbell::RingInHandler(const Word& number) {
  const Sender sender;
  if (sender.fd() >= 0) static_cast<void>(RingBy(sender, absl::MakeConstSpan(&number, 1)));
}

}  // namespace mp::internal
