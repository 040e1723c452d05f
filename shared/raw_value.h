// RawValue: one value in the domain, without a lock. A handle: copies mean the same value.
//
//   mp::RawValue<int> done(0);
//   mp::Process child([done] { *done = 1; });
//
// Ordering: none: Join() the process that writes, or take a lock of yours around it. For
//           an atomic, Shared<std::atomic<int>>.
// Death:    a value of up to 8 bytes is written whole or not at all; a larger one may be
//           left half-written.
// Fork:     a child has what its parent has.
// Lifetime: that of a Shared (shared/shared.h).
// Misuse:   writing in one process while another reads or writes is a data race.
// Cost:     64 bytes and the value, in the domain. Access is a load.

#ifndef MP_SHARED_RAW_VALUE_H_
#define MP_SHARED_RAW_VALUE_H_

#include <cstring>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"
#include "shared/internal/object.h"

namespace mp {

struct RawValueOptions {
  std::string name = {};  // for messages and listings
};

// T may not point out of the domain.
template <typename T>
class RawValue {
  static_assert(std::is_trivially_copyable_v<T>, "use Shared<T>");

 public:
  explicit RawValue(const T& value = T{}, const RawValueOptions& options = {})
      : state_(MakeOrDie(value, options)) {}
  // kResourceExhausted: no memory; see Domain::Get() for more.
  static absl::StatusOr<RawValue> Create(const T& value = T{},
                                         const RawValueOptions& options = {}) {
    const absl::StatusOr<State*> state = Make(value, options);
    if (!state.ok()) return state.status();
    return RawValue(internal::Handle<State>(*state));
  }

  T Get() const { return state_->value; }
  void Set(const T& value) const { state_->value = value; }
  T* Raw() const { return &state_->value; }
  T& operator*() const { return state_->value; }
  T* operator->() const { return &state_->value; }

 private:
  friend struct internal::HandleAccess;
  using Travels = RawValue;

  struct State : internal::ObjectHeader {
    T value;

    void FreeBlocks() {}
  };
  static_assert(sizeof(State) <= 8192, "larger than a cell; use RawArray or Shared");

  explicit RawValue(const internal::Handle<State>& state) : state_(state) {}

  static absl::StatusOr<State*> Make(const T& value, const RawValueOptions& options) {
    return internal::MakeObject<State>(
        internal::ObjectType::kRawValue, options.name, [&value](State& state) {
          // As its bytes: it may lie on a sanitizer's stack, which is aligned to less than T.
          std::memcpy(static_cast<void*>(&state.value), &value, sizeof(T));
        });
  }
  static State* MakeOrDie(const T& value, const RawValueOptions& options) {
    return internal::OrCannotMake(Make(value, options), internal::ObjectType::kRawValue, sizeof(T),
                                  options.name);
  }

  internal::Handle<State> state_;
};

}  // namespace mp

#endif  // MP_SHARED_RAW_VALUE_H_
