// Handles in messages: they arrive as handles to the same objects, which live as long as the
// message or anybody who has received it, whoever is killed; and others' are told from them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/codec.h"
#include "mp/internal/cargo.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/raw_array.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/array.h"
#include "sync/barrier.h"
#include "sync/condition.h"
#include "sync/event.h"
#include "sync/latch.h"
#include "sync/lock.h"
#include "sync/once.h"
#include "sync/rlock.h"
#include "sync/rwlock.h"
#include "sync/semaphore.h"
#include "sync/value.h"
#include "tests/shared/gives_back.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/status_matchers.h"

namespace mp {
namespace {

using testing::Child;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;
using testing::Steps;

// A message as a queue might have it: a block of the domain with the handles, then the bytes.
class Message {
 public:
  template <class T>
  explicit Message(const T& value) {
    Encoder encoder;
    const absl::Status status = Encode(value, encoder);
    EXPECT_THAT(status, IsOk());
    handles_ = encoder.handles().size();
    size_ = encoder.size();
    block_ = static_cast<char*>(
        (*Domain::Get())->Allocate(internal::Cargo::Size(handles_) + size_ + 1).value());
    encoder.CopyTo(block_ + internal::Cargo::Size(handles_));
    internal::Cargo::Load(block_, encoder.handles());
  }
  // With ~T for nothing that ends by it.
  void Drop() const {
    cargo().Drop();
    Domain::Current()->Free(block_);
  }

  internal::Cargo cargo() const { return internal::Cargo(block_, handles_); }
  char* data() const { return block_ + internal::Cargo::Size(handles_); }
  std::string_view bytes() const { return {data(), size_}; }
  size_t handles() const { return handles_; }
  template <class T>
  absl::StatusOr<T> Get() const {
    Decoder decoder(bytes(), cargo().words());
    return Decode<T>(decoder);
  }

