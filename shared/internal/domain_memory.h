// DomainMemory: the bytes of a domain, for who only looks: each read is a copy, made only
// if all of it lies in the domain.
//
//   DomainMemory memory = DomainMemory::OfFile(fd, *header);
//   uint64_t word;
//   if (!memory.Read(address, &word, sizeof(word))) return;  // the address is none
//
// From outside a domain is read with pread(2), not mapped: a look at a page that has no
// memory gives the page some when it is done through a mapping, and none when it is done
// through the file. Nor is there then an address that has to be free, or a memory limit at
// which a look ends in a SIGBUS.
//
// In a process of the family the domain is read where it is mapped, since the program may have
// closed the descriptor. Where a page loses its memory between a look at what is in use and
// the look at that, it gets some again, till its next user.
//
// Others may write meanwhile. Through a map an aligned word is read as a whole, words in rising
// order. pread(2) promises neither; a torn word is one more that may not be believed.

#ifndef MP_SHARED_INTERNAL_DOMAIN_MEMORY_H_
#define MP_SHARED_INTERNAL_DOMAIN_MEMORY_H_

#include <cstddef>
#include <cstdint>

#include "shared/internal/domain_file.h"

namespace mp::internal {

class DomainMemory {
 public:
  // Of the file `fd`, whose header that is.
  static DomainMemory OfFile(int fd, const DomainHeader& header) {
    return DomainMemory(fd, nullptr, header);
  }
  // Of what is mapped at `bytes`: the domain of this process, or a copy of one.
  static DomainMemory At(const void* bytes, const DomainHeader& header) {
    return DomainMemory(-1, static_cast<const std::byte*>(bytes), header);
  }

  uint64_t base() const { return base_; }
  uint64_t size() const { return size_; }
  bool Contains(uint64_t address, uint64_t size) const {
    return address - base_ <= size_ && size <= size_ - (address - base_);
  }

  // Copies what stands at an address of the domain.
  [[nodiscard]] bool Read(uint64_t address, void* copy, size_t size) const;

 private:
  DomainMemory(int fd, const std::byte* bytes, const DomainHeader& header)
      : fd_(fd), bytes_(bytes), base_(header.base), size_(header.size) {}

  int fd_;
  const std::byte* bytes_;  // or nullptr
  uint64_t base_;
  uint64_t size_;
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_DOMAIN_MEMORY_H_
