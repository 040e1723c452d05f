// What keeps an object alive: handles in the domain, and the processes that have some of
// their own.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/limbo.h"
#include "shared/internal/object.h"
#include "shared/internal/process_table.h"
#include "shared/owner.h"
#include "shared/raw_array.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "sync/lock.h"
#include "sync/lock_guard.h"
#include "tests/support/bury.h"
#include "tests/support/child.h"
#include "tests/support/fork.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/look.h"
#include "tests/support/settings.h"

namespace mp {
namespace {

using testing::Child;
using testing::ForkMortal;
using testing::Gate;
using testing::Inherited;
using testing::kSanitized;
using testing::Settle;

using Value = RawValue<int>;
// A place in the domain for a handle that is sent to others.
using Mailbox = Shared<std::optional<Value>>;
using Values = std::vector<Value, Allocator<Value>>;

// Counts how often it ends, in this process.
struct Counted {
  explicit Counted(int* count) : count(count) {}
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { ++*count; }
  int* count;
};
using CountedMailbox = Shared<std::optional<Shared<Counted>>>;

class StakesTest : public ::testing::Test {
 protected:
  StakesTest() {
    { const Value first; }
    Settle();
    before_ = Stats().in_use;
  }
  ~StakesTest() override {
    Settle();
    EXPECT_EQ(Stats().in_use, before_) << Stats().ToString();
    EXPECT_EQ(Check(), absl::OkStatus());
  }

