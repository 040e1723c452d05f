#include "mp/internal/cargo.h"

#include <cstddef>
#include <new>

#include "absl/types/span.h"
#include "shared/internal/handle.h"
#include "shared/internal/limbo.h"
#include "shared/internal/object_header.h"

namespace mp::internal {

Cargo Cargo::Load(void* place, absl::Span<ObjectHeader* const> objects) {
  auto* const words = static_cast<Word*>(place);
  // First all of it: what lay there before might be taken for handles.
  for (size_t i = 0; i < objects.size(); ++i) new (words + i) Word(0);
  for (size_t i = 0; i < objects.size(); ++i) CopyHandle(words[i], words[i], objects[i]);
  return Cargo(place, objects.size());
}

void Cargo::Drop() const { DropHandlesIn(words_.data(), words_.size() * sizeof(Word)); }

}  // namespace mp::internal
