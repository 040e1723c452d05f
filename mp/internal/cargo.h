// Cargo: the handles of a message, as words of its block, so that the message has a stake in each
// of their objects, and whoever gives it back without decoding it finds them.
//
//   Cargo cargo = Cargo::Load(place, encoder.handles());    // `place`: of Cargo::Size(n) bytes
//   ...                                                     // the message travels
//   T value = Decode<T>(bytes, cargo.words());              // this process's own stakes, too
//   Cargo(place, n).Drop();                                 // then the message's
//
// `place` lies in the domain, aligned to 8 bytes. Its block is the sending process's while this
// loads it, whose burial then finds the words; and a message's or an object's (Heap::SetOwner()) as
// soon as others may receive it. Who receives it may make it its own. One that is a process's is
// dropped by that one: what its children have of it counts as a copy, and nothing happens. A death
// in here leaves as many stakes as words that say so.

#ifndef MP_MP_INTERNAL_CARGO_H_
#define MP_MP_INTERNAL_CARGO_H_

#include <cstddef>

#include "absl/types/span.h"
#include "shared/internal/atomic.h"
#include "shared/internal/object_header.h"

namespace mp::internal {

class Cargo {
 public:
  static constexpr size_t Size(size_t handles) { return handles * sizeof(Word); }

  // The caller has a handle to each of `objects`.
  static Cargo Load(void* place, absl::Span<ObjectHeader* const> objects);
  Cargo(void* place, size_t handles) : words_(static_cast<Word*>(place), handles) {}

  // For a Decoder; of what else lies there, it finds out that it is no handle.
  absl::Span<const Word> words() const { return words_; }
  // An object that ends by this ends without ~T: only who decodes it knows of what type it is.
  void Drop() const;

 private:
  absl::Span<Word> words_;
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_CARGO_H_
