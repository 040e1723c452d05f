// Array: a fixed number of values in the domain, with a lock. A handle: copies mean the same
// array.
//
//   mp::Array<double> grid(1000);         // zeros
//   mp::Array<int> primes({2, 3, 5, 7});
//   mp::Process child([grid] {
//     mp::LockGuard guard(grid);
//     for (double& x : grid) x += 1;      // of all elements, and nobody sees half of it
//   });
//
// Access to an element does not take the lock: that is up to who wants more than one element to
// be as it was. The lock is an RLock of its own, or the Lock or RLock that it was made with, which
// several arrays and values may share.
//
// Ordering: the lock's: what a holder did is visible to the next one. Without it, none.
// Death:    elements of 1, 2, 4 or 8 bytes are written whole or not at all, if one instruction
//           does it; of more than one, some may be. owner_died() tells the next holder of the
//           lock, until MarkConsistent(). A handle is two words: killed while it assigns one that
//           lies in the domain, a process may leave it with the lock of one array and the other
//           array.
// Fork:     a child has the handle, never the hold.
// Lifetime: that of a Shared (shared/shared.h), for whoever has the handle or a copy of GetLock();
//           and no shorter than it is held. Spans, views and iterators do not count.
// Signals:  not in a signal handler; elements may be read and written there.
// Misuse:   a Release() by anybody but the holder: this process ends, with one line that names the
//           array, or the lock that it was made with; value(), raw() and SetValue() by who holds a
//           Lock that it was made with. Writing an element while another reads or
//           writes it, without the lock, is a data race; an index past the end is undefined.
// Limit:    as for Lock; as many elements as there is memory.
// Cost:     128 bytes, and a block with the elements, in the domain; two words where the handle
//           is. Access is two loads. The lock is uncontended without a system call. Figures in
//           docs/benchmarks.md.
//
// Without thread-safety annotations, as RLock.

#ifndef MP_SYNC_ARRAY_H_
#define MP_SYNC_ARRAY_H_

#include <string.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "shared/heap.h"
#include "shared/internal/array_cell.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"
#include "shared/internal/object.h"
#include "sync/internal/array_state.h"
#include "sync/internal/robust_lock.h"
#include "sync/internal/with_lock.h"
#include "sync/lock_guard.h"  // IWYU pragma: export

namespace mp {

struct ArrayOptions {
  std::string name = {};  // for messages and listings
};

namespace internal {

// What an A can be made of: whatever can be read once, but not a copy of it.
template <typename R, typename A>
concept ElementsFor =
    !std::same_as<R, A> && std::ranges::input_range<const R> &&
    std::constructible_from<typename A::value_type, std::ranges::range_reference_t<const R>>;

}  // namespace internal

// T may not point out of the domain. A length of 0 is allowed. GetLock(), Acquire() and what else
// a lock has: sync/internal/with_lock.h.
template <typename T>
class Array : public internal::WithLock {
  static_assert(std::is_trivially_copyable_v<T>,
                "use Shared<std::vector<T, mp::Allocator<T>>> and a Lock");
  static_assert(alignof(T) <= Heap::kMaxAlignment, "aligned to more than a page");

 public:
  using value_type = T;

  // Each ends the process, with a line that says why, where Create() would fail.
  // `length` values, T{} each.
  explicit Array(size_t length, const ArrayOptions& options = {})
      : Array(MakeOrDie(length, options)) {}
  Array(std::initializer_list<T> values, const ArrayOptions& options = {})
      : Array(MakeOrDie(values, options)) {}
  template <internal::ElementsFor<Array> R>
  explicit Array(const R& values, const ArrayOptions& options = {})
      : Array(MakeOrDie(values, options)) {}
  // With a Lock or an RLock of the caller's.
  template <internal::LockHandle L>
  Array(size_t length, const L& lock, const ArrayOptions& options = {})
      : Array(MakeOrDie(length, options), internal::RobustLock::Of(lock)) {}
  template <internal::LockHandle L>
  Array(std::initializer_list<T> values, const L& lock, const ArrayOptions& options = {})
      : Array(MakeOrDie(values, options), internal::RobustLock::Of(lock)) {}
  template <internal::ElementsFor<Array> R, internal::LockHandle L>
  Array(const R& values, const L& lock, const ArrayOptions& options = {})
      : Array(MakeOrDie(values, options), internal::RobustLock::Of(lock)) {}
  // kResourceExhausted: no memory; see Domain::Get() for more.
  static absl::StatusOr<Array> Create(size_t length, const ArrayOptions& options = {}) {
    return CreateOf(length, options);
  }
  static absl::StatusOr<Array> Create(std::initializer_list<T> values,
                                      const ArrayOptions& options = {}) {
    return CreateOf(values, options);
  }
  template <internal::ElementsFor<Array> R>
  static absl::StatusOr<Array> Create(const R& values, const ArrayOptions& options = {}) {
    return CreateOf(values, options);
  }
  template <internal::LockHandle L>
  static absl::StatusOr<Array> Create(size_t length, const L& lock,
                                      const ArrayOptions& options = {}) {
    return CreateOf(length, options, internal::RobustLock::Of(lock));
  }
  template <internal::LockHandle L>
  static absl::StatusOr<Array> Create(std::initializer_list<T> values, const L& lock,
                                      const ArrayOptions& options = {}) {
    return CreateOf(values, options, internal::RobustLock::Of(lock));
  }
  template <internal::ElementsFor<Array> R, internal::LockHandle L>
  static absl::StatusOr<Array> Create(const R& values, const L& lock,
                                      const ArrayOptions& options = {}) {
    return CreateOf(values, options, internal::RobustLock::Of(lock));
  }

