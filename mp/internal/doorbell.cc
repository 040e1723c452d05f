#include "mp/internal/doorbell.h"

#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
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

bool Doorbell::Ring(absl::Span<const Word> numbers) {
  const absl::StatusOr<Descriptor> socket = Socket();
  if (!socket.ok()) return false;
  bool all = true;
  for (const Word& number : numbers) {
    const Address address(number.load(std::memory_order_relaxed));
    const ssize_t sent = sendto(socket->fd(), "", 1, MSG_NOSIGNAL, address.name(), address.size());
    // It is gone; or it rings already, unheard.
    const bool in_vain = sent < 0 && (errno == ECONNREFUSED || errno == EAGAIN);
    all = all && (sent >= 0 || in_vain);
  }
  return all;
}

}  // namespace mp::internal
