// Init: where a process that was spawned begins.
//
//   int main(int argc, char** argv) {
//     mp::Init(&argc, &argv);      // first of all
//     ...
//   }
//
// In a program that somebody runs it notes the arguments, and returns. In a child that
// StartMethod::kSpawn starts, or the fork server, which is the same program again, it does not: it
// runs the child's target, then what was registered to run at exit, and ends. Such a child has
// the same arguments, the environment and the working directory of its parent, standard input from
// the null device, standard output and error of its parent, and no other descriptor that it was not
// given. No signal is blocked, and none ignored but those of InChildren::kIgnore (mp/signals.h).
// What else it has from whom: docs/start_methods.md.
//
// What stands before it in main(), and global objects, are run by every child. Shared objects that
// are made there are each child's own: hand those over that are to be shared.
//
// Without it kSpawn and kForkserver are refused: children would run main() for themselves, and
// start children. A test program whose main() is GoogleTest's depends on //mp:gtest_main instead.
//
// Threads:  before there are any.
// Errors:   a child that cannot map the family's memory where that is, or cannot decode what
//           it was given, ends with a line that says why, and exit code 1.

#ifndef MP_MP_INIT_H_
#define MP_MP_INIT_H_

namespace mp {

void Init(int* argc, char*** argv);

}  // namespace mp

#endif  // MP_MP_INIT_H_
