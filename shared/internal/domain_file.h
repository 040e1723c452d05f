// DomainFile: the memfd under a domain: made, mapped in its window of addresses, and
// checked before anybody trusts what it holds.

#ifndef MP_SHARED_INTERNAL_DOMAIN_FILE_H_
#define MP_SHARED_INTERNAL_DOMAIN_FILE_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mp::internal {

// The first bytes of a domain. Constant once it is published.
struct DomainHeader {
  static constexpr uint64_t kMagic = 0x0a6e69616d6f4470;  // "pDomain\n"
  static constexpr uint64_t kLayout = 7;  // of everything in a domain; a change of it counts up

  uint64_t magic;
  uint64_t layout;
  uint64_t base;   // where every member maps it
  uint64_t size;   // bytes reserved
  uint64_t id[2];  // random: which family's
  uint64_t inode;  // of the memfd: what a member's list of maps shows
};

struct DomainMapping {
  void* base;
  size_t size;
  uint64_t inode;
  int fd;
};

// The most that fits in the window of addresses.
size_t LargestReserve();

// A sealed memfd of `reserve` bytes, in whole pages, mapped in the window; less where
// RLIMIT_FSIZE or RLIMIT_AS allow no more. kResourceExhausted: no descriptor, no
// address, or limits below `least`.
absl::StatusOr<DomainMapping> MakeDomainFile(size_t reserve, size_t least);

// The domain of `fd`, which has the header `header`, at its place. The descriptor is the caller's
// still. kResourceExhausted: the addresses are taken, or a limit is.
absl::StatusOr<DomainMapping> MapDomainFile(int fd, const DomainHeader& header);

// A new descriptor for the domain that is mapped at its place. kFailedPrecondition: this process
// may not have one.
absl::StatusOr<int> ReopenDomainFile(const DomainHeader& header);

// The header of `fd`, if that is a domain: a memfd sealed as ours are, whose header fits
// its size and the window. kDataLoss says what is wrong with it.
absl::StatusOr<DomainHeader> ReadDomainHeader(int fd);

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_DOMAIN_FILE_H_
