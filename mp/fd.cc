#include "mp/fd.h"

#include <unistd.h>

#include "mp/internal/decoder_access.h"
#include "mp/internal/encoder_access.h"

namespace mp {

void Fd::Close() {
  if (has_value()) close(release());
}

void Codec<Fd>::Encode(const Fd& value, Encoder& encoder) {
  encoder.Put(value.has_value());
  if (value.has_value()) internal::EncoderAccess::PutDescriptorCopy(encoder, value.get());
}

Fd Codec<Fd>::Decode(Decoder& decoder) {
  return decoder.Get<bool>() ? Fd(internal::DecoderAccess::GetDescriptor(decoder)) : Fd();
}

}  // namespace mp
