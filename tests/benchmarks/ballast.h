// tests/benchmarks/ballast.h
//
// Ballast: memory that makes a process as large as it says.

#ifndef MP_TESTS_BENCHMARKS_BALLAST_H_
#define MP_TESTS_BENCHMARKS_BALLAST_H_

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace mp {

// In small pages: what a fork costs is mostly their table.
class Ballast {
 public:
  explicit Ballast(size_t size) : size_(size) {
    memory_ = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) std::abort();
    madvise(memory_, size, MADV_NOHUGEPAGE);
    std::memset(memory_, 1, size);
  }
  ~Ballast() { munmap(memory_, size_); }
  Ballast(const Ballast&) = delete;
  Ballast& operator=(const Ballast&) = delete;

 private:
  void* memory_;
  const size_t size_;
};

}  // namespace mp

#endif  // MP_TESTS_BENCHMARKS_BALLAST_H_
