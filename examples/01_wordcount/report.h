// Report: what the program prints at its end.

#ifndef MP_EXAMPLES_01_WORDCOUNT_REPORT_H_
#define MP_EXAMPLES_01_WORDCOUNT_REPORT_H_

#include <cstddef>

#include "absl/time/time.h"
#include "examples/01_wordcount/words.h"

namespace wordcount {

// On stdout the result, the same every time: the `top` most frequent words, or all for 0, as
// `uniq -c` prints them, and the totals. On stderr what was skipped, and the speed.
// False: there is no result, or it could not be written.
bool Report(const Tally& tally, size_t top, absl::Duration took);

}  // namespace wordcount

#endif  // MP_EXAMPLES_01_WORDCOUNT_REPORT_H_
