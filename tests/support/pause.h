// tests/support/pause.h
//
// PauseForEver: what a process does that is there to be killed.

#ifndef MP_TESTS_SUPPORT_PAUSE_H_
#define MP_TESTS_SUPPORT_PAUSE_H_

#include <unistd.h>

namespace mp::testing {

inline void PauseForEver() {
  for (;;) pause();
}

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_PAUSE_H_
