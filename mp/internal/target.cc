#include "mp/internal/target.h"

#include <memory>

#include "mp/codec.h"
#include "mp/internal/part.h"

namespace mp::internal {

std::unique_ptr<StoredTarget> DecodeTarget(Decoder& decoder) {
  const auto decode = DecodePart<TargetDecoder>(decoder);
  if (decode == nullptr) decoder.Fail("no target");
  return decode(decoder);
}

}  // namespace mp::internal
