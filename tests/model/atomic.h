// tests/model/atomic.h
//
// Atomic<T> and WordPair of a model build: where each operation is a step. Memory is
// sequentially consistent: a missing barrier is not found here. A weak exchange does not fail
// for nothing.

#ifndef MP_TESTS_MODEL_ATOMIC_H_
#define MP_TESTS_MODEL_ATOMIC_H_

#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tests/model/step.h"

namespace mp::model {

template <typename T>
class ScheduledAtomic {
  friend class ScheduledPair;

 public:
  using value_type = T;
  // NOLINTNEXTLINE(readability-identifier-naming): as std::atomic has it
  static constexpr bool is_always_lock_free = std::atomic<T>::is_always_lock_free;

  constexpr ScheduledAtomic() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): as std::atomic has it
  constexpr ScheduledAtomic(T value) : value_(value) {}
  ScheduledAtomic(const ScheduledAtomic&) = delete;
  ScheduledAtomic& operator=(const ScheduledAtomic&) = delete;

  T load(std::memory_order = std::memory_order_seq_cst) const {
    Take("load", false, T());
    return See(value_);
  }
  void store(T value, std::memory_order = std::memory_order_seq_cst) {
    Take("store", true, value);
    value_ = value;
  }
  T exchange(T value, std::memory_order = std::memory_order_seq_cst) {
    return Change("exchange", value, [](T, T operand) { return operand; });
  }
  bool compare_exchange_strong(T& expected, T value, std::memory_order = std::memory_order_seq_cst,
                               std::memory_order = std::memory_order_seq_cst) {
    Take("compare_exchange", true, value);
    const T before = See(value_);
    if (std::memcmp(&before, &expected, sizeof(T)) == 0) {
      value_ = value;
      return true;
    }
    expected = before;
    return false;
  }
  bool compare_exchange_weak(T& expected, T value, std::memory_order = std::memory_order_seq_cst,
                             std::memory_order = std::memory_order_seq_cst) {
    return compare_exchange_strong(expected, value);
  }

  template <typename U>
  T fetch_add(U value, std::memory_order = std::memory_order_seq_cst) {
    return Change("fetch_add", static_cast<T>(value),
                  [](T before, T operand) { return static_cast<T>(before + operand); });
  }
  template <typename U>
  T fetch_sub(U value, std::memory_order = std::memory_order_seq_cst) {
    return Change("fetch_sub", static_cast<T>(value),
                  [](T before, T operand) { return static_cast<T>(before - operand); });
  }
  T fetch_or(T value, std::memory_order = std::memory_order_seq_cst) {
    return Change("fetch_or", value,
                  [](T before, T operand) { return static_cast<T>(before | operand); });
  }
  T fetch_and(T value, std::memory_order = std::memory_order_seq_cst) {
    return Change("fetch_and", value,
                  [](T before, T operand) { return static_cast<T>(before & operand); });
  }
  T fetch_xor(T value, std::memory_order = std::memory_order_seq_cst) {
    return Change("fetch_xor", value,
                  [](T before, T operand) { return static_cast<T>(before ^ operand); });
  }

  // NOLINTNEXTLINE(google-explicit-constructor): as std::atomic has it
  operator T() const { return load(); }
  T operator=(T value) {  // NOLINT(misc-unconventional-assign-operator): as std::atomic has it
    store(value);
    return value;
  }
  T operator++() { return static_cast<T>(fetch_add(1) + 1); }
  T operator--() { return static_cast<T>(fetch_sub(1) - 1); }
  T operator++(int) { return fetch_add(1); }
  T operator--(int) { return fetch_sub(1); }

 private:
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(uint64_t));

  static uint64_t Bits(T value) {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    return bits;
  }
  void Take(const char* what, bool write, T value) const {
    TakeStep({.what = what, .address = this, .write = write, .value = Bits(value)});
  }
  template <typename Function>
  T Change(const char* what, T operand, Function after) {
    Take(what, true, operand);
    const T before = See(value_);
    value_ = after(before, operand);
    return before;
  }
  static T See(T value) {
    Saw(Bits(value));
    return value;
  }

  T value_{};
};

}  // namespace mp::model

namespace mp::internal {

struct TwoWords {
  uint64_t first = 0;
  uint64_t second = 0;
};

}  // namespace mp::internal

namespace mp::model {

// The explorer knows both words by the address of the first.
class alignas(16) ScheduledPair {
 public:
  using TwoWords = internal::TwoWords;

  void Init(TwoWords words) {
    first_.store(words.first);
    TakeStep({.what = "store second", .address = this, .write = true, .value = words.second});
    second_ = words.second;
  }
  ScheduledAtomic<uint64_t>& first() { return first_; }
  const ScheduledAtomic<uint64_t>& first() const { return first_; }
  uint64_t second() const {
    TakeStep({.what = "load second", .address = this});
    Saw(second_);
    return second_;
  }
  [[nodiscard]] bool Exchange(TwoWords& seen, TwoWords words) {
    TakeStep({.what = "exchange", .address = this, .write = true, .value = words.first});
    const TwoWords before = {first_.value_, second_};
    Saw(before.first);
    Saw(before.second);
    if (before.first != seen.first || before.second != seen.second) {
      seen = before;
      return false;
    }
    first_.value_ = words.first;
    second_ = words.second;
    return true;
  }

 private:
  ScheduledAtomic<uint64_t> first_;
  uint64_t second_ = 0;
};

}  // namespace mp::model

namespace mp::internal {

template <typename T>
using Atomic = model::ScheduledAtomic<T>;
using WordPair = model::ScheduledPair;

}  // namespace mp::internal

#endif  // MP_TESTS_MODEL_ATOMIC_H_