 private:
  char* block_;
  size_t handles_;
  size_t size_;
};

template <class T>
T SentAndReceived(const T& value) {
  const Message message(value);
  absl::StatusOr<T> arrived = message.Get<T>();
  message.Drop();
  EXPECT_THAT(arrived.status(), IsOk());
  return *std::move(arrived);
}

size_t ObjectsOf(std::string_view type) {
  size_t count = 0;
  for (const ObjectInfo& object : ListObjects()) count += object.type == type ? 1 : 0;
  return count;
}

class CodecHandlesTest : public testing::GivesBackTest {};

static_assert(Encodable<Lock> && Encodable<RLock> && Encodable<Condition> && Encodable<Event>);
static_assert(Encodable<Semaphore> && Encodable<BoundedSemaphore> && Encodable<Barrier>);
static_assert(Encodable<RWLock> && Encodable<Latch> && Encodable<Once>);
static_assert(Encodable<Value<int>> && Encodable<Array<double>> && Encodable<RawValue<int>>);
static_assert(Encodable<RawArray<char>> && Encodable<Shared<std::vector<int, Allocator<int>>>>);
static_assert(kFixedSize<Lock> == 0);
static_assert(!Encodable<LockGuard<Lock>> && !Encodable<Permit>);
struct NotALock : Lock {};  // what it adds would be lost
static_assert(!Encodable<NotALock>);
// Not a handle, though its members have the names of one's.
struct LooksLikeOne {
  Event state_;
  Lock lock_;
};
static_assert(Encodable<LooksLikeOne>);

TEST_F(CodecHandlesTest, EachKindArrivesAsTheSameObject) {
  const Lock lock;
  lock.Acquire();
  EXPECT_TRUE(SentAndReceived(lock).Locked());
  lock.Release();
  EXPECT_FALSE(SentAndReceived(lock).Locked());
  const RLock rlock;
  {
    const RLock again = SentAndReceived(rlock);
    again.Acquire();
    EXPECT_TRUE(rlock.Locked());
    again.Release();
  }
  const Semaphore semaphore(3);
  SentAndReceived(semaphore).Acquire();
  EXPECT_EQ(semaphore.GetValue(), 2);
  const BoundedSemaphore bounded(2);
  SentAndReceived(bounded).Acquire();
  EXPECT_EQ(bounded.GetValue(), 1);
  const Event event;
  SentAndReceived(event).Set();
  EXPECT_TRUE(event.IsSet());
  const Barrier barrier(5);
  EXPECT_EQ(SentAndReceived(barrier).parties(), 5);
  SentAndReceived(barrier).Abort();
  EXPECT_TRUE(barrier.Broken());
  const Latch latch(2);
  SentAndReceived(latch).CountDown();
  EXPECT_EQ(latch.GetCount(), 1);
  const Once once;
  SentAndReceived(once).Call([] {});
  EXPECT_TRUE(once.Done());
  const RWLock rwlock;
  rwlock.Acquire();
  EXPECT_FALSE(SentAndReceived(rwlock).TryAcquireShared());
  rwlock.Release();
  const RawValue<int> raw(1);
  *SentAndReceived(raw) = 2;
  EXPECT_EQ(*raw, 2);
  const RawArray<int> array({1, 2, 3});
  SentAndReceived(array)[1] = 7;
  EXPECT_EQ(array[1], 7);
  const Shared<std::vector<int, Allocator<int>>> shared;
  SentAndReceived(shared)->push_back(5);
  EXPECT_EQ(shared->size(), 1u);
}

TEST_F(CodecHandlesTest, WhatCarriesALockArrivesWithIt) {
  const Value<int> value(3);
  {
    const Value<int> again = SentAndReceived(value);
    again.Set(4);
    EXPECT_EQ(value.Get(), 4);
    const LockGuard guard(again);
    EXPECT_TRUE(value.Locked());
  }
  const Array<int> array({1, 2});
  SentAndReceived(array)[0] = 9;
  EXPECT_EQ(array[0], 9);

  // Another's lock, which two of them have in common.
  const Lock lock;
  using Both = std::pair<Value<int>, Array<int>>;
  const Both both(Value<int>(1, lock), Array<int>({1}, lock));
  const Both arrived = SentAndReceived(both);
  const LockGuard guard(lock);
  EXPECT_TRUE(arrived.first.Locked());
  EXPECT_TRUE(arrived.second.Locked());

  const RLock own = value.GetLock();
  EXPECT_FALSE(SentAndReceived(own).Locked());
}

TEST_F(CodecHandlesTest, AConditionArrivesWithItsLock) {
  const Condition own;
  {
    const LockGuard guard(own);
    EXPECT_TRUE(SentAndReceived(own).Locked());
  }
  const Lock lock;
  const Condition over(lock);
  const Condition arrived = SentAndReceived(over);
  const LockGuard guard(lock);
  EXPECT_TRUE(arrived.Locked());
}

struct Job {
  int number;
  Lock lock;
  std::vector<Value<int>> results;
};

TEST_F(CodecHandlesTest, HandlesTravelInContainersAndStructs) {
  const Job job{1, Lock(), {Value<int>(1), Value<int>(2)}};
  const Job arrived = SentAndReceived(job);
  arrived.results[1].Set(5);
  EXPECT_EQ(job.results[1].Get(), 5);
  const LockGuard guard(arrived.lock);
  EXPECT_TRUE(job.lock.Locked());

  std::map<std::string, std::optional<Event>> events = {{"a", Event()}, {"b", std::nullopt}};
  SentAndReceived(events)["a"]->Set();
  EXPECT_TRUE(events["a"]->IsSet());
  const auto shared = std::make_shared<Semaphore>(2);
  const auto pair = SentAndReceived(std::pair(shared, shared));
  EXPECT_EQ(pair.first, pair.second);
  pair.first->Acquire();
  EXPECT_EQ(shared->GetValue(), 1);
  const std::array<Lock, 2> locks;
  EXPECT_FALSE(SentAndReceived(locks)[1].Locked());
}

class WithConvention {
 public:
  WithConvention() = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(event, count);
  }
  Event event;
  int count = 0;
};

TEST_F(CodecHandlesTest, HandlesTravelThroughCerealsConventions) {
  const WithConvention from;
  SentAndReceived(from).event.Set();
  EXPECT_TRUE(from.event.IsSet());
}

// Lifetime ---------------------------------------------------------------------------------------

TEST_F(CodecHandlesTest, AMessageKeepsItsObjectsAlive) {
  auto lock = std::make_unique<Lock>();
  const Message message(*lock);
  EXPECT_EQ(message.handles(), 1u);
  lock.reset();
  EXPECT_EQ(ObjectsOf("Lock"), 1u);
  {
    const absl::StatusOr<Lock> arrived = message.Get<Lock>();
    ASSERT_THAT(arrived, IsOk());
    message.Drop();
    EXPECT_EQ(ObjectsOf("Lock"), 1u);
    const LockGuard guard(*arrived);
  }
  EXPECT_EQ(ObjectsOf("Lock"), 0u);
}

TEST_F(CodecHandlesTest, AMessageThatNobodyDecodesEndsWhatItAloneHas) {
  const Message message(std::vector<Shared<int>>{Shared<int>(1), Shared<int>(2)});
  EXPECT_EQ(ObjectsOf("Shared"), 2u);
  message.Drop();
  EXPECT_EQ(ObjectsOf("Shared"), 0u);
}

// Puts what is gone when it returns.
struct Fleeting {
  int n = 0;
};
}  // namespace

template <>
struct Codec<Fleeting> {
  static void Encode(const Fleeting&, Encoder& encoder) { encoder.Put(RawValue<int>(42)); }
  static Fleeting Decode(Decoder& decoder) { return {*decoder.Get<RawValue<int>>()}; }
};

