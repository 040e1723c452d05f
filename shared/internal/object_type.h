// ObjectType: what a cell of the domain can hold. One list for all layers, so that a
// directory, from whatever process, has a name for each.

#ifndef MP_SHARED_INTERNAL_OBJECT_TYPE_H_
#define MP_SHARED_INTERNAL_OBJECT_TYPE_H_

#include <cstdint>
#include <string_view>

namespace mp::internal {

// kNone: free, or being made or dropped.
enum class ObjectType : uint8_t {
  kNone,
  kLock,
  kRLock,
  kShared,
  kRawValue,
  kRawArray,
  kEvent,
  kCondition,
  kValue,
  kArray,
  kSemaphore,
  kBoundedSemaphore,
  kBarrier,
  kLatch,
  kRwLock,
  kOnce,
  kQueue,
  kPipe,
  kSimpleQueue,
  kJoinableQueue,
  kCancellation,
  kPool,
};

inline constexpr std::string_view kObjectTypeNames[] = {
    "none",        "Lock",          "RLock",        "Shared", "RawValue",  "RawArray",
    "Event",       "Condition",     "Value",        "Array",  "Semaphore", "BoundedSemaphore",
    "Barrier",     "Latch",         "RWLock",       "Once",   "Queue",     "Pipe",
    "SimpleQueue", "JoinableQueue", "Cancellation", "Pool",
};

// "?" for a value that is none of ours.
constexpr std::string_view NameOf(ObjectType type) {
  const auto index = static_cast<uint8_t>(type);
  return index < std::size(kObjectTypeNames) ? kObjectTypeNames[index] : "?";
}
static_assert(NameOf(ObjectType::kPool) == "Pool");

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_OBJECT_TYPE_H_
