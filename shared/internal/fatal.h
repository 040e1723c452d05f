// Fatal: ends this process with one line, for what the program did wrong and
// for what no caller can be told as a value. The other processes go on.
//
//   Fatal("Lock \"jobs\": released by pid 12, which does not hold it");
//
// Writes "mp: <message>\n" to stderr with one write(2), so that lines of several
// processes do not mix, and calls abort(). Safe in a forked child and in a
// signal handler as far as building the message is.

#ifndef MP_SHARED_INTERNAL_FATAL_H_
#define MP_SHARED_INTERNAL_FATAL_H_

#include <string_view>

namespace mp::internal {

[[noreturn]] void Fatal(std::string_view message);

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_FATAL_H_
