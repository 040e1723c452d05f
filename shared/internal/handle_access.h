// HandleAccess: how messages get at what a handle is made of, and make one of that again
// (mp/internal/handle_codec.h). What travels in messages, a Lock, say, has among its private
// members
//
//   friend struct internal::HandleAccess;
//   using Travels = Lock;
//
// and one called state_, lock_ or counter_, of which it can be made.

#ifndef MP_SHARED_INTERNAL_HANDLE_ACCESS_H_
#define MP_SHARED_INTERNAL_HANDLE_ACCESS_H_

#include <type_traits>
#include <utility>

namespace mp::internal {

struct HandleAccess {
  // Whether H is such a handle; what is derived from one is not.
  template <typename H>
  static constexpr bool IsHandle() {
    if constexpr (requires { typename H::Travels; }) {
      return std::is_same_v<typename H::Travels, H>;
    } else {
      return false;
    }
  }

  // The Handle<State> of `handle`.
  template <typename H>
  static const auto& StateOf(const H& handle) {
    if constexpr (requires { handle.state_; }) {
      return handle.state_;
    } else if constexpr (requires { handle.lock_; }) {
      return StateOf(handle.lock_);
    } else {
      return StateOf(handle.counter_);
    }
  }

  // An H of a handle to its state and, where it goes with another's lock, of one to that.
  template <typename H, typename StateHandle>
  static H Make(const StateHandle& state) {
    if constexpr (requires(const H& handle) { handle.state_; }) {
      return H(state);
    } else if constexpr (requires(const H& handle) { handle.lock_; }) {
      return H(decltype(H::lock_)(state));
    } else {
      return H(decltype(H::counter_)(state));
    }
  }
  template <typename H, typename StateHandle, typename LockHandle>
  static H Make(const StateHandle& state, const LockHandle& lock) {
    // A lock is made of a handle, and H of what that is made of.
    using Lock = std::remove_cvref_t<decltype(std::declval<const H&>().GetLock())>;
    return H(state, decltype(Lock::lock_)(lock));
  }
};

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_HANDLE_ACCESS_H_
