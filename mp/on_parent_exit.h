// OnParentExit: what becomes of a child when its parent ends.
//
//                  the parent returns from main()     the parent is killed, or calls _exit()
//                  or calls exit()
//   kKill          SIGTERM, and is waited for         is killed
//   kWait          is waited for                      lives on
//   kDetach        lives on                           lives on
//
//   mp::Process server({.on_parent_exit = mp::OnParentExit::kDetach}, &Serve);
//
// The parent is the process, not the thread that started the child.

#ifndef MP_MP_ON_PARENT_EXIT_H_
#define MP_MP_ON_PARENT_EXIT_H_

namespace mp {

enum class OnParentExit { kKill, kWait, kDetach };

}  // namespace mp

#endif  // MP_MP_ON_PARENT_EXIT_H_
