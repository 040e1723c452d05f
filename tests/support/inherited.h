// tests/support/inherited.h
//
// Inherited<T>: a T that this process and the children it forks from now on see
// as one object. The plain kind of shared memory, for tests of what is built on
// better kinds.
//
//   Inherited<int> count;
//   ... fork; in the child: ++*count;

#ifndef MP_TESTS_SUPPORT_INHERITED_H_
#define MP_TESTS_SUPPORT_INHERITED_H_

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <new>
#include <utility>

namespace mp::testing {

// Owns the mapping in each process that has it; ~T is never run.
template <class T>
class Inherited {
 public:
  template <class... Args>
  explicit Inherited(Args&&... args) {
    void* memory =
        mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      perror("test memory: mmap");
      abort();
    }
    object_ = new (memory) T(std::forward<Args>(args)...);
  }
  ~Inherited() { munmap(object_, sizeof(T)); }
  Inherited(const Inherited&) = delete;
  Inherited& operator=(const Inherited&) = delete;

  T* get() const { return object_; }
  T& operator*() const { return *object_; }
  T* operator->() const { return object_; }

 private:
  T* object_;
};

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_INHERITED_H_
