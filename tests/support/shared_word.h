// tests/support/shared_word.h
//
// SharedWord: 32 bits of the domain, to sleep on. Stays when the test is over.
//
//   const SharedWord word(0);
//   ... in a child: Wait(*word, 0);
//   WakeAll(*word);

#ifndef MP_TESTS_SUPPORT_SHARED_WORD_H_
#define MP_TESTS_SUPPORT_SHARED_WORD_H_

#include <cstdint>
#include <new>

#include "shared/domain.h"
#include "shared/internal/futex.h"

namespace mp::testing {

class SharedWord {
 public:
  explicit SharedWord(uint32_t value)
      : word_(new ((*Domain::Get())->Allocate(64).value()) internal::FutexWord(value)) {}
  SharedWord(const SharedWord&) = delete;
  SharedWord& operator=(const SharedWord&) = delete;

  internal::FutexWord* get() const { return word_; }
  internal::FutexWord& operator*() const { return *word_; }
  internal::FutexWord* operator->() const { return word_; }

 private:
  internal::FutexWord* const word_;
};

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_SHARED_WORD_H_
