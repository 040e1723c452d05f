// ChildOrder: what a child that inherits nothing is to be, and to do, as it travels to it.

#ifndef MP_MP_INTERNAL_CHILD_ORDER_H_
#define MP_MP_INTERNAL_CHILD_ORDER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>

#include "mp/codec.h"
#include "mp/internal/forkserver_client.h"
#include "mp/internal/self.h"
#include "mp/internal/surroundings.h"
#include "mp/internal/target.h"

namespace mp::internal {

struct ChildOrder {
  Self self;                             // with its parent
  std::shared_ptr<StoredTarget> target;  // who sends it keeps its own
  std::string folder;                    // to work in; "": where it is
  uint64_t ignored_signals = 0;          // a bit for each: 1 << (signal - 1)
  // Its parent's fork server, for children that it starts itself.
  std::shared_ptr<ForkserverClient> server = nullptr;
  // Set: the surroundings of who sends it go along. A child that is no program of its own, of the
  // fork server, has them when its target runs.
  std::optional<OpenOutput> open_output = std::nullopt;
};

}  // namespace mp::internal

namespace mp {

template <>
struct TravelsOnlyThroughConnection<internal::ChildOrder> : std::true_type {};

template <>
struct Codec<internal::ChildOrder> {
  static void Encode(const internal::ChildOrder& order, Encoder& encoder);
  static internal::ChildOrder Decode(Decoder& decoder);
};

}  // namespace mp

#endif  // MP_MP_INTERNAL_CHILD_ORDER_H_
