#include "shared/internal/domain_memory.h"

#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "absl/base/attributes.h"

namespace mp::internal {
namespace {

constexpr size_t kWord = sizeof(uint64_t);

// Volatile, not atomic: each is one load, none passes another, and what is read may be
// anything, the plain data of another thread too. The thread sanitizer would call that a
// race, and rightly: whoever calls this checks what it got.
ABSL_ATTRIBUTE_NOINLINE ABSL_ATTRIBUTE_NO_SANITIZE_THREAD void CopyChanging(const std::byte* from,
                                                                            std::byte* to,
                                                                            size_t size) {
  if (reinterpret_cast<uintptr_t>(from) % kWord == 0 &&
      reinterpret_cast<uintptr_t>(to) % kWord == 0) {
    for (; size >= kWord; from += kWord, to += kWord, size -= kWord) {
      *reinterpret_cast<uint64_t*>(to) = *reinterpret_cast<const volatile uint64_t*>(from);
    }
  }
  for (; size > 0; ++from, ++to, --size) *to = *const_cast<const volatile std::byte*>(from);
}

}  // namespace

bool DomainMemory::Read(uint64_t address, void* copy, size_t size) const {
  if (!Contains(address, size)) return false;
  uint64_t offset = address - base_;
  auto* to = static_cast<std::byte*>(copy);
  if (bytes_ != nullptr) {
    CopyChanging(bytes_ + offset, to, size);
    return true;
  }
  while (size > 0) {
    const ssize_t got = pread(fd_, to, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    // The file is sealed: it never ends before the domain does.
    if (got <= 0) return false;
    to += got;
    offset += static_cast<uint64_t>(got);
    size -= static_cast<size_t>(got);
  }
  return true;
}

}  // namespace mp::internal
