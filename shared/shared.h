// Shared: any object, in the domain. A handle: copies mean the same object.
//
//   using Words = std::vector<int, mp::Allocator<int>>;
//   mp::Shared<Words> words;
//   mp::Lock lock;
//   mp::Process child([words, lock] {
//     mp::LockGuard guard(lock);
//     if (guard.owner_died()) {
//       words.Reset();
//       lock.MarkConsistent();
//     }
//     words->push_back(1);
//   });
//
// Ordering: none of its own; what must not be done at once is done under a lock.
// Death:    the object stays as it was left. Reset() builds it anew without looking at
//           what a dead process left half-done; to drop the last handle without that runs
//           ~T on it. What is in the blocks of a dead process, and the handles that it had,
//           go with it.
// Fork:     a child has what its parent has.
// Lifetime: as long as there is a handle in the domain, or a process that has handles of its
//           own, or a child that may have inherited one. Who drops the last one runs ~T, or,
//           where a child may still have one, when it has learned that it is gone; where that
//           process died, the memory comes back without ~T. Objects with handles to one
//           another in a circle stay as long as the domain.
//           A handle lies in memory of one process, or in the domain: not in other shared
//           memory, and its bytes are not copied.
// Errors:   a handle that is copied out of the domain, by another than the maker, takes 24 bytes
//           of it: where there are none the process ends, with a line that says so.
// Threads:  handles from any number; one handle as a std::shared_ptr.
// Signals:  handles are not copied or dropped in a signal handler.
// Misuse:   the object's own. ~T may run in any drop of a handle, and so should take no lock
//           that is held around such; in a long chain it drops link by link, each within the
//           one before it.
// Cost:     80 bytes and the object, in the domain. Access is a load. A handle in the domain, and
//           the first that a process copies out of it, take a lock of the whole domain.
//
// What it holds (as a member, in a container) must have its memory in the domain too:
// containers with mp::Allocator, and handles; no plain pointers out of it. In a tree, a
// Node has a std::vector<Shared<Node>, Allocator<Shared<Node>>>.

#ifndef MP_SHARED_SHARED_H_
#define MP_SHARED_SHARED_H_

#include <concepts>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/heap.h"
#include "shared/internal/atomic.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"
#include "shared/internal/limbo.h"
#include "shared/internal/object.h"
#include "shared/owner.h"

namespace mp {

template <typename T>
class Shared {
 public:
  template <typename... Args>
  requires(!(sizeof...(Args) == 1 && (std::same_as<std::remove_cvref_t<Args>, Shared> && ...)) &&
           std::constructible_from<T, Args...>) explicit Shared(Args&&... args)
      : state_(MakeOrDie(std::forward<Args>(args)...)) {}

  // kResourceExhausted: no memory; see Domain::Get() for more. What T's constructor throws
  // passes through, as it does from the constructor.
  template <typename... Args>
  requires std::constructible_from<T, Args...>
  static absl::StatusOr<Shared> Create(Args&&... args) {
    absl::StatusOr<State*> state = Make(std::forward<Args>(args)...);
    if (!state.ok()) return state.status();
    return Shared(internal::Handle<State>(*state));
  }

  T* get() const { return state_->value; }
  T& operator*() const { return *state_->value; }
  T* operator->() const { return state_->value; }

  // Gives back every block that the object owns and builds it anew, without calling ~T:
  // for an object that a dead process left half-written. Nobody else may use it meanwhile.
  // Handles that were in it are dropped; what ends by that ends without ~T, too.
  // If T's constructor throws, or the process dies in here, there is no object: Reset again,
  // or drop it.
  // Looks at every block of the domain.
  template <typename... Args>
  requires std::constructible_from<T, Args...>
  void Reset(Args&&... args) const {
    // Before: the object is whole, or as a death left it.
    // After:  there is none, only its memory, until it is built.
    // Test:   SharedCrashTest.AnObjectWhoseResetWasKilledCanBeDropped
    state_->built.store(0, std::memory_order_release);
    internal::DropHandlesOf(state_.get());
    state_->FreeAllBut(state_->value);
    Construct(*state_, std::forward<Args>(args)...);
  }

 private:
  friend struct internal::HandleAccess;
  using Travels = Shared;

  // T lies in the cell where it fits, else in a block of the object's.
  static constexpr bool kInCell = sizeof(T) <= 1024 && alignof(T) <= 64;

  struct State : internal::ObjectHeader {
    static_assert(alignof(T) <= Heap::kMaxAlignment, "aligned to more than a page");

    T* value;              // constant
    internal::Word built;  // 1 while there is a T at `value`
    alignas(kInCell ? alignof(T) : 1) std::byte in_cell[kInCell ? sizeof(T) : 1];

    void FreeBlocks() {
      if (built.load(std::memory_order_acquire) == 0) {
        // A Reset() was killed.
        internal::DropHandlesOf(this);
        return FreeAllBut(nullptr);
      }
      std::destroy_at(value);
      if constexpr (!kInCell) internal::FreeBlock(value);
    }
    // Blocks of the object; its name stays.
    void FreeAllBut(const void* block) {
      Domain& domain = *Domain::Current();
      const void* const keep[] = {
          block, reinterpret_cast<void*>(this->name.load(std::memory_order_relaxed))};
      domain.FreeOwnedBy(Owner::Object(this), keep);
    }
  };

  explicit Shared(const internal::Handle<State>& state) : state_(state) {}

  template <typename... Args>
  static void Construct(State& state, Args&&... args) {
    std::uninitialized_construct_using_allocator(
        state.value, Allocator<std::byte>(Owner::Object(&state)), std::forward<Args>(args)...);
    state.built.store(1, std::memory_order_release);
  }

  template <typename... Args>
  static absl::StatusOr<State*> Make(Args&&... args) {
    absl::StatusOr<internal::ObjectHeader*> cell =
        internal::MakeCell(sizeof(State), alignof(State), /*name=*/"");
    if (!cell.ok()) return cell.status();
    // Until it is published; also when T's constructor throws.
    auto discard = [](State* unpublished) {
      if (!kInCell) internal::FreeBlock(unpublished->value);
      internal::FreeCell(unpublished);
    };
    std::unique_ptr<State, decltype(discard)> state(static_cast<State*>(*cell), discard);
    state->value = nullptr;
    if constexpr (kInCell) {
      state->value = reinterpret_cast<T*>(state->in_cell);
    } else {
      absl::StatusOr<void*> block =
          internal::AllocateBlock(sizeof(T), alignof(T), Owner::Object(state.get()));
      if (!block.ok()) return block.status();
      state->value = static_cast<T*>(*block);
    }
    Construct(*state, std::forward<Args>(args)...);
    internal::PublishCell(state.get(), internal::ObjectType::kShared);
    return state.release();
  }

  template <typename... Args>
  static State* MakeOrDie(Args&&... args) {
    return internal::OrCannotMake(Make(std::forward<Args>(args)...), internal::ObjectType::kShared,
                                  sizeof(T), "");
  }

  internal::Handle<State> state_;
};

}  // namespace mp

#endif  // MP_SHARED_SHARED_H_