  T& operator[](size_t index) const { return data()[index]; }
  size_t size() const { return state_->size; }
  bool empty() const { return size() == 0; }
  T* data() const { return static_cast<T*>(state_->data); }
  T* begin() const { return data(); }
  T* end() const { return data() + size(); }
  absl::Span<T> span() const { return absl::MakeSpan(data(), size()); }
  // Of those from `offset` on at most `length`; past the end there are none.
  absl::Span<T> Slice(size_t offset, size_t length = absl::Span<T>::npos) const {
    return span().subspan(std::min(offset, size()), length);
  }

  // All of its characters, where they are: without the lock, and for as long as the array lives.
  std::string_view view() const requires std::same_as<T, char> { return {data(), size()}; }

  // Characters, as of a C string. Each takes the lock.
  //
  // Up to the first NUL, or all of them.
  std::string value() const requires std::same_as<T, char> {
    const LockGuard guard(GetLock());
    return std::string(data(), strnlen(data(), size()));
  }
  // All of them.
  std::string raw() const requires std::same_as<T, char> {
    const LockGuard guard(GetLock());
    return std::string(data(), size());
  }
  // And a NUL behind them, where there is room; what is behind that stays as it was.
  // kInvalidArgument: there are more of them than elements.
  absl::Status SetValue(std::string_view value) const requires std::same_as<T, char> {
    if (value.size() > size()) {
      return absl::InvalidArgumentError(absl::StrCat(state_->Describe(), ": ", value.size(),
                                                     " characters, and room for ", size()));
    }
    const LockGuard guard(GetLock());
    // Perhaps of this very array.
    if (!value.empty()) memmove(data(), value.data(), value.size());
    if (value.size() < size()) data()[value.size()] = '\0';
    return absl::OkStatus();
  }

 private:
  friend struct internal::HandleAccess;
  using Travels = Array;

  using State = internal::ArrayState;

  explicit Array(const internal::Handle<State>& state)
      : WithLock(internal::Handle<internal::LockState>(state)), state_(state) {}
  Array(const internal::Handle<State>& state, const internal::RobustLock& lock)
      : WithLock(lock), state_(state) {}

  // A `source` is a length or a range.
  template <typename S>
  static constexpr bool kReadOnce =
      !std::same_as<S, size_t> && !std::ranges::forward_range<const S>;

  // Not to be counted first.
  template <typename S>
  static std::vector<T> Read(const S& source) {
    std::vector<T> read;
    for (auto&& value : source) read.emplace_back(value);
    return read;
  }
  template <typename S>
  static size_t LengthOf(const S& source) {
    if constexpr (std::same_as<S, size_t>) {
      return source;
    } else {
      return static_cast<size_t>(std::ranges::distance(source));
    }
  }

  // Its elements are not yet values.
  static absl::StatusOr<State*> Make(size_t length, const ArrayOptions& options) {
    absl::StatusOr<State*> state = internal::MakeArrayCell<T, State>(length, options.name);
    if (!state.ok()) return state;
    (*state)->Init(/*recursive=*/true);
    internal::PublishCell(*state, internal::ObjectType::kArray);
    return state;
  }
  template <typename S>
  static internal::Handle<State> Filled(State* state, const S& source) {
    internal::Handle<State> handle(state);  // what a constructor of T throws ends it
    auto* place = static_cast<T*>(state->data);
    if constexpr (std::same_as<S, size_t>) {
      std::uninitialized_value_construct_n(place, source);
    } else {
      for (auto&& value : source) std::construct_at(place++, value);
    }
    return handle;
  }
  template <typename S>
  static internal::Handle<State> MakeOrDie(const S& source, const ArrayOptions& options) {
    if constexpr (kReadOnce<S>) {
      return MakeOrDie(Read(source), options);
    } else {
      const size_t length = LengthOf(source);
      State* const state =
          internal::OrCannotMake(Make(length, options), internal::ObjectType::kArray,
                                 internal::BytesOf<T>(length), options.name);
      return Filled(state, source);
    }
  }
  // `lock` is a RobustLock, or its own.
  template <typename S, typename... L>
  static absl::StatusOr<Array> CreateOf(const S& source, const ArrayOptions& options,
                                        const L&... lock) {
    if constexpr (kReadOnce<S>) {
      return CreateOf(Read(source), options, lock...);
    } else {
      const absl::StatusOr<State*> state = Make(LengthOf(source), options);
      if (!state.ok()) return state.status();
      return Array(Filled(*state, source), lock...);
    }
  }

  internal::Handle<State> state_;
};

// Array a({1, 2}) and Array b(some_vector) deduce T.
template <std::ranges::input_range R>
Array(const R&) -> Array<std::ranges::range_value_t<R>>;

}  // namespace mp

#endif  // MP_SYNC_ARRAY_H_
