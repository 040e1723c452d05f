// Atomic: the one place that names std::atomic, so that a model build can put a
// scheduled one in its place: the header that MP_MODEL_ATOMIC names.
//
// A Word is what lives in shared memory: 64 bits, lock-free, at the same address
// in every process of the family.

#ifndef MP_SHARED_INTERNAL_ATOMIC_H_
#define MP_SHARED_INTERNAL_ATOMIC_H_

#include <atomic>
#include <cstdint>

#ifdef MP_MODEL_ATOMIC
#include MP_MODEL_ATOMIC
#endif

namespace mp::internal {

#ifndef MP_MODEL_ATOMIC
template <typename T>
using Atomic = std::atomic<T>;
#endif

using Word = Atomic<uint64_t>;

// Keeps the compiler from moving a store across: enough where a death is to find
// memory as the instructions stand.
inline void CompilerFence() { std::atomic_signal_fence(std::memory_order_seq_cst); }

static_assert(Word::is_always_lock_free);
static_assert(sizeof(Word) == sizeof(uint64_t));

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_ATOMIC_H_