  size_t before_;
};

TEST_F(StakesTest, AHandleInTheDomainKeepsTheObject) {
  const Mailbox mailbox;
  mailbox->emplace(7);
  const size_t with = Stats().in_use;
  EXPECT_EQ(Check(), absl::OkStatus());
  EXPECT_EQ(***mailbox, 7);
  mailbox->reset();
  EXPECT_LT(Stats().in_use, with);
}

TEST_F(StakesTest, AnObjectOfAWorkerLivesInTheMailboxOfItsParent) {
  const Mailbox mailbox;
  Child worker([&](auto& step) {
    Value mine(7);
    mailbox->emplace(mine);
    step("put");
    *mine = 8;
  });
  ASSERT_TRUE(worker.RunTo("put"));
  EXPECT_EQ(***mailbox, 7);
  EXPECT_EQ(worker.Finish(), 0);
  Settle();
  EXPECT_EQ(***mailbox, 8);
  mailbox->reset();
}

TEST_F(StakesTest, ItsMakerIsKilled) {
  const Mailbox mailbox;
  Child worker([&](auto& step) {
    Value mine(7);
    const Value copy = mine;
    mailbox->emplace(mine);
    step("put");
  });
  ASSERT_TRUE(worker.RunTo("put"));
  worker.Kill();
  Settle();
  EXPECT_EQ(***mailbox, 7);
  EXPECT_EQ(Check(), absl::OkStatus());
  mailbox->reset();
}

TEST_F(StakesTest, WhatAKilledProcessMadeAndToldNobodyOfComesBack) {
  Child worker([&](auto& step) {
    const Lock lock({.name = "mine"});
    const Shared<Values> values;
    for (int i = 0; i < 100; ++i) values->emplace_back(i);
    step("made");
  });
  ASSERT_TRUE(worker.RunTo("made"));
  EXPECT_GT(Stats().in_use, before_ + 5000);
  worker.Kill();
  Settle();
  EXPECT_EQ(Stats().in_use, before_) << Stats().ToString();
}

TEST_F(StakesTest, WhoCopiesItOutOfTheDomainHasIt) {
  const Mailbox mailbox;
  Inherited<Gate> dropped;
  Child reader([&](auto& step) {
    step("born");
    std::optional<Value> mine = *mailbox;  // made after its birth
    std::optional<Value> copy = mine;
    step("copied");
    dropped->Wait();
    mine.reset();
    EXPECT_EQ(**copy, 7);
    { const Value other(-1); }
    EXPECT_EQ(**copy, 7);
    *copy = Value(1);  // the last one of this process
    EXPECT_EQ(**copy, 1);
    copy.reset();
    step("dropped");
  });
  ASSERT_TRUE(reader.RunTo("born"));
  const size_t without = Stats().in_use;
  mailbox->emplace(7);
  ASSERT_TRUE(reader.RunTo("copied"));
  mailbox->reset();
  EXPECT_EQ(Check(), absl::OkStatus());
  dropped->Open();
  ASSERT_TRUE(reader.RunTo("dropped"));
  EXPECT_EQ(Stats().in_use, without);
  EXPECT_EQ(reader.Finish(), 0);
}

TEST_F(StakesTest, AHolderThatIsKilledHasItNoMore) {
  const Mailbox mailbox;
  Child reader([&](auto& step) {
    step("born");
    const Value mine = **mailbox;
    step("copied");
  });
  ASSERT_TRUE(reader.RunTo("born"));
  mailbox->emplace(7);
  ASSERT_TRUE(reader.RunTo("copied"));
  mailbox->reset();
  const size_t held = Stats().in_use;
  reader.Kill();
  Settle();
  EXPECT_LT(Stats().in_use, held);
}

TEST_F(StakesTest, TheLivingEndItTheDeadDoNot) {
  int ended = 0;
  const CountedMailbox mailbox;
  // By whoever drops the last handle, be it in the domain.
  mailbox->emplace(&ended);
  mailbox->reset();
  EXPECT_EQ(ended, 1);
  // Or one of its own that it copied out.
  mailbox->emplace(&ended);
  {
    const Shared<Counted> mine = **mailbox;
    mailbox->reset();
    EXPECT_EQ(ended, 1);
  }
  EXPECT_EQ(ended, 2);
  // By a process that did not make it.
  mailbox->emplace(&ended);
  Child other([&](auto& step) {
    step("born");
    mailbox->reset();
    EXPECT_EQ(ended, 2) << "it may have inherited a handle itself";
  });
  ASSERT_TRUE(other.RunTo("born"));
  EXPECT_EQ(other.Finish(), 0);
  Settle();
  EXPECT_EQ(ended, 2) << "its keeper is dead: the memory comes back, without ~T";
}

TEST_F(StakesTest, AnotherProcessEndsWhatItDidNotMake) {
  Inherited<int> ended(0);
  const CountedMailbox mailbox;
  Child other([&](auto& step) {
    step("born");
    mailbox->reset();
    step("dropped");
  });
  ASSERT_TRUE(other.RunTo("born"));
  mailbox->emplace(&*ended);
  ASSERT_TRUE(other.RunTo("dropped"));
  EXPECT_EQ(*ended, 1);
  EXPECT_EQ(other.Finish(), 0);
}

TEST_F(StakesTest, AGrandchildHasWhatItsParentCopiedOut) {
  const Mailbox mailbox;
  Inherited<Gate> dropped;
  Child child([&](auto& step) {
    step("born");
    std::optional<Value> mine = *mailbox;
    Child grandchild([&](auto& inner) {
      inner("born");
      dropped->Wait();
      const Value copy = *mine;
      mine.reset();
      EXPECT_EQ(*copy, 7);
    });
    ASSERT_TRUE(grandchild.RunTo("born"));
    mine.reset();
    step("both");
    EXPECT_EQ(grandchild.Finish(), 0);
  });
  ASSERT_TRUE(child.RunTo("born"));
  mailbox->emplace(7);
  ASSERT_TRUE(child.RunTo("both"));
  mailbox->reset();
  const Value other(-1);
  dropped->Open();
  EXPECT_EQ(child.Finish(), 0);
}

TEST_F(StakesTest, AssignmentMovesTheStake) {
  int first = 0;
  int second = 0;
  const CountedMailbox mailbox;
  mailbox->emplace(&first);
  Shared<Counted> mine(&second);
  **mailbox = mine;
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 0);
  **mailbox = **mailbox;
  **mailbox = mine;
  EXPECT_EQ(Check(), absl::OkStatus());
  mine = Shared<Counted>(&first);
  EXPECT_EQ(second, 0);
  mine = **mailbox;
  EXPECT_EQ(first, 2);
  mailbox->reset();
  EXPECT_EQ(second, 0);
  mine = Shared<Counted>(&first);
  EXPECT_EQ(second, 1);
}

TEST_F(StakesTest, HandlesInAContainerThatGrows) {
  const Shared<Values> values;
  for (int i = 0; i < 1000; ++i) values->emplace_back(i);
  values->erase(values->begin(), values->begin() + 500);
  EXPECT_EQ(*values->front(), 500);
  EXPECT_EQ(Check(), absl::OkStatus());
  EXPECT_EQ(Stats().by_type.at("RawValue").count, 500u);
}

TEST_F(StakesTest, ResetDropsTheHandlesToo) {
  struct Node {
    explicit Node(const Value& value) : value(value) {}
    Value value;
    Values more;
    std::optional<Lock> lock;
  };
  const Shared<Node> node(Value(1));
  for (int i = 0; i < 100; ++i) node->more.emplace_back(i);
  node->lock.emplace();
  const Value kept = node->more[7];
  node.Reset(Value(2));
  EXPECT_EQ(Stats().by_type.at("RawValue").count, 2u) << Stats().ToString();
  EXPECT_EQ(Stats().by_type.count("Lock"), 0u);
  EXPECT_EQ(*kept, 7);
  EXPECT_EQ(*node->value, 2);
  EXPECT_EQ(Check(), absl::OkStatus());
}

// Whoever dies, with a tree of objects that have handles to one another.
TEST_F(StakesTest, ATreeOfADeadProcessComesBackWhole) {
  struct Node {
    std::vector<Shared<Node>, Allocator<Shared<Node>>> children;
    Lock lock;
  };
  Child worker([&](auto& step) {
    const Shared<Node> root;
    for (int i = 0; i < 10; ++i) {
      root->children.emplace_back();
      for (int j = 0; j < 10; ++j) root->children.back()->children.emplace_back();
    }
    step("built");
  });
  ASSERT_TRUE(worker.RunTo("built"));
  EXPECT_EQ(Stats().by_type.at("Shared").count, 111u);
  worker.Kill();
  Settle();
  EXPECT_EQ(Stats().in_use, before_) << Stats().ToString();
}

TEST_F(StakesTest, HandlesInBlocksOfAProcessGoWithIt) {
  Child worker([&](auto& step) {
    void* block = *Domain::Current()->Allocate(4096);
    auto* values = static_cast<Value*>(block);
    for (int i = 0; i < 10; ++i) new (&values[i]) Value(i);
    step("placed");
  });
  ASSERT_TRUE(worker.RunTo("placed"));
  worker.Kill();
  Settle();
  EXPECT_EQ(Stats().in_use, before_) << Stats().ToString();
}

// What a message will do: a block that nobody's destructors free.
TEST_F(StakesTest, AMessageCarriesAStake) {
  int ended = 0;
  Domain& domain = *Domain::Current();
  void* message = *domain.Allocate(64);
  domain.heap().SetOwner(message, Owner::Message(message));
  {
    const Shared<Counted> counted(&ended);
    new (message) Shared<Counted>(counted);
  }
  EXPECT_EQ(ended, 0);
  EXPECT_EQ(Check(), absl::OkStatus());
  {
    const Shared<Counted> received = *static_cast<Shared<Counted>*>(message);
    internal::DropHandlesIn(message, 64);
    domain.Free(message);
    EXPECT_EQ(ended, 0);
  }
  EXPECT_EQ(ended, 1);
}

// Copies of the bytes of a handle are no handles.
TEST_F(StakesTest, BytesAreNoStakes) {
  const Mailbox mailbox;
  mailbox->emplace(7);
  Domain& domain = *Domain::Current();
  void* block = *domain.Allocate(sizeof(*mailbox));
  memcpy(block, static_cast<const void*>(mailbox.get()), sizeof(*mailbox));
  internal::DropHandlesIn(block, sizeof(*mailbox));
  EXPECT_EQ(Check(), absl::OkStatus());
  EXPECT_EQ(***mailbox, 7);
  domain.Free(block);
}

TEST_F(StakesTest, ThreadsCopyAndDropOneHandle) {
  const Mailbox mailbox;
  mailbox->emplace(7);
  const Lock lock;
  auto work = [&] {
    for (int i = 0; i < (kSanitized ? 200 : 2000); ++i) {
      std::optional<Value> mine;
      {
        const LockGuard guard(lock);
        mine = *mailbox;
      }
      EXPECT_EQ(**mine, 7);
    }
  };
  Child other([&] {
    std::thread first(work);
    std::thread second(work);
    first.join();
    second.join();
  });
  std::thread first(work);
  std::thread second(work);
  first.join();
  second.join();
  EXPECT_EQ(other.Finish(), 0);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST_F(StakesTest, AMillionObjectsBesideLongLivedWorkersLeaveNoTrace) {
  Inherited<Gate> done;
  Child first([&](auto& step) {
    step("born");
    done->Wait();
  });
  Child second([&](auto& step) {
    step("born");
    done->Wait();
  });
  ASSERT_TRUE(first.RunTo("born"));
  ASSERT_TRUE(second.RunTo("born"));
  const Mailbox mailbox;
  { const RawArray<int> array(10); }
  const DomainStats before = Stats();
  constexpr int kObjects = kSanitized ? 20'000 : 1'000'000;
  for (int i = 0; i < kObjects / 2; ++i) {
    const Value value(i);
    mailbox->emplace(i);
  }
  mailbox->reset();
  EXPECT_EQ(Stats().in_use, before.in_use);
  EXPECT_EQ(Stats().committed, before.committed);
  done->Open();
  EXPECT_EQ(first.Finish(), 0);
  EXPECT_EQ(second.Finish(), 0);
}

// A handle in the domain that a child drops, and then dies: the parent's stays good.
TEST_F(StakesTest, AChildThatDropsWhatItInheritedDropsNothing) {
  const Mailbox mailbox;
  std::optional<Value> mine(std::in_place, 7);
  Child child([&] {
    const std::optional<Value> copy = mine;
    mine.reset();
    mailbox->emplace(*copy);
    mailbox->reset();
  });
  EXPECT_EQ(child.Finish(), 0);
  Settle();
  const Value other(-1);
  EXPECT_EQ(**mine, 7);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST_F(StakesTest, AHandleCopiedFromAnInheritedOneIsInheritedToo) {
  auto value = std::make_unique<Value>(7);
  Child child([&](auto& step) {
    const Value copy = *value;
    value.reset();
    step("copied");
    EXPECT_EQ(*copy, 7);
  });
  ASSERT_TRUE(child.RunTo("copied"));
  value.reset();
  const Value other(-1);
  EXPECT_EQ(child.Finish(), 0);
}

// Of a container outside of the domain, with its memory in it, a fork copies the container only.
TEST_F(StakesTest, AChildThatEndsItsCopyOfAContainerLeavesItsParentsHandles) {
  std::optional<Values> values(std::in_place);
  values->emplace_back(7);
  Child child([&] { values.reset(); });
  EXPECT_EQ(child.Finish(), 0);
  Settle();
  EXPECT_EQ(*values->front(), 7);
  EXPECT_EQ(Check(), absl::OkStatus());
}

struct MayDie {
  MayDie() = default;
  explicit MayDie(const Value& value) {
    held.emplace(value);
    raise(SIGKILL);
  }
  std::optional<Value> held;
};

TEST_F(StakesTest, WhatAResetThatWasKilledHadPutThereGoesWithTheObject) {
  const Value value(7);
  const Shared<MayDie> holder;
  const pid_t child = ForkMortal([&] { holder.Reset(value); });
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  Settle();
}

struct Link {
  std::vector<Shared<Link>, Allocator<Shared<Link>>> next;  // one, or none
};

// Each has the one before it.
Shared<Link> MakeChain(int length) {
  Shared<Link> head;
  for (int i = 1; i < length; ++i) {
    const Shared<Link> link;
    link->next.push_back(head);
    head = link;
  }
  return head;
}

constexpr int kLongChain = kSanitized ? 2000 : 64'000;

TEST_F(StakesTest, ALongChainOfADeadProcessComesBack) {
  Child child([](auto& step) {
    const Shared<Link> head = MakeChain(kLongChain);
    step("made");
  });
  ASSERT_TRUE(child.RunTo("made"));
  child.Kill();
  Settle();
  EXPECT_EQ(Stats().in_use, before_);
}

TEST_F(StakesTest, ResetEndsALongChain) {
  const Shared<Link> anchor;
  anchor->next.push_back(MakeChain(kLongChain));
  anchor.Reset();
  EXPECT_EQ(Stats().by_type.at("Shared").count, 1u);
}

// Memory that only a child kept, which is gone now, comes back before an allocation fails.
TEST_F(StakesTest, LimboIsLookedAtWhereMemoryIsShort) {
  const size_t most = Stats().commit_limit / 8 * 5;
  auto array = RawArray<char>::Create(most);
  if (!array.ok()) GTEST_SKIP() << array.status();
  Child child([](auto& step) { step("born"); });
  ASSERT_TRUE(child.RunTo("born"));
  array = absl::UnknownError("dropped");
  child.Kill();
  EXPECT_EQ(RawArray<char>::Create(most).status(), absl::OkStatus());
}

// While a process is stopped that holds the lock of all stakes, a thread waits for it, and
// another forks.
TEST_F(StakesTest, AForkDoesNotWaitForWhoIsStopped) {
  const Mailbox mailbox;
  Child maker([&](auto& step) {
    mailbox->emplace(7);
    Domain& domain = *Domain::Current();
    domain.stakes().HoldStill(domain.processes(), [&] { step("holds"); });
  });
  ASSERT_TRUE(maker.RunTo("holds"));
  std::atomic<pid_t> tid(0);
  std::thread taker([&] {
    tid = gettid();
    const Value out = **mailbox;
  });
  while (tid == 0) std::this_thread::yield();
  ASSERT_TRUE(testing::WaitUntilAsleepInFutex(tid));
  const pid_t child = ForkMortal([] {});
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_EQ(maker.Finish(), 0);
  taker.join();
  mailbox->reset();
}

TEST_F(StakesTest, WhoOnlyDropsWhatItInheritedHasNotUsedTheHeap) {
  auto mine = std::make_unique<Value>(7);
  Child child([&] {
    mine.reset();
    Domain& domain = *Domain::Current();
    const auto self = domain.processes().Find(domain.ThisProcess().identity());
    EXPECT_EQ(self.flags & internal::ProcessTable::kUsedHeap, 0u);
  });
  EXPECT_EQ(child.Finish(), 0);
}

// The maker drops its last handle while an heir puts one into the domain.
TEST_F(StakesTest, AnHeirBringsBackWhatItsMakerDrops) {
  constexpr int kCount = kSanitized ? 500 : 20'000;
  const Shared<std::vector<std::optional<Value>, Allocator<std::optional<Value>>>> mailboxes(
      size_t{kCount});
  std::vector<std::optional<Value>> mine(kCount);
  for (int i = 0; i < kCount; ++i) mine[static_cast<size_t>(i)].emplace(i);
  const Inherited<std::atomic<int>> turn(-1);
  const Inherited<std::atomic<int>> done(-1);
  Child heir([&] {
    for (int i = 0; i < kCount; ++i) {
      while (turn->load() < i) {
      }
      // Now sooner, now later.
      for (int pause = 0; pause < i % 400; ++pause) (void)turn->load();
      (*mailboxes)[static_cast<size_t>(i)].emplace(*mine[static_cast<size_t>(i)]);
      done->store(i);
    }
  });
  for (int i = 0; i < kCount; ++i) {
    turn->store(i);
    mine[static_cast<size_t>(i)].reset();
    while (done->load() < i) {
    }
    const Value other(-1);
    ASSERT_EQ(**(*mailboxes)[static_cast<size_t>(i)], i);
  }
  EXPECT_EQ(heir.Finish(), 0);
}

// One thread drops the last handle that the maker has of its own; another copies one out of the
// domain, and empties that place.
TEST_F(StakesTest, AThreadTakesItOutWhileAnotherDropsTheLast) {
  const Mailbox mailbox;
  constexpr int kRounds = kSanitized ? 500 : 20'000;
  std::optional<Value> mine;
  std::barrier both(2);
  std::thread other([&] {
    for (int i = 0; i < kRounds; ++i) {
      both.arrive_and_wait();
      const Value out = **mailbox;
      mailbox->reset();
      both.arrive_and_wait();
      const Value stranger(-1);
      EXPECT_EQ(*out, i);
      both.arrive_and_wait();
    }
  });
  for (int i = 0; i < kRounds; ++i) {
    mine.emplace(i);
    mailbox->emplace(*mine);
    both.arrive_and_wait();
    mine.reset();
    both.arrive_and_wait();
    both.arrive_and_wait();
  }
  other.join();
}

}  // namespace
}  // namespace mp
