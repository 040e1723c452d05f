// Handle: the one pointer that refers to an object (object.h), and counts.

#ifndef MP_SHARED_INTERNAL_HANDLE_H_
#define MP_SHARED_INTERNAL_HANDLE_H_

#include <sys/single_threaded.h>

#include <concepts>
#include <cstdint>

#include "shared/domain.h"
#include "shared/internal/atomic.h"
#include "shared/internal/limbo.h"
#include "shared/internal/object.h"
#include "shared/internal/object_header.h"
#include "shared/internal/stakes.h"

namespace mp::internal {

// The words of handles, in the domain or not. `to` is none so far.
void MakeHandle(Word& to, ObjectHeader* cell);  // the first one of a new object
void CopyHandle(Word& to, const Word& from, ObjectHeader* cell);
// Returns the object that has lost its last stake by that, or none.
[[nodiscard]] Stakes::Look DropHandle(Word& word);
// The same, for a handle in the domain that becomes one to `cell`.
[[nodiscard]] Stakes::Look ReplaceHandle(Word& word, ObjectHeader* cell);
// The same, when the process that made the object has dropped the last one of its own; `state`
// was the object's before.
[[nodiscard]] Stakes::Look DropLastHandle(ObjectHeader* cell, uint64_t state);
// Then whether nobody can have another, and it is this process's cell again, to be freed.
[[nodiscard]] bool RetireAtOnce(ObjectHeader* cell);

// Of the handles that the maker's process has of its own. Returns how many it has then.
inline uint64_t AddHandles(ObjectHeader& object, int64_t count) {
  const auto difference = static_cast<uint64_t>(count);
  if (__libc_single_threaded != 0) {
    const uint64_t handles = object.handles.load(std::memory_order_relaxed) + difference;
    object.handles.store(handles, std::memory_order_relaxed);
    return handles;
  }
  // Release: what was done through a handle comes before the end of the object.
  return object.handles.fetch_add(difference, std::memory_order_acq_rel) + difference;
}

// One handle. State has ObjectHeader as its base, and a FreeBlocks() that is called at its end,
// before the cell is freed. A move is a copy, so there is no handle without an object.
//
// In the domain, whoever makes or drops it, a handle is a stake. Elsewhere it is one process's
// own, and a child of fork has copies that nobody counts. So it knows who made it: the upper 16
// bits, which no address needs, are the low ones of that process's id; 0: it is not counted. A
// child must not count its parent's handles down, least of all when it has since made an object
// of its own in the cell that such a handle once meant.
template <typename State>
class Handle {
 public:
  // Takes over the one handle that a new cell counts.
  explicit Handle(State* state) { MakeHandle(word_, state); }

  // The same as a copy of the handle to `state` that lies in the domain, in this word.
  Handle(const Word& placed, State* state) { CopyHandle(word_, placed, state); }

  Handle(const Handle& other) noexcept { CopyFrom(other); }
  // The same object, for who knows only what it begins with: State ends it as Derived does.
  template <std::derived_from<State> Derived>
  requires(!std::same_as<Derived, State>) explicit Handle(const Handle<Derived>& other) noexcept {
    CopyFrom(other);
  }
  Handle& operator=(const Handle& other) noexcept {
    if (get() == other.get()) return *this;
    if (InDomain(this)) {
      EndOrLeave(ReplaceHandle(word_, other.get()), &End);
    } else {
      Handle copy(other);
      const uint64_t word = copy.word_.load(std::memory_order_relaxed);
      copy.word_.store(word_.load(std::memory_order_relaxed), std::memory_order_relaxed);
      word_.store(word, std::memory_order_relaxed);
    }
    return *this;
  }
  ~Handle() {
    if (!IsMakers()) {
      EndOrLeave(DropHandle(word_), &End);
      return;
    }
    State* const state = get();
    // Before it is dropped: then the cell may be another object's.
    const uint64_t object = state->state.load(std::memory_order_relaxed);
    if (AddHandles(*state, -1) != 0) return;
    if (RetireAtOnce(state)) {
      End(state);
    } else {
      EndOrLeave(DropLastHandle(state, object), &End);
    }
  }

  State* get() const {
    return reinterpret_cast<State*>(word_.load(std::memory_order_relaxed) & Stakes::kAddress);
  }
  State& operator*() const { return *get(); }
  State* operator->() const { return get(); }

 private:
  template <typename Other>
  friend class Handle;

  template <typename Other>
  void CopyFrom(const Handle<Other>& other) noexcept {
    const uint64_t word = other.word_.load(std::memory_order_relaxed);
    if (other.IsMakers() && !InDomain(this)) {
      AddHandles(*other.get(), 1);
      word_.store(word, std::memory_order_relaxed);
    } else {
      CopyHandle(word_, other.word_, other.get());
    }
  }

  static bool InDomain(const void* handle) { return Domain::Current()->Contains(handle); }
  // Whether it is one of those that the maker of its object has of its own, and is here.
  bool IsMakers() const {
    const uint64_t self = Domain::Current()->ThisProcessIfAny();
    return word_.load(std::memory_order_relaxed) >> Stakes::kAddressBits == (self & 0xffff) &&
           !InDomain(this) && get()->maker.load(std::memory_order_relaxed) == self;
  }

  static void End(ObjectHeader* cell) {
    static_cast<State*>(cell)->FreeBlocks();
    FreeCell(cell);
  }

  Word word_;
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_HANDLE_H_