namespace {

TEST_F(CodecHandlesTest, AHandleThatIsGoneBeforeItsMessageIsMadeIsKept) {
  EXPECT_EQ(SentAndReceived(Fleeting()).n, 42);
}

TEST_F(CodecHandlesTest, AnotherProcessReceivesWhatWasMadeAfterItsBirth) {
  const RawValue<const Message*> post(nullptr);
  alignas(Message) static unsigned char place[sizeof(Message)];
  const RawArray<unsigned char> copy(sizeof(Message));
  Child child([&](Steps& step) {
    step("born");
    std::memcpy(place, copy.data(), sizeof(Message));
    const auto& message = *reinterpret_cast<const Message*>(place);
    absl::StatusOr<Job> job = message.Get<Job>();
    ASSERT_THAT(job.status(), IsOk());
    step("received");
    job->results[0].Set(7);
    const LockGuard guard(job->lock);
    step("works");
  });
  child.RunTo("born");
  const uint64_t child_id = Domain::LastForked();
  const Event unrelated;
  std::optional<Job> job(Job{1, Lock(), {Value<int>(1)}});
  const Message message(*job);
  std::memcpy(copy.data(), &message, sizeof(Message));
  child.RunTo("received");
  message.Drop();
  child.RunTo("works");
  EXPECT_EQ(job->results[0].Get(), 7);
  EXPECT_TRUE(job->lock.Locked());
  const Lock lock = job->lock;
  job.reset();
  EXPECT_EQ(ObjectsOf("Value"), 1u);  // the child has it
  child.Kill();
  lock.Acquire();
  EXPECT_TRUE(lock.owner_died());
  lock.MarkConsistent();
  lock.Release();
  testing::Bury(child_id);
  EXPECT_EQ(ObjectsOf("Value"), 0u);
}

TEST_F(CodecHandlesTest, WhatWasInAMessageOfAKilledSenderComesBack) {
  Child child([&](Steps& step) {
    const Message message(std::vector<Lock>(3));
    EXPECT_EQ(message.handles(), 3u);
    step("sent");
  });
  child.RunTo("sent");
  const uint64_t child_id = Domain::LastForked();
  EXPECT_EQ(ObjectsOf("Lock"), 3u);
  child.Kill();
  testing::Bury(child_id);
  EXPECT_EQ(ObjectsOf("Lock"), 0u);
}

// Bad bytes --------------------------------------------------------------------------------------

TEST_F(CodecHandlesTest, BytesWithoutTheirMessageCarryNoHandle) {
  const Lock lock;
  const absl::StatusOr<std::string> bytes = EncodeToString(lock);
  ASSERT_THAT(bytes, IsOk());
  EXPECT_THAT(DecodeFromString<Lock>(*bytes).status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("carry")));
}

TEST_F(CodecHandlesTest, AHandleOfAnotherFamilyIsDataLoss) {
  const Lock lock;
  const Message message(lock);
  message.data()[3] ^= 1;
  EXPECT_THAT(message.Get<Lock>().status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("another family")));
  message.Drop();
}

TEST_F(CodecHandlesTest, AHandleOfAnotherTypeIsDataLoss) {
  const Message lock((Lock()));
  EXPECT_THAT(lock.Get<RLock>().status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("another type")));
  lock.Drop();
  const Message value((RawValue<int>(1)));
  EXPECT_THAT(value.Get<RawValue<unsigned>>().status(), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT((value.Get<RawValue<std::array<char, 500>>>().status()),
              StatusIs(absl::StatusCode::kDataLoss));
  value.Drop();
}

TEST_F(CodecHandlesTest, AHandleInAnothersPlaceIsDataLoss) {
  // So many that the last ones lie in cells that nothing lay in before.
  std::vector<RawValue<int>> values;
  for (int i = 0; i < 100; ++i) values.emplace_back(i);
  const Message message(values);
  // Behind the length each mark is 16 bytes.
  char* const last = message.data() + 1 + 99 * 16;
  std::swap_ranges(last, last + 16, last - 16);
  EXPECT_THAT(message.Get<std::vector<RawValue<int>>>().status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("not the one")));
  message.Drop();
}

TEST_F(CodecHandlesTest, WhatWasDroppedWithItsMessageIsDataLoss) {
  const Lock lock;
  const Message message(lock);
  message.cargo().Drop();
  EXPECT_THAT(message.Get<Lock>().status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("no more")));
  message.Drop();
}

TEST_F(CodecHandlesTest, NoByteThatIsWrongMakesAHandle) {
  const Message message(Job{1, Lock(), {Value<int>(1), Value<int>(1, Lock())}});
  const std::string good(message.bytes());
  for (size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      message.data()[i] ^= static_cast<char>(1 << bit);
      const absl::StatusOr<Job> job = message.Get<Job>();
      // What is no handle is a number.
      EXPECT_TRUE(!job.ok() || i < sizeof(int)) << i;
      message.data()[i] = good[i];
    }
  }
  EXPECT_THAT(message.Get<Job>().status(), IsOk());
  message.Drop();
}

}  // namespace
}  // namespace mp
