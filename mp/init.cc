#include "mp/init.h"

#include "mp/internal/spawn.h"

namespace mp {

void Init(int* argc, char*** argv) {
  // First: a child may start children of its own.
  internal::NoteArguments(*argc, *argv);
  internal::RunIfSpawned();
}

}  // namespace mp
