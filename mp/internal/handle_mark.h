// HandleMark: what stands for a handle in the bytes of a message. The handle itself is a word of
// the message's block, a stake (cargo.h); this tells whether it is the one that was meant.

#ifndef MP_MP_INTERNAL_HANDLE_MARK_H_
#define MP_MP_INTERNAL_HANDLE_MARK_H_

#include <cstdint>

namespace mp::internal {

struct ObjectHeader;

struct HandleMark {
  uint64_t family;  // random, of the domain; 0: none
  uint64_t check;   // follows from domain, address, generation and type

  // Of an object that this process has a handle to, sent as a type with that hash.
  static HandleMark Of(const ObjectHeader& object, uint64_t type);
  // What `family` is here; 0: there is no domain.
  static uint64_t FamilyHere();
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_HANDLE_MARK_H_
