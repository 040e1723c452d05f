// Object: the making and the end of shared objects, and Handle, the one pointer that refers
// to one. The cell of an object begins with an ObjectHeader (object_header.h).
//
// An object ends when the process that made it drops its last handle, and no child that
// was forked in between, and may have inherited one, is left. Until then it is in limbo. Its
// maker ends it, with ~T, when it learns that they are gone; when the maker dies first, its
// burial, or a later one, gives the memory back without ~T.

#ifndef MP_SHARED_INTERNAL_OBJECT_H_
#define MP_SHARED_INTERNAL_OBJECT_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/domain.h"
#include "shared/internal/atomic.h"
#include "shared/internal/object_header.h"
#include "shared/internal/object_type.h"

namespace mp::internal {

// A cell of `size` bytes for an object, with its name and one handle, not yet
// seen by anybody: the caller makes the rest of the state, and then publishes it.
absl::StatusOr<ObjectHeader*> MakeCell(size_t size, size_t alignment, std::string_view name);
void PublishCell(ObjectHeader* cell, ObjectType type);
// The end of an object, by its maker.
using EndObject = void (*)(ObjectHeader* cell);
using IsBusy = bool (*)(const ObjectHeader* cell);
// After the last handle is dropped: whether the object is busy, or others may have inherited
// a handle. Then `end` is called when that is over; until then the object is in limbo.
[[nodiscard]] bool LeaveToOthers(ObjectHeader* cell, EndObject end, IsBusy is_busy);
// Ends those of this process's objects in limbo that nobody can have any more. Called when
// it has learned of a death.
void EndObjectsInLimbo();
// Its first step: its cell is this process's again, to free what the object has.
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
      if (!LeaveToOthers(get(), &End, &Busy)) End(get());
    }
  }

  State* get() const {
    return reinterpret_cast<State*>(word_ & ((uint64_t{1} << kAddressBits) - 1));
  }
  State& operator*() const { return *get(); }
  State* operator->() const { return get(); }

 private:
  static constexpr int kAddressBits = 48;

  static bool Busy(const ObjectHeader* cell) { return static_cast<const State*>(cell)->Busy(); }
  static void End(ObjectHeader* cell) {
    RetireCell(cell);
    static_cast<State*>(cell)->FreeBlocks();
    FreeCell(cell);
  }
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
