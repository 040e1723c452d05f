// WordPair: two words of shared memory that change at once, beside Atomic (atomic.h).
//
//   TwoWords seen = {pair.first().load(), pair.second()};
//   while (!pair.Exchange(seen, {seen.first + 1, mine})) {}
//
// Read one after the other they may be of different times; Exchange() changes nothing then. The
// first may be changed alone, too.
//
// A model build has another: that of the header that MP_MODEL_ATOMIC names.

#ifndef MP_SHARED_INTERNAL_WORD_PAIR_H_
#define MP_SHARED_INTERNAL_WORD_PAIR_H_

#include <cstdint>

#include "shared/internal/atomic.h"

#ifndef MP_MODEL_ATOMIC

namespace mp::internal {

struct TwoWords {
  uint64_t first = 0;
  uint64_t second = 0;
};

class alignas(16) WordPair {
 public:
  // By its maker.
  void Init(TwoWords words) {
    first_.store(words.first, std::memory_order_relaxed);
    second_.store(words.second, std::memory_order_relaxed);
  }
  Word& first() { return first_; }
  const Word& first() const { return first_; }
  uint64_t second() const { return second_.load(std::memory_order_seq_cst); }

  // To `words`. False: they are not `seen`, and `seen` is what they are. Sequentially consistent.
  [[nodiscard]] bool Exchange(TwoWords& seen, TwoWords words) {
    bool changed;
    Seen();
    // By hand: what compilers have is a call of a library, which may take a lock for it.
    asm volatile("lock cmpxchg16b (%[pair])"
                 : "=@ccz"(changed), "+a"(seen.first), "+d"(seen.second)
                 : [pair] "r"(this), "b"(words.first), "c"(words.second)
                 : "memory");
    Seen();
    return changed;
  }

 private:
#if defined(__SANITIZE_THREAD__)
#define MP_WORD_PAIR_SEEN_BY_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MP_WORD_PAIR_SEEN_BY_SANITIZER 1
#endif
#endif
  // The thread sanitizer does not see what is written by hand.
  void Seen() {
#ifdef MP_WORD_PAIR_SEEN_BY_SANITIZER
    first_.fetch_add(0, std::memory_order_seq_cst);
#endif
  }

  Word first_;
  Word second_;
};
static_assert(sizeof(WordPair) == 2 * sizeof(Word));

}  // namespace mp::internal

#endif  // MP_MODEL_ATOMIC

#endif  // MP_SHARED_INTERNAL_WORD_PAIR_H_
