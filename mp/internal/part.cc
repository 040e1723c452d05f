#include "mp/internal/part.h"

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/codec.h"
#include "mp/internal/function_id.h"

namespace mp::internal {

void EncodeFunction(const void* function, Encoder& encoder) {
  encoder.Put(function != nullptr);
  if (function == nullptr) return;
  const absl::StatusOr<FunctionId> id = FunctionId::Of(function);
  if (!id.ok()) encoder.Fail(id.status());
  encoder.Put(*id);
}

const void* DecodeFunction(Decoder& decoder) {
  if (!decoder.Get<bool>()) return nullptr;
  const absl::StatusOr<const void*> function = decoder.Get<FunctionId>().Find();
  if (!function.ok()) decoder.Fail(function.status());
  return *function;
}

}  // namespace mp::internal
