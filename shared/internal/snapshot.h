// Snapshot: who is in a family and what objects it has, read while the family goes on.
//
//   Snapshot snapshot = TakeSnapshot(DomainMemory::OfFile(fd, *header), Evidence::kThorough);
//
// It takes no lock and writes nothing, so that it holds nobody up and hangs on nobody: not
// on a process that is stopped or was killed while it held all locks of the heap. It
// believes nothing: each address is looked up in the domain, each length and count has a
// bound, and pages are visited in rising order, each at most once. So it ends, and crashes on
// no bytes whatever.
//
// What it tells though others change the heap meanwhile: each object that was there all the
// time, once; each process that was there all the time, but one that changed its own slot at
// every try. Why no object is missed: a tag that says that a span begins is true, or was a
// moment ago (P2 of page_heap.h), or will be when the commit that is being applied is done;
// so a span that it covers can be passed by, and other pages are visited one by one. A slab
// of cells is never given back, so none is covered by a span, ever.
// An object is told of when its cell had the same owner, itself, and the same state before
// and after its name was read (O1, O2 of object_header.h). `bytes` may be of different moments.

#ifndef MP_SHARED_INTERNAL_SNAPSHOT_H_
#define MP_SHARED_INTERNAL_SNAPSHOT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shared/internal/domain_memory.h"
#include "shared/internal/process_table.h"
#include "shared/internal/proof_of_death.h"
#include "shared/object_info.h"

namespace mp::internal {

struct Snapshot {
  static constexpr size_t kLongestName = 255;

  std::vector<ProcessTable::Entry> processes;  // in order of their slots
  std::vector<ObjectInfo> objects;             // in order of their addresses

  size_t commit_limit = 0;  // bytes of memory that blocks may take
  size_t committed = 0;     // bytes that they have taken
  size_t in_use = 0;        // bytes of blocks in use, as rounded up
  size_t blocks = 0;        // how many

  // nullptr: none has that id.
  const ProcessTable::Entry* Find(ProcessId id) const;
};

// Processes of whose death there is `evidence` are DEAD in it; nothing: only those that the
// domain knows to be. Not for who knows the processes of the family by other pids.
Snapshot TakeSnapshot(const DomainMemory& memory, std::optional<Evidence> evidence);

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_SNAPSHOT_H_
