// ObjectHeader: what every shared object's cell begins with; the state of the type follows.
//
// Layout
//   field     written by        meaning
//   state     maker             type (8 bits) and generation of this cell. Commits the
//                               making of the object; its owner word commits its end
//   maker     maker, once       id of the process that made it
//   handles   maker's threads   handles that the maker's process has of its own
//   name      maker, once       address of its name, ended by NUL, or 0
//   made      maker, once       the clock of the process table when it was made; 0: during
//                               a fork of the maker's, which may or may not have it
//   stakes    see stakes.h      what keeps it alive
//   keeper    the same          in limbo: id of the process that ends it; 0: nobody
//
//   O1  A cell with a type is owned by itself (Owner::Object), one without by a process.
//   O2  The generation grows with each object that the cell held.
//   Repair after a death: none. A cell on its way into life or out of it belongs to the
//   dead process, and the object's blocks to the cell.

#ifndef MP_SHARED_INTERNAL_OBJECT_HEADER_H_
#define MP_SHARED_INTERNAL_OBJECT_HEADER_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "shared/internal/atomic.h"
#include "shared/internal/object_type.h"

namespace mp::internal {

struct ObjectHeader {
  Word state;
  Word maker;
  Word handles;
  Word name;
  Word made;
  Word stakes;
  Word keeper;

  static constexpr int kTypeBits = 8;
  static constexpr uint64_t kTypeMask = (uint64_t{1} << kTypeBits) - 1;

  ObjectType type() const {
    return static_cast<ObjectType>(state.load(std::memory_order_acquire) & kTypeMask);
  }
  std::string_view name_view() const {
    const uint64_t address = name.load(std::memory_order_relaxed);
    return address == 0 ? std::string_view() : reinterpret_cast<const char*>(address);
  }
  // `Lock "jobs"`, or `Lock at 0x550000012340`: for messages.
  std::string Describe() const;
};
static_assert(sizeof(ObjectHeader) == 56);

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_OBJECT_HEADER_H_
