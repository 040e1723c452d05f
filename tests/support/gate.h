// tests/support/gate.h
//
// Gate: processes wait at it until it is opened; then it stays open. For peers
// that have to hold something until they are told. It lives in shared memory
// (Inherited<Gate>), and the death of any process leaves it as it is.

#ifndef MP_TESTS_SUPPORT_GATE_H_
#define MP_TESTS_SUPPORT_GATE_H_

#include <atomic>
#include <cstdint>

namespace mp::testing {

class Gate {
 public:
  void Wait();  // returns at once if it is open
  void Open();
  void Close();  // nobody may be waiting
  bool IsOpen() const { return open_.load() != 0; }

 private:
  std::atomic<uint32_t> open_{0};
  static_assert(std::atomic<uint32_t>::is_always_lock_free);
};

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_GATE_H_
