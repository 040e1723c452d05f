// RawArray: a fixed number of values in the domain, without a lock. A handle: copies mean
// the same array.
//
//   mp::RawArray<double> grid(1000);            // zeros
//   mp::RawArray<int> primes({2, 3, 5, 7});
//   mp::Process child([grid] { grid[0] = 1.5; });
//
// Ordering: none: Join() the process that writes, or take a lock of yours around it.
// Death:    elements of up to 8 bytes are written whole or not at all.
// Fork:     a child has what its parent has.
// Lifetime: that of a Shared (shared/shared.h).
// Misuse:   writing an element in one process while another reads or writes it is a data
//           race; an index past the end is undefined.
// Cost:     80 bytes and the elements, in the domain. Access is two loads.

#ifndef MP_SHARED_RAW_ARRAY_H_
#define MP_SHARED_RAW_ARRAY_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <ranges>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "shared/allocator.h"
#include "shared/heap.h"
#include "shared/internal/array_cell.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"
#include "shared/internal/object.h"

namespace mp {

struct RawArrayOptions {
  std::string name = {};  // for messages and listings
};

// T may not point out of the domain. A length of 0 is allowed.
template <typename T>
class RawArray {
  static_assert(std::is_trivially_copyable_v<T>, "use Shared<std::vector<T, mp::Allocator<T>>>");
  static_assert(alignof(T) <= Heap::kMaxAlignment, "aligned to more than a page");

 public:
  // `length` values, T{} each.
  explicit RawArray(size_t length, const RawArrayOptions& options = {})
      : state_(MakeOrDie(length, options)) {
    std::uninitialized_value_construct_n(state_->data, length);
  }
  RawArray(std::initializer_list<T> values, const RawArrayOptions& options = {})
      : state_(MakeOrDie(values.size(), options)) {
    std::uninitialized_copy(values.begin(), values.end(), state_->data);
  }
  template <std::ranges::input_range R>
  requires(!std::same_as<std::remove_cvref_t<R>, RawArray> &&
           std::constructible_from<
               T, std::ranges::range_reference_t<const R>>) explicit RawArray(const R& values,
                                                                              const RawArrayOptions&
                                                                                  options = {})
      : state_(MakeOf(values, options)) {}
  // kResourceExhausted: no memory; see Domain::Get() for more.
  static absl::StatusOr<RawArray> Create(size_t length, const RawArrayOptions& options = {}) {
    const absl::StatusOr<State*> state = Make(length, options);
    if (!state.ok()) return state.status();
    std::uninitialized_value_construct_n((*state)->data, length);
    return RawArray(internal::Handle<State>(*state));
  }

  T& operator[](size_t index) const { return state_->data[index]; }
  size_t size() const { return state_->size; }
  bool empty() const { return size() == 0; }
  T* data() const { return state_->data; }
  absl::Span<T> span() const { return absl::MakeSpan(data(), size()); }
  T* begin() const { return data(); }
  T* end() const { return data() + size(); }

 private:
  friend struct internal::HandleAccess;
  using Travels = RawArray;

  struct State : internal::ObjectHeader {
    T* data;
    size_t size;

    void FreeBlocks() { internal::FreeBlock(data); }
  };

  explicit RawArray(const internal::Handle<State>& state) : state_(state) {}

  template <typename R>
  static internal::Handle<State> MakeOf(const R& values, const RawArrayOptions& options) {
    if constexpr (std::ranges::forward_range<const R>) {
      internal::Handle<State> state(
          MakeOrDie(static_cast<size_t>(std::ranges::distance(values)), options));
      T* place = state->data;
      for (auto&& value : values) std::construct_at(place++, value);
      return state;
    } else {
      // To be read but once, so not to be counted first.
      std::vector<T> read;
      for (auto&& value : values) read.emplace_back(value);
      return MakeOf(read, options);
    }
  }
  static absl::StatusOr<State*> Make(size_t length, const RawArrayOptions& options) {
    absl::StatusOr<State*> state = internal::MakeArrayCell<T, State>(length, options.name);
    if (!state.ok()) return state;
    internal::PublishCell(*state, internal::ObjectType::kRawArray);
    return state;
  }
  static State* MakeOrDie(size_t length, const RawArrayOptions& options) {
    return internal::OrCannotMake(Make(length, options), internal::ObjectType::kRawArray,
                                  internal::BytesOf<T>(length), options.name);
  }

  internal::Handle<State> state_;
};

// RawArray a({1, 2}) and RawArray b(some_vector) deduce T.
template <std::ranges::input_range R>
RawArray(const R&) -> RawArray<std::ranges::range_value_t<R>>;

}  // namespace mp

#endif  // MP_SHARED_RAW_ARRAY_H_
