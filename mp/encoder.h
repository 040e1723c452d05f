// Encoder: the bytes of a message as they are written, and the handles that travel with them.
//
// Who specialises Codec<T> (mp/codec.h) calls Put(), PutBytes(), PutLength() and Fail(). Who sends
// messages makes one of these for each, and when Encode() was OK
//
//   1. takes a block of encoder.size() bytes and of Cargo::Size(encoder.handles().size()),
//      and copies the bytes into it: encoder.CopyTo(block);
//   2. gives the message a stake in each of encoder.handles(): Cargo::Load() (mp/internal/cargo.h);
//   3. makes the message visible; only then the encoder, and the value, may end.
//
// A long string or vector is not copied before CopyTo(), which so reads the value, too.
//
// Threads: one at a time, and nobody changes the value meanwhile.
// Memory:  of this process; a message of up to 256 bytes takes none.

#ifndef MP_MP_ENCODER_H_
#define MP_MP_ENCODER_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "mp/internal/via.h"

namespace mp {

class Encoder;

namespace internal {

struct ObjectHeader;
class EncoderAccess;

template <class T>
void EncodeValue(const T& value, Encoder& encoder);

}  // namespace internal

class Encoder {
 public:
  explicit Encoder(Via via = Via::kMessage) : via_(via) {}
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  // For a Codec<T>.
  //
  // Anything that can be sent, as its own Codec has it.
  template <class T>
  void Put(const T& value) {
    internal::EncodeValue(value, *this);
  }
  void PutBytes(const void* bytes, size_t size) {
    if (size > capacity_ - size_) [[unlikely]] {
      Grow(size);
    }
    if (size != 0) std::memcpy(data_ + size_, bytes, size);
    size_ += size;
  }
  // How many values or bytes follow, of which each takes a byte at least: see
  // Decoder::GetLength().
  void PutLength(size_t length) { PutNumber(length); }
  // In 1 byte up to 127, in 10 at most.
  void PutNumber(uint64_t number) {
    while (number > 0x7f) {
      PutByte(static_cast<char>(number | 0x80));
      number >>= 7;
    }
    PutByte(static_cast<char>(number));
  }
  // The value cannot be sent. Does not return: throws what nobody is to catch.
  [[noreturn]] void Fail(std::string_view why) { Fail(absl::InvalidArgumentError(why)); }
  [[noreturn]] void Fail(const absl::Status& why);
  // By what the message travels.
  Via via() const { return via_; }

  // For who sends.
  size_t size() const { return size_ + borrowed_; }
  // `to`: of size() bytes.
  void CopyTo(void* to) const;
  std::string ToString() const;
  // One for each handle in the value, in order. Alive until this ends.
  absl::Span<internal::ObjectHeader* const> handles() const { return handles_; }
  // Those that travel with it, in order. Open until this ends. Only where via() is kConnection.
  absl::Span<const int> descriptors() const { return descriptors_; }

 private:
  friend class internal::EncoderAccess;

  static constexpr size_t kInline = 256;
  static constexpr size_t kBorrowed = 4096;  // from this size on bytes are not copied twice

  struct Borrowed {
    size_t at;  // behind so many of data_
    const void* bytes;
    size_t size;
  };

  void PutByte(char byte) {
    if (size_ == capacity_) [[unlikely]] {
      Grow(1);
    }
    data_[size_++] = byte;
  }
  void Grow(size_t size);

  char* data_ = inline_;
  size_t size_ = 0;
  size_t capacity_ = kInline;
  size_t borrowed_ = 0;  // bytes
  const Via via_;
  bool copies_ = false;  // what is put may end before this does
  int depth_ = 0;
  std::vector<Borrowed> borrows_;
  std::vector<internal::ObjectHeader*> handles_;
  std::vector<int> descriptors_;
  std::vector<std::shared_ptr<const void>> kept_;  // until this ends
  std::map<std::pair<const void*, uint64_t>, size_t> shared_;
  std::shared_ptr<void> archive_;  // of cereal's conventions, once it is needed
  absl::Status failure_;           // also where somebody caught what was thrown
  std::unique_ptr<char[]> heap_;
  char inline_[kInline];
};

}  // namespace mp

#endif  // MP_MP_ENCODER_H_
