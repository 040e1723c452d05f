#include "shared/internal/object_header.h"

#include <cstdint>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace mp::internal {

std::string ObjectHeader::Describe() const {
  if (name_view().empty()) {
    return absl::StrCat(NameOf(type()), " at 0x", absl::Hex(reinterpret_cast<uintptr_t>(this)));
  }
  return absl::StrCat(NameOf(type()), " \"", absl::Utf8SafeCEscape(name_view()), "\"");
}

}  // namespace mp::internal
