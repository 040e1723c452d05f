// Descriptors on their way: packets of a socket, each with a number, which is what its message has,
// and up to 253 descriptors.
//
//   SendDescriptors(writing, number, fds);      // the message is put
//   DescriptorList list;
//   PeekDescriptors(reading, number, list);     // the message is got
//   DropDescriptors(reading, number);
//
// The kernel gives who peeks descriptors of its own; so who dies before its message is got has
// taken nothing away, and who cannot have them all can come again. Numbers only grow: a packet with
// a smaller one than that of the message looked for is of one that died before its message was put,
// or after it was got.
//
// Threads: one at a time on each side, by a lock of the caller's.

#ifndef MP_MP_INTERNAL_DESCRIPTOR_PACKETS_H_
#define MP_MP_INTERNAL_DESCRIPTOR_PACKETS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace mp::internal {

// As many as the kernel takes at once.
inline constexpr size_t kMostDescriptors = 253;

// Open descriptors. Closes those that are left at its end.
class DescriptorList {
 public:
  DescriptorList() = default;
  ~DescriptorList() { Clear(); }
  DescriptorList(const DescriptorList&) = delete;
  DescriptorList& operator=(const DescriptorList&) = delete;

  // Takes it over, and moves it away from the standard ones. False: it could not, and is closed.
  bool Add(int fd);
  void Clear();
  // Who takes one leaves -1.
  absl::Span<int> fds() { return absl::MakeSpan(fds_); }

 private:
  std::vector<int> fds_;
};

enum class DescriptorsSent {
  kSent,
  kFull,          // there is no room in the socket for now
  kOver,          // nobody has the other side
  kNoMemory,      // of the kernel's
  kTooMany,       // are on their way for this user
  kNoDescriptor,  // one of them is none
};
DescriptorsSent SendDescriptors(int socket, uint64_t number, absl::Span<const int> fds);

enum class DescriptorsPeeked {
  kThere,
  kMissing,
  kNoRoom,  // for so many in this process; none is left open
};
// Packets with smaller numbers are dropped.
DescriptorsPeeked PeekDescriptors(int socket, uint64_t number, DescriptorList& list);

// All up to that one.
void DropDescriptors(int socket, uint64_t number);

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_DESCRIPTOR_PACKETS_H_
