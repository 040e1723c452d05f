// DescriptorSet: numbers of descriptors that are closed together, in a child.

#ifndef MP_MP_INTERNAL_DESCRIPTOR_SET_H_
#define MP_MP_INTERNAL_DESCRIPTOR_SET_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mp::internal {

class DescriptorSet {
 public:
  void Add(int fd);
  void Remove(int fd);

  // With a system call for each run of numbers. Writes nothing, so a child of fork copies no page.
  void CloseAll() const;

 private:
  // The first number that is in the set, or is not, from `number` on; or the one behind the last.
  size_t Next(bool in_set, size_t number) const;

  std::vector<uint64_t> bits_;  // one for each number
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_DESCRIPTOR_SET_H_
