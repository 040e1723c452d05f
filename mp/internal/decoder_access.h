// DecoderAccess: what the library's own codecs do with a Decoder, and a user's cannot.

#ifndef MP_MP_INTERNAL_DECODER_ACCESS_H_
#define MP_MP_INTERNAL_DECODER_ACCESS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "mp/decoder.h"
#include "mp/internal/depth.h"
#include "shared/internal/atomic.h"
#include "shared/internal/object_header.h"

namespace mp::internal {

class DecoderAccess {
 public:
  // One of a shared object, as EncoderAccess::PutShared() has it.
  struct Shared {
    size_t index;                  // of those that the message has; 0: none at all
    bool follows;                  // it is yet to be decoded
    std::shared_ptr<void> object;  // if not
  };
  static Shared GetShared(Decoder& decoder, uint64_t type);
  // It is there from now on; `clear`: what makes it let go of what it leads to.
  static void SetShared(Decoder& decoder, size_t index, std::shared_ptr<void> object,
                        void (*clear)(void* object));

  // A handle of the message's that was sent as `type`: the word that refers to `object`.
  struct PlacedHandle {
    const Word& word;
    ObjectHeader* object;
  };
  static PlacedHandle GetHandle(Decoder& decoder, uint64_t type);

  // The next one of the message's, which is the caller's to close.
  static int GetDescriptor(Decoder& decoder);

  static const absl::Status& Failure(const Decoder& decoder) { return decoder.failure_; }
  // After a failure: objects that lead to one another in a circle would stay for ever.
  static void ClearShared(Decoder& decoder);
  // `why`, and where it was, of `type`.
  static absl::Status Describe(const Decoder& decoder, const absl::Status& why,
                               std::string_view type);

  // While a value is decoded that others may lie in.
  class Level {
   public:
    explicit Level(Decoder& decoder) : decoder_(decoder) {
      if (++decoder_.depth_ > kMostDepth) {
        --decoder_.depth_;
        FailTooDeep(decoder_);
      }
    }
    ~Level() { --decoder_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Decoder& decoder_;
  };

  // The decoder's one A, which is made of it.
  template <class A>
  static A& ArchiveOf(Decoder& decoder) {
    if (decoder.archive_ == nullptr) decoder.archive_ = std::make_shared<A>(decoder);
    return *static_cast<A*>(decoder.archive_.get());
  }

 private:
  [[noreturn]] static void FailTooDeep(Decoder& decoder);
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_DECODER_ACCESS_H_
