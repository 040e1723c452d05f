// Once: one of the threads and processes of a family runs something; the others wait until it has
// been run. A handle: copies mean the same.
//
//   mp::Once once;
//   mp::Process child([once, table] {
//     once.Call([&] { Fill(*table); });   // filled, by this process or by another
//     ...
//   });
//
// Ordering: what was done in the call is visible to whoever returns from Call().
// Death:    if the process, or the thread, that runs it dies, the next one runs it, also if that
//           has been waiting; owner_died() tells it that there was one before. Nobody who waits is
//           left asleep by a death.
// Fork:     a child has the handle; its parent's call goes on in the parent alone.
// Lifetime: as that of a Lock (sync/lock.h), which is held during the call.
// Signals:  Done() may be called in a signal handler.
// Misuse:   Call() within the call: this process ends, with one line that names it.
// Throws:   what the call throws goes through, and the next one runs it.
// Cost:     120 bytes of the domain. When it is done Call() is one load. Who waits spins a little,
//           then sleeps; no system call where nobody sleeps. Figures in docs/benchmarks.md.

#ifndef MP_SYNC_ONCE_H_
#define MP_SYNC_ONCE_H_

#include <concepts>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "shared/internal/atomic.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"
#include "sync/internal/lock_state.h"

namespace mp {

struct OnceOptions {
  std::string name = {};  // for messages and listings
};

class Once {
 public:
  // Ends the process, with a line that says why, where Create() would fail.
  Once() : Once(OnceOptions{}) {}
  explicit Once(const OnceOptions& options) : Once(MakeOrDie(options)) {}
  // kResourceExhausted: no memory; see Domain::Get() for more.
  static absl::StatusOr<Once> Create(const OnceOptions& options = {});

  // run(args...), unless it has been run. True: this call has run it. (A child that was forked
  // within it, and comes out of it, gets the same answer, and has ended nothing.)
  template <typename Run, typename... Args>
  requires std::invocable<Run, Args...>
  bool Call(Run&& run, Args&&... args) const {
    if (Done() || !Begin()) return false;
    Ender ender(*this);
    std::invoke(std::forward<Run>(run), std::forward<Args>(args)...);
    ender.Succeed();
    return true;
  }
  bool Done() const { return state_->done.load(std::memory_order_acquire) == State::kDone; }
  // By who runs it: another died in it before.
  bool owner_died() const { return state_->owner_died(); }

 private:
  friend struct internal::HandleAccess;
  using Travels = Once;

  // Layout: LockState, whose lock is held by who runs it, then
  //   done   its holder,  kDone: it has been run, which commits; kSleepers: somebody may sleep
  //          who waits    until it has
  //
  //   Repair after a death: that of the lock.
  struct State : internal::LockState {
    static constexpr uint64_t kDone = 1;
    static constexpr uint64_t kSleepers = 2;

    internal::Word done;
  };

  // The end of the call, however it ends.
  class Ender {
   public:
    explicit Ender(const Once& once) : once_(once) {}
    ~Ender() { once_.End(done_); }
    Ender(const Ender&) = delete;
    Ender& operator=(const Ender&) = delete;
    void Succeed() { done_ = true; }

   private:
    const Once& once_;
    bool done_ = false;
  };

  explicit Once(const internal::Handle<State>& state) : state_(state) {}

  static absl::StatusOr<State*> Make(const OnceOptions& options);
  static internal::Handle<State> MakeOrDie(const OnceOptions& options);
  // False: it is done.
  bool Begin() const;
  bool AnnounceSleeper() const;
  void End(bool done) const;

  internal::Handle<State> state_;
};

// A kill while one that lies in the domain is assigned leaves the one or the other.
static_assert(sizeof(Once) == sizeof(internal::Word));

}  // namespace mp

#endif  // MP_SYNC_ONCE_H_
