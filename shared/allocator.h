// Allocator: puts the memory of standard containers into the domain.
//
//   mp::Shared<std::vector<int, mp::Allocator<int>>> numbers;
//   numbers->push_back(1);                      // by any process, under a lock of yours
//
// Whose the memory is follows from where the container lies: inside a block or an object
// of the domain, it is that block's owner, so a Shared<std::vector> that process B grew
// survives B. Elsewhere (on a stack, say) it is the calling process. Containers in
// containers follow too: elements are built with the allocator of what holds them.
//
// Ordering: none: to change a container while others use it takes a lock of yours.
// Threads:  allocators from any number, and any process, at once; a container as it says.
// Death:    standard containers are not crash-safe: after a process died in the middle
//           of changing one, build it anew with Shared<T>::Reset().
// Errors:   std::bad_alloc, as containers expect; its what() says which limit was met.
// Fork:     containers that keep pointers into the executable (absl::flat_hash_map, virtual
//           functions, std::function) work only among processes forked from one another.
//           A container outside the domain is copied by a fork, its memory is not: that
//           stays the parent's, to free when it likes. The child may look at it until then,
//           and frees nothing. What both are to have goes into a Shared.
// Misuse:   moving a whole object that has containers as members (a struct of vectors) from
//           a stack into the domain leaves it with memory of the calling process: build
//           it in place.
//           swap() of containers, or of strings, of different owners is undefined, as the
//           standard has it for allocators that differ: each would go on with memory that
//           goes when the other's owner does. Move them by way of a third; between owners
//           a move assignment moves element by element, and may throw.
//           absl::flat_hash_map, where it is built with the address sanitizer, forbids its
//           free slots, in the one process that frees them: what others put there looks
//           like an error to it. Take std::unordered_map, as examples/01_wordcount does.
// Cost:     8 bytes a container; for each block the heap's, and a search, without a lock,
//           for what the container lies in.

#ifndef MP_SHARED_ALLOCATOR_H_
#define MP_SHARED_ALLOCATOR_H_

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "absl/status/statusor.h"
#include "shared/heap.h"
#include "shared/owner.h"

namespace mp {
namespace internal {

// The owner of memory that is needed at `place`; kNone: the calling process.
Owner OwnerAt(const void* place);
// Owner kNone: the calling process.
absl::StatusOr<void*> AllocateBlock(size_t size, size_t alignment, Owner owner);
// Throws std::bad_alloc.
void* AllocateOrThrow(size_t size, size_t alignment, Owner owner);
void FreeBlock(void* block);
// The same, for a container whose memory is `owner`'s; but what a fork left to this
// process is its parent's to free.
void FreeBlockOf(void* block, Owner owner);

}  // namespace internal

template <typename T>
class Allocator {
 public:
  using value_type = T;
  // A container keeps its allocator, as it keeps its place.
  using propagate_on_container_copy_assignment = std::false_type;
  using propagate_on_container_move_assignment = std::false_type;
  using propagate_on_container_swap = std::false_type;
  using is_always_equal = std::false_type;

  Allocator() noexcept = default;
  // For a container that lies outside the domain.
  explicit Allocator(Owner owner) noexcept : owner_(owner) {}
  Allocator(const Allocator& other) noexcept : owner_(other.owner()) {}
  template <typename U>
  Allocator(const Allocator<U>& other) noexcept  // NOLINT(google-explicit-constructor): to rebind
      : owner_(other.owner()) {}
  // What it has is bound to its place.
  Allocator& operator=(const Allocator&) noexcept { return *this; }
  ~Allocator() = default;

  Allocator select_on_container_copy_construction() const { return Allocator(); }

  [[nodiscard]] T* allocate(size_t count) {
    static_assert(alignof(T) <= Heap::kMaxAlignment, "aligned to more than a page");
    if (count > static_cast<size_t>(-1) / 2 / sizeof(T)) throw std::bad_array_new_length();
    return static_cast<T*>(internal::AllocateOrThrow(count * sizeof(T), alignof(T), owner()));
  }
  void deallocate(T* block, size_t) noexcept { internal::FreeBlockOf(block, owner()); }

  // Elements that take an allocator get this one.
  template <typename U, typename... Args>
  void construct(U* place, Args&&... args) {
    std::uninitialized_construct_using_allocator(place, *this, std::forward<Args>(args)...);
  }

  // Whose the memory is that it allocates; kNone: the calling process.
  Owner owner() const noexcept {
    const Owner here = internal::OwnerAt(this);
    return here.kind() != Owner::Kind::kNone ? here : owner_;
  }

  // Equal when memory may pass from one container to the other with its owner.
  template <typename U>
  friend bool operator==(const Allocator& a, const Allocator<U>& b) noexcept {
    return a.owner() == b.owner();
  }

 private:
  Owner owner_;
};

}  // namespace mp

#endif  // MP_SHARED_ALLOCATOR_H_
