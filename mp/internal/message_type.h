// MessageType: which type a message of a Connection is of, told by its first 8 bytes: the type's
// hash, or kPlainBytes. Every type that this program sends or receives so has its name in a list,
// for messages of errors.

#ifndef MP_MP_INTERNAL_MESSAGE_TYPE_H_
#define MP_MP_INTERNAL_MESSAGE_TYPE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "mp/type_name.h"
#include "shared/internal/atomic.h"

namespace mp::internal {

// What SendBytes() sends; no hash is 0.
inline constexpr uint64_t kPlainBytes = 0;

// Beside the hash: the message has descriptors. No hash has this bit.
inline constexpr uint64_t kHasDescriptors = uint64_t{1} << 63;

class MessageType {
 public:
  MessageType(uint64_t hash, std::string_view name) : hash_(hash), name_(name) {
    next_ = first_.load(std::memory_order_relaxed);
    while (!first_.compare_exchange_weak(next_, this, std::memory_order_release)) {
    }
  }
  MessageType(const MessageType&) = delete;
  MessageType& operator=(const MessageType&) = delete;

  template <class T>
  static uint64_t Of();
  static std::string NameOf(uint64_t hash);

 private:
  static inline constinit Atomic<const MessageType*> first_{nullptr};

  const uint64_t hash_;
  const std::string_view name_;
  const MessageType* next_;
};

template <class T>
inline const MessageType kMessageType(TypeHash<T>() & ~kHasDescriptors, TypeName<T>());

template <class T>
uint64_t MessageType::Of() {
  static_cast<void>(&kMessageType<T>);  // so that it is in the list
  return TypeHash<T>() & ~kHasDescriptors;
}

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_MESSAGE_TYPE_H_
