#include "mp/internal/message_type.h"

#include <cstdint>
#include <string>

namespace mp::internal {

std::string MessageType::NameOf(uint64_t hash) {
  if (hash == kPlainBytes) return "bytes, of SendBytes()";
  for (const MessageType* type = first_.load(std::memory_order_acquire); type != nullptr;
       type = type->next_) {
    if (type->hash_ == hash) return std::string(type->name_);
  }
  return "a type that this process does not know";
}

}  // namespace mp::internal
