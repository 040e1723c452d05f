// JoinableState: the cell of a JoinableQueue: a queue of messages (queue_state.h) that knows of
// each one that was taken whether it is finished, and who has it.
//
// Layout, behind that of QueueState. All of it is written by who has `get`
//   field           meaning
//   book            the redo log of what follows and of `head`; its lock is taken within `get`
//   max_deliveries  constant; 0: no limit
//   done            how many are finished, ever; who waits in Join() sleeps on its low half
//   leased          how many records are of processes
//   returned        how many are in back
//   back            the records that wait for the next one who takes, in order
//   dead            the records of dead letters, in order
//   free            the first record that is none; 0: there is none
//   records         LeaseRecords; 0: none yet
//   accounts        LeaseAccounts; 0: none yet
//   looked          what Deaths() was when the records were last looked through for the dead
//   news            (by all) changes where somebody sleeps who wants to take, and may find what it
//                   did not
//   take_sleeps     (by all) 1: somebody may sleep on the low half of `news`
//   join_sleeps     (by all) 1: somebody may sleep on the low half of `done`
//
//   J1  Where more than one of these words, or `head`, changes, that is one section of the book.
//       Who gets `get` from the dead applies what the book has before it looks at anything.
//   J2  done + leased + returned <= head, in messages. The difference was got, and is not done:
//       each is in the account of who got it until it says so, or dies.
//   J3  A record is in one of: free, back, dead, or it has a process. All but the first have a
//       block of the queue's.
//   J4  Records, accounts and the blocks of J3 are not stray (Q3).
//   J5  A process whose death the family has learned of has no record, as soon as somebody looks
//       whose Deaths() differs from `looked`.
//   Repair after a death: J1, and then as of a QueueState. What a dead process had leased goes to
//   back, or to dead, by the next look; who sleeps is woken to look by each burial.

#ifndef MP_MP_INTERNAL_JOINABLE_STATE_H_
#define MP_MP_INTERNAL_JOINABLE_STATE_H_

#include <cstddef>
#include <cstdint>

#include "mp/internal/queue_ring.h"
#include "mp/internal/queue_state.h"
#include "shared/internal/atomic.h"
#include "shared/internal/futex.h"
#include "shared/internal/journal.h"
#include "shared/internal/object_type.h"

namespace mp::internal {

struct LeaseRecord {
  Word process;     // id of who has it; 0: nobody
  Word next;        // number of the next one in its list; 0: it is the last
  Word deliveries;  // how often it was handed out
  Word block;       // address; 0: it is free
  Word message;     // MessageHead of what is in the block
};

// Records are numbered from 1.
struct LeaseRecords {
  uint64_t count;

  static size_t SizeOf(uint64_t count) {
    return sizeof(LeaseRecords) + count * sizeof(LeaseRecord);
  }
  LeaseRecord& operator[](uint64_t number) {
    return reinterpret_cast<LeaseRecord*>(this + 1)[number - 1];
  }
};

struct LeaseAccount {
  Word process;  // id; 0: nobody's. Commits it
  Word held;     // what it has got, and not said to be done
};

// A hash table, open, by process. It is made anew, of the living, where it is half full.
struct LeaseAccounts {
  uint64_t capacity;  // a power of two

  static size_t SizeOf(uint64_t capacity) {
    return sizeof(LeaseAccounts) + capacity * sizeof(LeaseAccount);
  }
  LeaseAccount& operator[](uint64_t index) {
    return reinterpret_cast<LeaseAccount*>(this + 1)[index];
  }
};

// Of records.
struct LeaseList {
  Word first;
  Word last;
};

struct JoinableState : QueueState {
  Journal book;
  uint64_t max_deliveries;
  Word done;
  Word leased;
  Word returned;
  LeaseList back;
  LeaseList dead;
  Word free;
  Word records;
  Word accounts;
  Word looked;
  Word news;
  Word take_sleeps;
  Word join_sleeps;

  // nullptr: it is another queue.
  static JoinableState* Of(QueueState& state) {
    return state.type() == ObjectType::kJoinableQueue ? static_cast<JoinableState*>(&state)
                                                      : nullptr;
  }

  LeaseRecords* Records() const {
    return reinterpret_cast<LeaseRecords*>(records.load(std::memory_order_relaxed));
  }
  LeaseRecord& Record(uint64_t number) const { return (*Records())[number]; }
  LeaseAccounts* Accounts() const {
    return reinterpret_cast<LeaseAccounts*>(accounts.load(std::memory_order_relaxed));
  }

  // J4. By who has `get`, or is alone.
  template <typename Visit>
  void ForEachBlock(const Visit& visit) const {
    visit(static_cast<const void*>(Accounts()));
    LeaseRecords* const all = Records();
    visit(static_cast<const void*>(all));
    for (uint64_t number = 1; all != nullptr && number <= all->count; ++number) {
      visit(reinterpret_cast<const void*>((*all)[number].block.load(std::memory_order_relaxed)));
    }
  }

  // Hides that of QueueState.
  void FreeBlocks();
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_JOINABLE_STATE_H_
