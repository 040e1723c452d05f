#include "mp/internal/handle_mark.h"

#include <cstdint>

#include "shared/domain.h"
#include "shared/internal/object_header.h"

namespace mp::internal {
namespace {

// A bijection for either argument, as of splitmix64.
uint64_t Mix(uint64_t a, uint64_t b) {
  uint64_t mixed = (a ^ (a >> 30)) * 0xbf58476d1ce4e5b9 + b;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
  return mixed ^ (mixed >> 31);
}

}  // namespace

HandleMark HandleMark::Of(const ObjectHeader& object, uint64_t type) {
  const DomainHeader& domain = Domain::Current()->header();
  const uint64_t state = object.state.load(std::memory_order_acquire);
  const uint64_t place = Mix(domain.id[1], reinterpret_cast<uint64_t>(&object));
  return {.family = domain.id[0], .check = Mix(Mix(place, state), type)};
}

uint64_t HandleMark::FamilyHere() {
  const Domain* domain = Domain::Current();
  return domain != nullptr ? domain->header().id[0] : 0;
}

}  // namespace mp::internal
