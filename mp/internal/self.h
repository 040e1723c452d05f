// Self: what this process is called, and whose child it is.

#ifndef MP_MP_INTERNAL_SELF_H_
#define MP_MP_INTERNAL_SELF_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "mp/internal/who.h"
#include "mp/on_parent_exit.h"
#include "mp/start_method.h"

namespace mp::internal {

// A place in the family tree, in words: "2:1" is the first child of the second child of
// the main process, which has none.
using Place = std::string;

struct Self {
  std::string name = "MainProcess";
  Place place = {};
  bool daemon = false;
  StartMethod start_method = StartMethod::kFork;
  OnParentExit on_parent_exit = OnParentExit::kWait;
  std::optional<Who> parent = std::nullopt;  // none: this is the main process
};

// Constant but for a child's first moments, when it has one thread.
const Self& GetSelf();

// This process, as its child is to know it. kResourceExhausted: no descriptor is left.
absl::StatusOr<Who> WhoIsThis();

// For a process object that this process makes.
Place NextPlace();

// `self` stays where it is for the rest of the process.
void BecomeInChild(Self& self);

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_SELF_H_
