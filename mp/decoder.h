// Decoder: the bytes of a message as they are read, and the handles that came with them.
//
// Who specialises Codec<T> (mp/codec.h) calls Get(), GetBytes(), GetLength() and Fail(). None of
// them returns where the bytes are bad: then Decode() returns kDataLoss. Who receives messages
// makes one of these for each, of bytes that nobody changes meanwhile, and of the words of its
// Cargo (mp/internal/cargo.h): the message keeps its stakes until Decode() has returned.
// Descriptors that came with it, and that nobody took, are left: they are not -1 then.
//
// Threads: one at a time.
// Memory:  what is decoded takes a bounded multiple of the bytes that are there, also where these
//          are bad: a length is refused if what is left cannot be that much.

#ifndef MP_MP_DECODER_H_
#define MP_MP_DECODER_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "mp/internal/via.h"
#include "shared/internal/atomic.h"

namespace mp {

class Decoder;

namespace internal {

class DecoderAccess;

template <class T>
T DecodeValue(Decoder& decoder);

}  // namespace internal

class Decoder {
 public:
  explicit Decoder(std::string_view bytes, absl::Span<const internal::Word> handles = {},
                   Via via = Via::kMessage, absl::Span<int> descriptors = {})
      : begin_(bytes.data()),
        at_(begin_),
        end_(begin_ + bytes.size()),
        handles_(handles),
        descriptors_(descriptors),
        via_(via) {}
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // For a Codec<T>.
  //
  // What Put() wrote.
  template <class T>
  T Get() {
    return internal::DecodeValue<T>(*this);
  }
  void GetBytes(void* to, size_t size) {
    if (size > left()) [[unlikely]] {
      FailShort(size);
    }
    if (size != 0) std::memcpy(to, at_, size);
    at_ += size;
  }
  // The next bytes, where they are; valid while those of the message are.
  std::string_view View(size_t size) {
    if (size > left()) [[unlikely]] {
      FailShort(size);
    }
    const std::string_view view(at_, size);
    at_ += size;
    return view;
  }
  // What PutLength() wrote, if as many values of `least` bytes each may follow. To make room for
  // all of them at once is up to the caller: at most sizeof(T) / least times what is left.
  size_t GetLength(size_t least = 1);
  // What PutNumber() wrote.
  uint64_t GetNumber();
  // The bytes are no T. Does not return: throws what nobody is to catch.
  [[noreturn]] void Fail(std::string_view why) { Fail(absl::DataLossError(why)); }
  [[noreturn]] void Fail(const absl::Status& why);
  size_t left() const { return static_cast<size_t>(end_ - at_); }
  size_t offset() const { return static_cast<size_t>(at_ - begin_); }
  // By what the message travels.
  Via via() const { return via_; }

 private:
  friend class internal::DecoderAccess;

  struct SharedObject {
    std::shared_ptr<void> object;  // nullptr: not yet made
    uint64_t type;
    void (*clear)(void* object);  // for one that may lead back to itself; nullptr: none
  };

  [[noreturn]] void FailShort(size_t size);

  const char* begin_;
  const char* at_;
  const char* end_;
  absl::Span<const internal::Word> handles_;
  size_t handles_taken_ = 0;
  const absl::Span<int> descriptors_;  // that of each that was taken is -1
  size_t descriptors_taken_ = 0;
  const Via via_;
  int depth_ = 0;
  std::vector<SharedObject> shared_;
  std::shared_ptr<void> archive_;  // of cereal's conventions, once it is needed
  absl::Status failure_;           // also where somebody caught what was thrown
};

}  // namespace mp

#endif  // MP_MP_DECODER_H_
