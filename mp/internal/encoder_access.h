// EncoderAccess: what the library's own codecs do with an Encoder, and a user's cannot.

#ifndef MP_MP_INTERNAL_ENCODER_ACCESS_H_
#define MP_MP_INTERNAL_ENCODER_ACCESS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "mp/encoder.h"
#include "mp/internal/depth.h"

namespace mp::internal {

class EncoderAccess {
 public:
  // Bytes of the value itself, which stay where they are; not copied if they are many.
  static void PutLong(Encoder& encoder, const void* bytes, size_t size);
  // `handle` keeps `object` alive; `type`: the hash of what was sent.
  static void PutHandle(Encoder& encoder, ObjectHeader* object, uint64_t type,
                        std::shared_ptr<const void> handle);
  // `owner` keeps it open. Fails where the message cannot have it.
  static void PutDescriptor(Encoder& encoder, int fd, std::shared_ptr<const void> owner);
  // A duplicate of it, which is open until the encoder ends.
  static void PutDescriptorCopy(Encoder& encoder, int fd);
  // Which of the message's shared objects this is. True: a new one, which is to follow.
  static bool PutShared(Encoder& encoder, std::shared_ptr<const void> object, uint64_t type);
  // What an earlier failure was, also where it has been caught.
  static const absl::Status& Failure(const Encoder& encoder) { return encoder.failure_; }

  // `why`, of `type`.
  static absl::Status Describe(const absl::Status& why, std::string_view type);

  // While a value is encoded that others may lie in.
  class Level {
   public:
    explicit Level(Encoder& encoder) : encoder_(encoder) {
      if (++encoder_.depth_ > kMostDepth) {
        --encoder_.depth_;
        FailTooDeep(encoder_);
      }
    }
    ~Level() { --encoder_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Encoder& encoder_;
  };

  // While code of the user's encodes, which may put what it has only made for that.
  class UserCode {
   public:
    explicit UserCode(Encoder& encoder) : encoder_(encoder), copied_(encoder.copies_) {
      encoder_.copies_ = true;
    }
    ~UserCode() { encoder_.copies_ = copied_; }
    UserCode(const UserCode&) = delete;
    UserCode& operator=(const UserCode&) = delete;

   private:
    Encoder& encoder_;
    const bool copied_;
  };

  // The encoder's one A, which is made of it.
  template <class A>
  static A& ArchiveOf(Encoder& encoder) {
    if (encoder.archive_ == nullptr) encoder.archive_ = std::make_shared<A>(encoder);
    return *static_cast<A*>(encoder.archive_.get());
  }

 private:
  [[noreturn]] static void FailTooDeep(Encoder& encoder);
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_ENCODER_ACCESS_H_
