// Kind::kHandle: a Lock, a Value<int>, ... In the bytes stands a mark, and the message has a stake
// (cargo.h). Who decodes it gets its own from that one, as by copying a handle out of the domain.

#ifndef MP_MP_INTERNAL_HANDLE_CODEC_H_
#define MP_MP_INTERNAL_HANDLE_CODEC_H_

#include <memory>
#include <type_traits>
#include <utility>

#include "mp/internal/built_in.h"
#include "mp/internal/decoder_access.h"
#include "mp/internal/encoder_access.h"
#include "mp/type_name.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"

namespace mp::internal {

// What carries a lock, which may be another's.
template <class H>
concept WithLockOfAnother = requires(const H& handle) {
  handle.GetLock();
};

template <class T>
requires(kKind<T> == Kind::kHandle) struct BuiltIn<T> {
  using Parts = Types<>;

  static void Encode(const T& value, Encoder& encoder) {
    const auto& state = HandleAccess::StateOf(value);
    Put(state, TypeHash<T>(), encoder);
    if constexpr (WithLockOfAnother<T>) {
      const auto& lock = HandleAccess::StateOf(value.GetLock());
      const bool anothers = static_cast<ObjectHeader*>(lock.get()) != state.get();
      encoder.Put(anothers);
      if (anothers) Put(lock, TypeHash<LockOf>(), encoder);
    }
  }

  static T Decode(Decoder& decoder) {
    using State = std::remove_cvref_t<decltype(HandleAccess::StateOf(std::declval<const T&>()))>;
    const State state = Get<State>(TypeHash<T>(), decoder);
    if constexpr (WithLockOfAnother<T>) {
      if (decoder.Get<bool>()) {
        using Lock = std::remove_cvref_t<decltype(HandleAccess::StateOf(
            std::declval<const T&>().GetLock()))>;
        const Lock lock = Get<Lock>(TypeHash<LockOf>(), decoder);
        return HandleAccess::Make<T>(state, lock);
      }
    }
    return HandleAccess::Make<T>(state);
  }

 private:
  // What the mark of a lock is of: the one that goes with a T.
  struct LockOf;

  template <class State>
  static void Put(const Handle<State>& handle, uint64_t type, Encoder& encoder) {
    EncoderAccess::PutHandle(encoder, handle.get(), type, std::make_shared<Handle<State>>(handle));
  }
  template <class H>
  static H Get(uint64_t type, Decoder& decoder) {
    const DecoderAccess::PlacedHandle placed = DecoderAccess::GetHandle(decoder, type);
    using State = std::remove_reference_t<decltype(*std::declval<const H&>())>;
    return H(placed.word, static_cast<State*>(placed.object));
  }
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_HANDLE_CODEC_H_
