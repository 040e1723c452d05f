// tests/support/let_fail.h
//
// LetFail: from now on, in this process and what it forks, a system call fails.
//
//   ASSERT_TRUE(LetFail(SYS_clone, EAGAIN));
//   EXPECT_EQ(fork(), -1);

#ifndef MP_TESTS_SUPPORT_LET_FAIL_H_
#define MP_TESTS_SUPPORT_LET_FAIL_H_

namespace mp::testing {

// False: the kernel does not let us. There is no way back.
bool LetFail(unsigned int call, int error);

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_LET_FAIL_H_
