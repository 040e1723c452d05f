// Object: the header of every shared object's cell, and Handle, the one pointer that
// refers to it.
//
// Layout: the cell begins with the header; the state of the type follows.
//
//   field     written by        meaning
//   state     maker             type (8 bits) and generation of this cell. Commits the
//                               making and the dropping of the object
//   maker     maker, once       id of the process that made it
//   handles   maker's threads   handles that the maker's process made; others' do not
//                               count: the object lives until its maker drops its last
//   name      maker, once       address of its name, ended by NUL, or 0
//
//   O1  A cell with a type is owned by itself (Owner::Object), one without by a process.
//   O2  The generation grows with each object that the cell held.
//   Repair after a death: none. A cell on its way into life or out of it belongs to the
//   dead process, and the object's blocks to the cell.

#ifndef MP_SHARED_INTERNAL_OBJECT_H_
#define MP_SHARED_INTERNAL_OBJECT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/domain.h"
#include "shared/internal/atomic.h"
#include "shared/internal/object_type.h"

namespace mp::internal {

struct ObjectHeader {
  Word state;
  Word maker;
  Word handles;
  Word name;

  static constexpr int kTypeBits = 8;
  static constexpr uint64_t kTypeMask = (uint64_t{1} << kTypeBits) - 1;

  ObjectType type() const {
    return static_cast<ObjectType>(state.load(std::memory_order_acquire) & kTypeMask);
  }
  std::string_view name_view() const {
    const uint64_t address = name.load(std::memory_order_relaxed);
    return address == 0 ? std::string_view() : reinterpret_cast<const char*>(address);
  }
  // Whether somebody uses the object without a handle: then it stays as long as the domain.
  // Hidden by the states for which that can be.
  bool Busy() const { return false; }
  // `Lock "jobs"`, or `Lock at 0x550000012340`: for messages.
  std::string Describe() const;
};
static_assert(sizeof(ObjectHeader) == 32);

// A cell of `size` bytes for an object, with its name and one handle, not yet
// seen by anybody: the caller makes the rest of the state, and then publishes it.
absl::StatusOr<ObjectHeader*> MakeCell(size_t size, size_t alignment, std::string_view name);
void PublishCell(ObjectHeader* cell, ObjectType type);
// The end of an object: its cell is this process's again, to free what the object has.
void RetireCell(ObjectHeader* cell);
// Frees a cell, retired or never published, and its name. The object's other blocks are
// gone.
void FreeCell(ObjectHeader* cell);

// The end of a constructor that cannot get what it needs.
[[noreturn]] void CannotMake(ObjectType type, size_t size, std::string_view name,
                             const absl::Status& why);

// One handle. State has ObjectHeader as its base, and a FreeBlocks() that the last handle
// of the maker calls before the cell is freed. Copies count; a move is a copy, so there
// is no handle without an object.
//
// A handle counts where the object's maker made it and drops it. A forked child has its
// parent's handles and must not count them down, least of all when it has since made an
// object of its own in the cell that such a handle once meant; and a handle that lies in
// the domain may be made by one process and dropped by another. So a handle knows who
// made it: the upper 16 bits, which no address needs, are the low ones of that process's
// id.
template <typename State>
class Handle {
 public:
  // Takes over the one handle that a new cell counts.
  explicit Handle(State* state) : word_(Made(state)) {}

  Handle(const Handle& other) noexcept : word_(Made(other.get())) {
    if (Counts()) get()->handles.fetch_add(1, std::memory_order_relaxed);
  }
  Handle& operator=(const Handle& other) noexcept {
    Handle copy(other);
    std::swap(word_, copy.word_);
    return *this;
  }
  ~Handle() {
    // Release: what was done through this handle comes before the end of the object.
    if (Counts() && get()->handles.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      if (get()->Busy()) return;
      RetireCell(get());
      get()->FreeBlocks();
      FreeCell(get());
    }
  }

  State* get() const {
    return reinterpret_cast<State*>(word_ & ((uint64_t{1} << kAddressBits) - 1));
  }
  State& operator*() const { return *get(); }
  State* operator->() const { return get(); }

 private:
  static constexpr int kAddressBits = 48;

  static uint64_t ThisProcess() { return Domain::Current()->ThisProcess().identity(); }
  static uint64_t Made(State* state) {
    return reinterpret_cast<uint64_t>(state) | (ThisProcess() << kAddressBits);
  }
  // Made here, by the process that made the object.
  bool Counts() const {
    const uint64_t self = ThisProcess();
    return get()->maker.load(std::memory_order_relaxed) == self &&
           word_ >> kAddressBits == (self & 0xffff);
  }

  uint64_t word_;
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_OBJECT_H_
