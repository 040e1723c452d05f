// StartMethod: how a Process comes to be.
//
//   mp::SetStartMethod(mp::StartMethod::kSpawn);             // for what is made from now on
//   mp::Process child({.start_method = mp::StartMethod::kForkserver}, &Work, queue);
//
// - kFork: the child has all that its parent has. Its target may be anything that can be called; a
//   start costs more the more memory the parent has.
// - kSpawn: it has what it is given; the program begins anew, at Init(). Its target is a function,
//   with arguments that can be sent; a start costs what the loading of the program does.
// - kForkserver: the same, and what a small process has that was spawned once, and only forks. A
//   start costs a fork of that.
//
// docs/start_methods.md compares them, with figures.
//
// What a child that is spawned, or forked by the server, runs is a function: a free one, a static
// member, or a lambda without captures; of the program, or of a library that it has loaded. It
// is found again by the build id of that file and its place there; nothing has to be registered.
// Arguments travel as messages do (mp/codec.h); handles, Connections and descriptors (mp/fd.h),
// too. What cannot be sent is kInvalidArgument from Start(), which names it.
//
// Such a child needs mp::Init() at the beginning of main(): mp/init.h.
//
// Threads:  from any number.
// Fork:     a child has its parent's; one that was started by another method than that, the one
//           it was started by.

#ifndef MP_MP_START_METHOD_H_
#define MP_MP_START_METHOD_H_

namespace mp {

enum class StartMethod { kFork, kSpawn, kForkserver };

// What a Process gets that says nothing else: at first kFork. Those that are made already keep
// theirs.
void SetStartMethod(StartMethod method);
StartMethod GetStartMethod();

}  // namespace mp

#endif  // MP_MP_START_METHOD_H_
