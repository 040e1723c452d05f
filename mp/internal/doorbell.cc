#include "mp/internal/doorbell.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
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
    const int length = std::snprintf(
        name_.sun_path + 1, sizeof(name_.sun_path) - 1, "mp.%016llx%016llx.%016llx",
        static_cast<unsigned long long>(id[0]), static_cast<unsigned long long>(id[1]),
        static_cast<unsigned long long>(number));
    size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  }

  const sockaddr* name() const { return reinterpret_cast<const sockaddr*>(&name_); }
  socklen_t size() const { return size_; }

 private:
  sockaddr_un name_ = {};
  socklen_t size_;
};

absl::StatusOr<Descriptor> Socket() {
  return Descriptor::Own(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket");
}

uint64_t RandomNumber() {
  uint64_t number = 0;
  while (number == 0) {
    if (getrandom(&number, sizeof(number), 0) != sizeof(number)) number = 0;
  }
  return number;
}

}  // namespace

absl::StatusOr<Doorbell> Doorbell::Make() {
  absl::StatusOr<Descriptor> socket = Socket();
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

namespace {

bool RingBy(const Descriptor& socket, absl::Span<const Word> numbers) {
  bool all = true;
  for (const Word& number : numbers) {
    const Address address(number.load(std::memory_order_relaxed));
    const ssize_t sent = sendto(socket.fd(), "", 1, MSG_NOSIGNAL, address.name(), address.size());
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
      const absl::StatusOr<Descriptor> socket = Socket();
      rung = socket.ok() && RingBy(*socket, numbers);
    }).join();
  } catch (const std::system_error&) {
    // There is no thread, either.
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return rung;
}

}  // namespace

bool Doorbell::Ring(absl::Span<const Word> numbers) {
  const absl::StatusOr<Descriptor> socket = Socket();
  return socket.ok() ? RingBy(*socket, numbers) : RingFromBeside(numbers);
}

}  // namespace mp::internal
