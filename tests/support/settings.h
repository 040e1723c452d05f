// tests/support/settings.h
//
// What the environment asks of the tests, in one place.
//
//   MP_STRESS        set, and not "0": full sweeps, long runs
//   MP_SEED          a number: the seed of everything random in the tests
//   MP_TEST_TIMEOUT  seconds that one test may take; 0: for ever

#ifndef MP_TESTS_SUPPORT_SETTINGS_H_
#define MP_TESTS_SUPPORT_SETTINGS_H_

#include <chrono>
#include <cstdint>

namespace mp::testing {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;
#endif

// By how much a program is slower than usual: 1, or more under a sanitizer.
inline constexpr int kSlowness = kSanitized ? 10 : 1;

// Whether MP_STRESS asks for long runs.
bool Stress();

// The number in MP_SEED, or `otherwise`.
uint64_t Seed(uint64_t otherwise);

// How long something may take before it counts as hanging for ever: generous,
// since a busy machine is not a fault. Never negative; 0 is "for ever".
std::chrono::milliseconds HangLimit();

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_SETTINGS_H_
