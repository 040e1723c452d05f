// SetForkserverPreload: what the fork server has ready for the children that it forks.
//
//   mp::SetForkserverPreload([] { LoadTables(); });
//   mp::SetStartMethod(mp::StartMethod::kForkserver);
//
// The server is a small process that is spawned at the first start by StartMethod::kForkserver, and
// that all of the family use. It runs `preload` before it forks for the first time, so that its
// children have what that has made: tables, caches, libraries. It has one thread when it
// forks if `preload` leaves no other behind.
//
// A free function, a static member or a lambda without captures; nullptr: none. For servers that
// this process starts from now on. A server that is killed is replaced at the next start, and the
// new one runs it again; what it throws, or an exit() in it, ends the server, and Start() fails
// after three of them.
//
// Threads:  from any number.

#ifndef MP_MP_FORKSERVER_H_
#define MP_MP_FORKSERVER_H_

namespace mp {

void SetForkserverPreload(void (*preload)());

}  // namespace mp

#endif  // MP_MP_FORKSERVER_H_
