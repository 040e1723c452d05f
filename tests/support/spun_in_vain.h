// tests/support/spun_in_vain.h
//
// SpunInVain: this thread has of late spun in vain, and so goes to sleep without (spinning.h). For
// victims: a spin is thousands of instructions, all rounds alike.

#ifndef MP_TESTS_SUPPORT_SPUN_IN_VAIN_H_
#define MP_TESTS_SUPPORT_SPUN_IN_VAIN_H_

#include "shared/internal/spinning.h"

namespace mp::testing {

// Holds for the next few waits. It is tried again now and then, so after such a try.
inline void SpunInVain() {
  using internal::Spinning;
  const auto spins = [] { return Spinning::Begin().yields != 0; };
  const auto in_vain = [] { Spinning::End(Spinning::Paid::kNot); };
  while (spins()) in_vain();
  while (!spins()) {
  }
  in_vain();
}

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_SPUN_IN_VAIN_H_
