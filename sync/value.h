// Value: one value in the domain, with a lock. A handle: copies mean the same value.
//
//   mp::Value<int> done(0);
//   mp::Process child([done] {
//     done.Update([](int& n) { ++n; });  // nobody else's is lost
//   });
//
// Get(), Set() and Update() each take the lock. What needs several of them takes it around them:
//
//   mp::LockGuard guard(done);
//   if (done.Get() == total) done.Set(0);
//
// The lock is an RLock of its own, or the Lock or RLock that it was made with, which several
// values may share. With a Lock, which its holder may not take again, the holder has to use Raw()
// instead of Get(), Set() and Update().
//
// Ordering: the lock's: what a holder did is visible to the next one. Raw() does not take it.
// Death:    Get(), Set() and Update() go on after a holder has died; owner_died() tells the holder
//           of the lock, until MarkConsistent(). Set() and Update() change a value of up to 8
//           bytes whole or not at all; a larger one may be left half-written, by a death as they
//           store it. While the function of Update() runs, nothing is stored. A handle is two
//           words: killed while it assigns one that lies in the domain, a process may leave it
//           with the lock of one value and the other value.
// Fork:     a child has the handle, never the hold.
// Lifetime: that of a Shared (shared/shared.h), for whoever has the handle or a copy of GetLock();
//           and no shorter than it is held.
// Signals:  not in a signal handler.
// Misuse:   a Release() by anybody but the holder: this process ends, with one line that names the
//           value, or the lock that it was made with. Raw() without the lock is a data race.
// Limit:    as for Lock. The value and its lock fit a cell: at most some 8,000 bytes.
// Cost:     120 bytes of the domain for a value of up to 8 bytes, lock and all; two words where the
//           handle is. Uncontended, no system call. Update() and Set() copy the value. Figures in
//           docs/benchmarks.md.
//
// Without thread-safety annotations, as RLock.

#ifndef MP_SYNC_VALUE_H_
#define MP_SYNC_VALUE_H_

#include <concepts>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/statusor.h"
#include "shared/internal/atomic.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"
#include "shared/internal/object.h"
#include "sync/internal/robust_lock.h"
#include "sync/internal/with_lock.h"
#include "sync/lock_guard.h"  // IWYU pragma: export

namespace mp {

struct ValueOptions {
  std::string name = {};  // for messages and listings
};

// T may not point out of the domain. GetLock(), Acquire() and what else a lock has:
// sync/internal/with_lock.h.
template <typename T>
class Value : public internal::WithLock {
  static_assert(std::is_trivially_copyable_v<T>, "use Shared<T> and a Lock");

 public:
  // Each ends the process, with a line that says why, where Create() would fail.
  explicit Value(const T& value = T{}, const ValueOptions& options = {})
      : Value(internal::Handle<State>(MakeOrDie(value, options))) {}
  // With a Lock or an RLock of the caller's.
  template <internal::LockHandle L>
  Value(const T& value, const L& lock, const ValueOptions& options = {})
      : Value(internal::Handle<State>(MakeOrDie(value, options)), internal::RobustLock::Of(lock)) {}
  // kResourceExhausted: no memory; see Domain::Get() for more.
  static absl::StatusOr<Value> Create(const T& value = T{}, const ValueOptions& options = {}) {
    const absl::StatusOr<State*> state = Make(value, options);
    if (!state.ok()) return state.status();
    return Value(internal::Handle<State>(*state));
  }
  template <internal::LockHandle L>
  static absl::StatusOr<Value> Create(const T& value, const L& lock,
                                      const ValueOptions& options = {}) {
    const absl::StatusOr<State*> state = Make(value, options);
    if (!state.ok()) return state.status();
    return Value(internal::Handle<State>(*state), internal::RobustLock::Of(lock));
  }

  T Get() const {
    const LockGuard guard(GetLock());
    return state_->value;
  }
  void Set(const T& value) const {
    const LockGuard guard(GetLock());
    state_->Store(value);
  }
  // Calls `change` with a copy of the value, which it takes by reference and which is stored when
  // it returns; then returns what it returned, which is no reference, and is not stored. Where it
  // throws, nothing is stored. What `change` does to the value by other means, such as Set(), is
  // overwritten.
  template <std::invocable<T&> F>
  auto Update(F&& change) const {
    const LockGuard guard(GetLock());
    T value = state_->value;
    if constexpr (std::is_void_v<std::invoke_result_t<F, T&>>) {
      std::invoke(std::forward<F>(change), value);
      state_->Store(value);
    } else {
      auto result = std::invoke(std::forward<F>(change), value);
      state_->Store(value);
      return result;
    }
  }
  // For the holder of the lock.
  T* Raw() const { return &state_->value; }

 private:
  friend struct internal::HandleAccess;
  using Travels = Value;

  // Layout: LockState, which is its lock unless it was made with another's, then
  //   field   written by   meaning
  //   value   the holder   the value; up to 8 bytes of it are one word, which a store changes at
  //                        once, whatever T is
  //
  //   Repair after a death: the user's, who is told by owner_died().
  struct State : internal::LockState {
    static constexpr bool kIsWord = sizeof(T) <= sizeof(internal::Word);

    union {
      T value;
      internal::Word word;
    };

    void Store(const T& from) {
      if constexpr (kIsWord) {
        uint64_t bits = 0;
        std::memcpy(&bits, &from, sizeof(T));
        // Before: the old value.
        // After:  the new one; its holder's death is told all the same.
        // Test:   ValueCrashTest.AWordIsSetWholeOrNotAtAll
        word.store(bits, std::memory_order_relaxed);  // the lock orders it
      } else {
        // As its bytes: `from` may lie on a sanitizer's stack, which is aligned to less than T.
        std::memcpy(static_cast<void*>(&value), &from, sizeof(T));
      }
    }
  };
  static_assert(sizeof(State) <= 8192, "larger than a cell; use Array, or Shared and a Lock");
  static_assert(!State::kIsWord || sizeof(State) <= 112);  // with its owner word, 120 bytes

  explicit Value(const internal::Handle<State>& state)
      : WithLock(internal::Handle<internal::LockState>(state)), state_(state) {}
  Value(const internal::Handle<State>& state, const internal::RobustLock& lock)
      : WithLock(lock), state_(state) {}

  static absl::StatusOr<State*> Make(const T& value, const ValueOptions& options) {
    return internal::MakeObject<State>(internal::ObjectType::kValue, options.name,
                                       [&value](State& state) {
                                         state.Init(/*recursive=*/true);
                                         state.Store(value);
                                       });
  }
  static State* MakeOrDie(const T& value, const ValueOptions& options) {
    return internal::OrCannotMake(Make(value, options), internal::ObjectType::kValue, sizeof(T),
                                  options.name);
  }

  internal::Handle<State> state_;
};

}  // namespace mp

#endif  // MP_SYNC_VALUE_H_
