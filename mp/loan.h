// Loan: a value in the domain that is put into a queue, or has been got from one, where it lies,
// without a copy.
//
//   absl::StatusOr<mp::Loan<Frame>> frame = frames.Borrow();      // Frame: of many megabytes
//   Draw(**frame);
//   mp::OrDie(frames.Put(*std::move(frame)));                     // a pointer travels
//
//   absl::StatusOr<mp::Loan<Frame>> next = frames.GetLoan();      // in another process
//   Show(**next);                                                 // its memory goes with `next`
//
// A T is either copied as its bytes (kFixedSize<T>), then operator* is it; or a std::string or a
// std::vector of what is, then elements() are its.
//
// Death:    a loan goes with its process, before it is put, or after it has been got; between, it
//           is the queue's.
// Fork:     a child's copy is inert: it frees nothing, and cannot be put.
// Threads:  one at a time.

#ifndef MP_MP_LOAN_H_
#define MP_MP_LOAN_H_

#include <concepts>
#include <cstddef>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "mp/codec.h"
#include "mp/internal/loan_block.h"

namespace mp {

template <class T>
class Queue;

namespace internal {

template <class T>
inline constexpr bool kHasElements = false;
template <class Traits, class A>
inline constexpr bool kHasElements<std::basic_string<char, Traits, A>> = true;
template <class E, class A>
inline constexpr bool kHasElements<std::vector<E, A>> = kFixedSize<E> != 0 &&
                                                        !std::same_as<E, bool>;

}  // namespace internal

// What can be lent.
template <class T>
concept Lendable = kFixedSize<T> != 0 || internal::kHasElements<T>;

template <class T>
class Loan {
  static_assert(Lendable<T>,
                "mp: only what is copied as its bytes can be lent, and strings and vectors of that");

 public:
  // Of none.
  Loan() = default;
  Loan(Loan&&) noexcept = default;
  Loan& operator=(Loan&&) noexcept = default;

  explicit operator bool() const { return block_.place() != nullptr; }

  // Of what is copied as its bytes. (A received one whose bytes are no T, see BytesAreValue(), is
  // for the sender to answer for.)
  T& operator*() const requires(kFixedSize<T> != 0) { return *get(); }
  T* operator->() const requires(kFixedSize<T> != 0) { return get(); }
  T* get() const requires(kFixedSize<T> != 0) { return static_cast<T*>(block_.place()); }

  // Of containers.
  auto elements() const requires(internal::kHasElements<T>) {
    using Element = typename T::value_type;
    return absl::Span<Element>(static_cast<Element*>(block_.place()),
                               block_.size() / sizeof(Element));
  }

  absl::Span<char> bytes() const {
    return absl::Span<char>(static_cast<char*>(block_.place()), block_.size());
  }

 private:
  friend class Queue<T>;

  explicit Loan(internal::LoanBlock block) : block_(std::move(block)) {}

  internal::LoanBlock block_;
};

}  // namespace mp

#endif  // MP_MP_LOAN_H_
