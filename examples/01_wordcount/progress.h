// ProgressBar: how far the work is, on stderr if that is a terminal, else nowhere. It is
// gone when the object is.

#ifndef MP_EXAMPLES_01_WORDCOUNT_PROGRESS_H_
#define MP_EXAMPLES_01_WORDCOUNT_PROGRESS_H_

#include <cstddef>
#include <string>

namespace wordcount {

class ProgressBar {
 public:
  explicit ProgressBar(size_t total);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void Update(size_t done);

 private:
  const size_t total_;
  const bool visible_;
  std::string shown_;
};

// "[#####     ]  50% 21/42 files", where `done` is no more than `total`.
std::string ProgressLine(size_t done, size_t total);

}  // namespace wordcount

#endif  // MP_EXAMPLES_01_WORDCOUNT_PROGRESS_H_
