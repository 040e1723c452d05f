// ProgressBar: shows how far a call of a pool is, on a terminal.
//
//   mp::Pool pool({.on_progress = mp::ProgressBar("counting")});
//
//   counting [#########           ]  45% 450/1000, 3 failed, 1200/s, 0:01 left
//
// On what is no terminal it writes nothing but the last line, when all is done.
//
// Threads: any number, of one pool's calls: each writes whole lines. Copies mean the same bar.
// Errors:  what cannot be written is not.

#ifndef MP_MP_PROGRESS_BAR_H_
#define MP_MP_PROGRESS_BAR_H_

#include <unistd.h>

#include <cstddef>
#include <string>

#include "mp/pool_options.h"

namespace mp {

class ProgressBar {
 public:
  // `fd`: the terminal; it stays open for as long as there is a copy of this.
  explicit ProgressBar(std::string label = {}, int fd = STDERR_FILENO);

  void operator()(const PoolProgress& progress) const;

 private:
  std::string label_;
  int fd_;
  bool is_terminal_;
};

namespace internal {

// The line of a bar, `columns` long at most.
std::string ProgressLine(const std::string& label, const PoolProgress& progress, size_t columns);

}  // namespace internal
}  // namespace mp

#endif  // MP_MP_PROGRESS_BAR_H_
