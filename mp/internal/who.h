// Who: a process as the others know it.

#ifndef MP_MP_INTERNAL_WHO_H_
#define MP_MP_INTERNAL_WHO_H_

#include <sys/types.h>

#include <memory>
#include <string>

#include "mp/internal/sentinel.h"

namespace mp::internal {

struct Who {
  pid_t pid = 0;
  std::string name = {};
  bool daemon = false;
  std::shared_ptr<const Sentinel> sentinel = nullptr;  // none: this process itself
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_WHO_H_
