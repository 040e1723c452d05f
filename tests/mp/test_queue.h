// tests/mp/test_queue.h
//
// TestQueue: a queue of bytes, and its end; what is put and got are strings.

#ifndef MP_TESTS_MP_TEST_QUEUE_H_
#define MP_TESTS_MP_TEST_QUEUE_H_

#include <gtest/gtest.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "mp/internal/message_queue.h"
#include "shared/domain.h"
#include "shared/internal/handle.h"
#include "shared/internal/object.h"

namespace mp::testing {

inline constexpr timespec kNow = {};  // is past

// A queue and its end.
class TestQueue {
 public:
  using Result = internal::MessageQueue::Result;

  explicit TestQueue(uint64_t limit = 0)
      : state_(internal::MakeObject<internal::QueueState>(
                   internal::ObjectType::kQueue, "test",
                   [limit](internal::QueueState& state) {
                     EXPECT_TRUE(internal::MessageQueue::Init(state, limit));
                   })
                   .value()) {}

  internal::QueueState& state() const { return *state_; }

  Result TryPut(const std::string& message) const { return Put(message, &kNow); }
  Result Put(const std::string& message, const timespec* deadline = nullptr) const {
    internal::MessageQueue queue(*state_);
    if (message.size() > internal::MessageQueue::kMostInRing) {
      void* const block = Domain::Current()->Allocate(message.size()).value();
      std::memcpy(block, message.data(), message.size());
      const Result result =
          queue.PutBlock({block, message.size(), internal::MessageHead::Kind::kBlock}, deadline);
      if (result != Result::kDone) Domain::Current()->Free(block);
      return result;
    }
    return queue.Put(
        message.size(), [&](void* place) { std::memcpy(place, message.data(), message.size()); },
        deadline);
  }
  // nullopt: `*why`.
  std::optional<std::string> Get(const timespec* deadline = nullptr, Result* why = nullptr) const {
    std::string message;
    internal::MessageQueue queue(*state_);
    const Result result =
        queue.Get([&](const void* place,
                      size_t size) { message.assign(static_cast<const char*>(place), size); },
                  [&](const internal::MessageQueue::Block& block) {
                    message.assign(static_cast<const char*>(block.address), block.size);
                    Domain::Current()->Free(block.address);
                  },
                  deadline);
    if (why != nullptr) *why = result;
    if (result != Result::kDone) return std::nullopt;
    return message;
  }
  std::optional<std::string> TryGet(Result* why = nullptr) const { return Get(&kNow, why); }

 private:
  internal::Handle<internal::QueueState> state_;
};

inline std::string Message(size_t size, uint64_t seed) {
  std::string message(size, '\0');
  for (char& c : message) c = static_cast<char>((seed = seed * 6364136223846793005 + 1) >> 56);
  return message;
}

}  // namespace mp::testing

#endif  // MP_TESTS_MP_TEST_QUEUE_H_
