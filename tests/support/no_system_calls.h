// tests/support/no_system_calls.h
//
// What works without a system call: shown in a child that any system call kills.
//
//   const int status = EndWithoutSystemCalls([&] { WarmUp(); }, [&] { Operation(); });
//   EXPECT_EQ(status, 0) << (KilledForSystemCall(status) ? "killed for a system call" : "");
//
// Where SystemCallsCanBeForbidden() says no, there is nothing to be shown.

#ifndef MP_TESTS_SUPPORT_NO_SYSTEM_CALLS_H_
#define MP_TESTS_SUPPORT_NO_SYSTEM_CALLS_H_

#include <functional>

namespace mp::testing {

// False where the kernel does not let us, or a sanitizer makes calls of its own.
bool SystemCallsCanBeForbidden();

// From here on this process may only end, by EndNow().
void ForbidSystemCalls();
[[noreturn]] void EndNow(int status);

// What wait(2) tells of a child that runs `prepare`, and then `body` without system calls.
int EndWithoutSystemCalls(const std::function<void()>& prepare, const std::function<void()>& body);
bool KilledForSystemCall(int status);

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_NO_SYSTEM_CALLS_H_
