// Journal: a robust mutex and one redo log. What needs more than one word changed
// at once is changed through it, and is all there or not there at all, wherever the
// process that changes it is killed.
//
//   Journal::Section section(journal);       // locks; replays what a dead holder left
//   section.Set(list.head, block);           // staged: nobody sees it
//   section.Set(block_next, section.Get(list.head));
//   section.Commit();                        // true as a whole
//
// Layout
//   field        written by     read by        meaning
//   mutex_       who locks                     one Section at a time
//   committed_   the holder     next holder    entries that are true though perhaps not
//                                              yet applied; 0: none. Commits a Section.
//   entries_[]   the holder     next holder    address and absolute value of one word
//
//   J1  While committed_ is 0, every word has its value; entries_ are scratch.
//   J2  While committed_ is n, the words are those of the first n entries, whatever
//       stands in memory. Applying them again changes nothing.
//   J3  Every word named in a journal is written under that journal's mutex only.
//   Repair after a death: apply the first committed_ entries, by the next holder.

#ifndef MP_SHARED_INTERNAL_JOURNAL_H_
#define MP_SHARED_INTERNAL_JOURNAL_H_

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "shared/internal/atomic.h"
#include "shared/internal/robust_mutex.h"

namespace mp::internal {

// Shows tests what is private here; defined by them.
struct JournalTestPeer;

class ABSL_LOCKABLE Journal {
 public:
  static constexpr size_t kCapacity = 24;

  class Section;

  void Init();

  // True when no commit is pending: for checks, with the Section held.
  bool Settled() const { return committed_.load(std::memory_order_relaxed) == 0; }

 private:
  friend struct JournalTestPeer;

  struct Entry {
    Word address;
    Word value;
  };

  void Apply(uint64_t count);

  RobustMutex mutex_;
  Word committed_;
  Entry entries_[kCapacity];
};

// Holds the journal's lock from its construction to its end, and stages changes.
// Commit() may be called several times; what was staged and not committed is as if
// it had never been.
class ABSL_SCOPED_LOCKABLE Journal::Section {
 public:
  // Waits until `deadline`, on CLOCK_MONOTONIC, or for ever where there is none: held() tells
  // whether the lock came in time.
  explicit Section(Journal& journal, const timespec* deadline = nullptr)
      ABSL_EXCLUSIVE_LOCK_FUNCTION(journal)
      : journal_(journal) {
    Entered(deadline == nullptr ? journal.mutex_.Lock() : journal.mutex_.LockUntil(*deadline));
  }
  // Does not wait: held() tells whether the lock was free.
  Section(Journal& journal, std::try_to_lock_t) ABSL_EXCLUSIVE_LOCK_FUNCTION(journal)
      : journal_(journal) {
    Entered(journal.mutex_.TryLock());
  }
  ~Section() ABSL_UNLOCK_FUNCTION() {
    if (held_ && !journal_.mutex_.Unlock()) NotHeld();
  }

  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;

  bool held() const { return held_; }

  // The word as it will be after Commit().
  uint64_t Get(const Word& word) const {
    const uint64_t address = reinterpret_cast<uint64_t>(&word);
    for (size_t i = 0; i < staged_; ++i) {
      const Entry& entry = journal_.entries_[i];
      if (entry.address.load(std::memory_order_relaxed) == address) {
        return entry.value.load(std::memory_order_relaxed);
      }
    }
    return word.load(std::memory_order_relaxed);
  }

  void Set(Word& word, uint64_t value) {
    const uint64_t address = reinterpret_cast<uint64_t>(&word);
    size_t i = 0;
    while (i < staged_ && journal_.entries_[i].address.load(std::memory_order_relaxed) != address) {
      ++i;
    }
    if (i == kCapacity) Overflow();
    journal_.entries_[i].address.store(address, std::memory_order_relaxed);
    journal_.entries_[i].value.store(value, std::memory_order_relaxed);
    if (i == staged_) ++staged_;
  }

  void Commit() {
    // Before: nothing of it happened; the entries are scratch (J1).
    // After:  all of it happened; who locks next applies it (J2).
    // Test:   JournalCrashTest.ACommitIsAllOrNothing
    journal_.committed_.store(staged_, std::memory_order_release);  // [A] with [B]
    journal_.Apply(staged_);
    staged_ = 0;
  }

 private:
  void Entered(RobustMutex::Result result) {
    if (result == RobustMutex::Result::kAcquired) {
      held_ = true;
    } else {
      EnteredSlow(result);
    }
  }
  void EnteredSlow(RobustMutex::Result result);
  [[noreturn]] static void Overflow();
  [[noreturn]] static void NotHeld();

  Journal& journal_;
  size_t staged_ = 0;
  bool held_ = false;
};

inline void Journal::Apply(uint64_t count) {
  // Release: no store below may be seen, or be left behind by a death, before [A].
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t address = entries_[i].address.load(std::memory_order_relaxed);
    reinterpret_cast<Word*>(address)->store(entries_[i].value.load(std::memory_order_relaxed),
                                            std::memory_order_release);
  }
  // Before: the next holder applies it all again, to the same effect.
  // After:  the entries are scratch.
  committed_.store(0, std::memory_order_release);
  // What the section stages next may not come before that. A death leaves memory as
  // the instructions stand, so it is enough to tell the compiler.
  CompilerFence();
}

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_JOURNAL_H_
