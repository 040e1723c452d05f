// tests/mp/left_behind.h
//
// What a start that fails, or a process that has ended, may leave behind: descriptors and children.
//
//   const int before = Descriptors();
//   EXPECT_FALSE(Popen({"/no/such/program"}).Start().ok());
//   EXPECT_EQ(Descriptors(), before);
//   EXPECT_FALSE(HasChildren());

#ifndef MP_TESTS_MP_LEFT_BEHIND_H_
#define MP_TESTS_MP_LEFT_BEHIND_H_

#include <dirent.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace mp::testing {

// How many `pid` has open, and a few more, always as many; 0: there is no such process, or no
// descriptor to look with.
inline int Descriptors(pid_t pid = getpid()) {
  int n = 0;
  DIR* const folder = opendir(("/proc/" + std::to_string(pid) + "/fd").c_str());
  if (folder == nullptr) return 0;
  while (readdir(folder) != nullptr) ++n;
  closedir(folder);
  return n;
}

// Whether this process has any that run, or that it has not reaped.
inline bool HasChildren() { return waitid(P_ALL, 0, nullptr, WEXITED | WNOHANG | WNOWAIT) == 0; }

}  // namespace mp::testing

#endif  // MP_TESTS_MP_LEFT_BEHIND_H_
