// A program that forks when it is asked to, for fork_benchmark: the same in one that shares, in
// one that could, and in one that knows nothing of the library.

#ifndef MP_TESTS_BENCHMARKS_FORK_SERVER_H_
#define MP_TESTS_BENCHMARKS_FORK_SERVER_H_

#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

namespace mp::benchmarks {

inline double NowInMicroseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return 1e6 * static_cast<double>(now.tv_sec) + 1e-3 * static_cast<double>(now.tv_nsec);
}

// What is asked, and the answer: microseconds, means of `forks`.
struct ForkQuestion {
  int forks;
  int in_child;  // index of what the child does; 0: it ends at once
};
struct ForkAnswer {
  double fork;      // until the parent goes on
  double all;       // until the child is reaped
  double in_child;  // what it does there
};

// Answers questions from the standard input until there are no more.
template <typename... InChild>
int ServeForks(const InChild&... in_child) {
  void* memory =
      mmap(nullptr, sizeof(double), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  volatile double& taken = *static_cast<double*>(memory);
  ForkQuestion question;
  while (read(STDIN_FILENO, &question, sizeof(question)) == sizeof(question)) {
    ForkAnswer answer{};
    for (int i = 0; i < question.forks; ++i) {
      const double begin = NowInMicroseconds();
      const pid_t pid = fork();
      if (pid == 0) {
        const double started = NowInMicroseconds();
        int index = 0;
        ((++index == question.in_child ? in_child() : void()), ...);
        taken = NowInMicroseconds() - started;
        _exit(0);
      }
      const double forked = NowInMicroseconds();
      if (pid < 0 || waitpid(pid, nullptr, 0) != pid) return 1;
      const double ended = NowInMicroseconds();
      answer.fork += (forked - begin) / question.forks;
      answer.all += (ended - begin) / question.forks;
      answer.in_child += taken / question.forks;
    }
    if (write(STDOUT_FILENO, &answer, sizeof(answer)) != sizeof(answer)) return 1;
  }
  return 0;
}

}  // namespace mp::benchmarks

#endif  // MP_TESTS_BENCHMARKS_FORK_SERVER_H_
