// tests/support/watchdog.h
//
// A watchdog for each test of a program that links this: a test that hangs for
// HangLimit() ends, with words on where all its processes sleep, and so do the
// processes. Nothing has to be called.
//
// The watchdog is a process of its own, without descriptors, that the usual
// wait(2) does not see and no fork handler knows of.

#ifndef MP_TESTS_SUPPORT_WATCHDOG_H_
#define MP_TESTS_SUPPORT_WATCHDOG_H_

namespace mp::testing {

// The running test moves: its time begins anew. For tests that are long by
// design; call it at each round.
void PetWatchdog();

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_WATCHDOG_H_
