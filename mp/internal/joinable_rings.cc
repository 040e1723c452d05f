#include "mp/internal/joinable_rings.h"

#include <time.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "shared/domain.h"
#include "shared/internal/limbo.h"
#include "shared/internal/wait.h"
#include "shared/owner.h"

namespace mp::internal {
namespace {

constexpr uint64_t kFirstRecords = 8;
constexpr uint64_t kFirstAccounts = 16;

ProcessId Self() { return Domain::Current()->AsHolder().identity(); }

bool IsDead(ProcessId process) {
  const ProcessTable::Kind kind = Domain::Current()->processes().Find(process).kind;
  return kind == ProcessTable::Kind::kFree || kind == ProcessTable::Kind::kDead;
}

// The state's: a stray block (Q3) until the state refers to it. nullptr: no memory.
void* Allocate(JoinableState& state, size_t size) {
  return Domain::Current()
      ->Allocate(size, alignof(std::max_align_t), Owner::Object(&state))
      .value_or(nullptr);
}

// `block`, 0 or one that the state refers to at `place`, is replaced.
void Replace(Word& place, void* block) {
  void* const old = reinterpret_cast<void*>(place.load(std::memory_order_relaxed));
  // Before: a stray block.
  // After:  the old one is.
  // Test:   JoinableQueueCrashTest.AGetIsAllOrNothing
  place.store(reinterpret_cast<uint64_t>(block), std::memory_order_release);
  Domain::Current()->Free(old);
}

}  // namespace

using Result = JoinableRings::Result;

bool JoinableRings::Init(JoinableState& state, uint64_t limit, uint64_t max_deliveries) {
  if (!MessageRings::Init(state, limit)) return false;
  state.book.Init();
  state.max_deliveries = max_deliveries;
  for (Word* word :
       {&state.done, &state.leased, &state.returned, &state.back.first, &state.back.last,
        &state.dead.first, &state.dead.last, &state.free, &state.records, &state.accounts,
        &state.looked, &state.news, &state.take_sleeps, &state.join_sleeps}) {
    word->store(0, std::memory_order_relaxed);
  }
  return true;
}

// Records --------------------------------------------------------------------------------------

MessageRings::Block JoinableRings::BlockOf(uint64_t number) const {
  const LeaseRecord& record = state_.Record(number);
  const MessageHead message = MessageHead::Of(record.message.load(std::memory_order_relaxed));
  return {reinterpret_cast<void*>(record.block.load(std::memory_order_relaxed)), message.size,
          message.kind};
}

void JoinableRings::Append(Section& section, LeaseList& list, uint64_t number) {
  section.Set(state_.Record(number).next, 0);
  const uint64_t last = section.Get(list.last);
  section.Set(last == 0 ? list.first : state_.Record(last).next, number);
  section.Set(list.last, number);
}

uint64_t JoinableRings::TakeFirst(Section& section, LeaseList& list) {
  const uint64_t number = section.Get(list.first);
  const uint64_t next = section.Get(state_.Record(number).next);
  section.Set(list.first, next);
  if (next == 0) section.Set(list.last, 0);
  return number;
}

void JoinableRings::Free(Section& section, uint64_t number) {
  LeaseRecord& record = state_.Record(number);
  section.Set(record.process, 0);
  section.Set(record.block, 0);
  section.Set(record.next, section.Get(state_.free));
  section.Set(state_.free, number);
}

// There is none that is free.
bool JoinableRings::GrowRecords() {
  LeaseRecords* const old = state_.Records();
  const uint64_t before = old == nullptr ? 0 : old->count;
  const uint64_t count = std::max(kFirstRecords, 2 * before);
  void* const memory = Allocate(state_, LeaseRecords::SizeOf(count));
  if (memory == nullptr) return false;
  auto* const records = new (memory) LeaseRecords{count};
  if (old != nullptr) {
    std::memcpy(static_cast<void*>(records + 1), static_cast<const void*>(old + 1),
                before * sizeof(LeaseRecord));
  }
  for (uint64_t number = before + 1; number <= count; ++number) {
    new (&(*records)[number]) LeaseRecord{{}, number == count ? 0 : number + 1, {}, {}, {}};
  }
  {
    Section section(state_.book);
    section.Set(state_.records, reinterpret_cast<uint64_t>(records));
    section.Set(state_.free, before + 1);
    // Before: the new ones are a stray block.
    // After:  the old ones are.
    // Test:   JoinableQueueCrashTest.ALeaseIsAllOrNothing
    section.Commit();
  }
  Domain::Current()->Free(old);
  return true;
}

// Of a process that has it no longer.
void JoinableRings::GiveBack(uint64_t number) {
  const EndsWait ends_wait;
  if (Drops()) return FreeBlock(End(number));
  LeaseRecord& record = state_.Record(number);
  const uint64_t deliveries = record.deliveries.load(std::memory_order_relaxed);
  Section section(state_.book);
  section.Set(record.process, 0);
  Add(section, state_.leased, -1);
  if (state_.max_deliveries != 0 && deliveries >= state_.max_deliveries) {
    Append(section, state_.dead, number);
    Add(section, state_.done, 1);
  } else {
    Append(section, state_.back, number);
    Add(section, state_.returned, 1);
  }
  // Before: it is leased, by a process that may be dead.
  // After:  the next one who comes takes it, or it is a dead letter. Who sleeps is woken by the
  //         caller, or by its burial, as by each.
  // Test:   JoinableQueueCrashTest.AReturnIsAllOrNothing
  section.Commit();
}

// Of a process. Its block is this process's then, to be freed.
MessageRings::Block JoinableRings::End(uint64_t number) {
  const Block block = BlockOf(number);
  Section section(state_.book);
  Free(section, number);
  Add(section, state_.leased, -1);
  Add(section, state_.done, 1);
  // Before: it is leased.
  // After:  it is finished; its block is a stray one (Q3) until it is this process's.
  // Test:   JoinableQueueCrashTest.AFinishIsAllOrNothing
  MakeOwn(block, [&] { section.Commit(); });
  return block;
}

// What the dead had comes back; what is dropped goes.
void JoinableRings::Settle() {
  const EndsWait ends_wait;
  if (state_.leased.load(std::memory_order_relaxed) != 0) {
    const uint32_t deaths = Deaths();
    if (state_.looked.load(std::memory_order_relaxed) != deaths) {
      for (uint64_t number = 1; number <= state_.Records()->count; ++number) {
        const uint64_t process = state_.Record(number).process.load(std::memory_order_relaxed);
        if (process != 0 && IsDead(process)) GiveBack(number);
      }
      state_.looked.store(deaths, std::memory_order_relaxed);
    }
  }
  if (!Drops()) return;
  TakeAll();
  while (state_.returned.load(std::memory_order_relaxed) != 0) {
    Block block = {};
    {
      Section section(state_.book);
      const uint64_t number = TakeFirst(section, state_.back);
      block = BlockOf(number);
      Free(section, number);
      Add(section, state_.returned, -1);
      Add(section, state_.done, 1);
      // Before, after: as in End().
      MakeOwn(block, [&] { section.Commit(); });
    }
    FreeBlock(block);
  }
}

// Accounts -------------------------------------------------------------------------------------

namespace {

// Where that of `process` is, or would be.
LeaseAccount& PlaceOf(LeaseAccounts& accounts, ProcessId process) {
  const uint64_t mask = accounts.capacity - 1;
  // Fibonacci hashing.
  for (uint64_t index = (process * 0x9e3779b97f4a7c15) >> 32;; ++index) {
    LeaseAccount& account = accounts[index & mask];
    const uint64_t other = account.process.load(std::memory_order_relaxed);
    if (other == process || other == 0) return account;
  }
}

}  // namespace

// nullptr: it has none.
LeaseAccount* JoinableRings::FindAccount(ProcessId process) const {
  LeaseAccounts* const accounts = state_.Accounts();
  if (accounts == nullptr) return nullptr;
  LeaseAccount& account = PlaceOf(*accounts, process);
  return account.process.load(std::memory_order_relaxed) == 0 ? nullptr : &account;
}

// Of one that has none. nullptr: no memory.
LeaseAccount* JoinableRings::MakeAccount(ProcessId process) {
  LeaseAccounts* accounts = state_.Accounts();
  std::vector<const LeaseAccount*> living;
  uint64_t used = 0;
  for (uint64_t i = 0; accounts != nullptr && i < accounts->capacity; ++i) {
    const LeaseAccount& account = (*accounts)[i];
    const uint64_t other = account.process.load(std::memory_order_relaxed);
    used += other != 0;
    if (other != 0 && !IsDead(other)) living.push_back(&account);
  }
  if (accounts == nullptr || 2 * (used + 1) > accounts->capacity) {
    const uint64_t capacity = std::max(kFirstAccounts, std::bit_ceil(4 * (living.size() + 1)));
    void* const memory = Allocate(state_, LeaseAccounts::SizeOf(capacity));
    if (memory == nullptr) return nullptr;
    accounts = new (memory) LeaseAccounts{capacity};
    for (uint64_t i = 0; i < capacity; ++i) new (&(*accounts)[i]) LeaseAccount{};
    for (const LeaseAccount* account : living) {
      const uint64_t other = account->process.load(std::memory_order_relaxed);
      LeaseAccount& copy = PlaceOf(*accounts, other);
      copy.process.store(other, std::memory_order_relaxed);
      copy.held.store(account->held.load(std::memory_order_relaxed), std::memory_order_relaxed);
    }
    Replace(state_.accounts, accounts);
  }
  LeaseAccount& account = PlaceOf(*accounts, process);
  account.process.store(process, std::memory_order_relaxed);
  return &account;
}

JoinableRings::Living JoinableRings::LookAtTheLiving() const {
  LeaseAccounts* const accounts = state_.Accounts();
  Living living;
  for (uint64_t i = 0; accounts != nullptr && i < accounts->capacity; ++i) {
    LeaseAccount& account = (*accounts)[i];
    const uint64_t held = account.held.load(std::memory_order_relaxed);
    if (held == 0 || IsDead(account.process.load(std::memory_order_relaxed))) continue;
    living.held += held;
    if (held > living.most_held) living = {living.held, held, &account};
  }
  return living;
}

// To take --------------------------------------------------------------------------------------

Result JoinableRings::FindNext(Next& next) {
  Settle();
  next.record = state_.back.first.load(std::memory_order_relaxed);
  if (next.record != 0) return Result::kDone;
  next.head = QueueEnd::Of(state_.head.load(std::memory_order_relaxed));
  QueueRing* ring;
  const Result result = MessageRings::Next(next.head, ring);
  if (result == Result::kDone) {
    next.place = ring->At(next.head.position);
    next.message = MessageHead::Of(*next.place);
  }
  const bool may_come_back = !Drops() && state_.leased.load(std::memory_order_relaxed) != 0;
  return result == Result::kShut && may_come_back ? Result::kBusy : result;
}

Result JoinableRings::GetNext(absl::FunctionRef<void(const void* place, size_t size)> read,
                              absl::FunctionRef<void(const Block& block)> take) {
  JoinableRings::Next next;
  if (const Result result = FindNext(next); result != Result::kDone) return result;
  const ProcessId self = Self();
  LeaseAccount* account = FindAccount(self);
  if (account == nullptr) account = MakeAccount(self);
  if (account == nullptr) return Result::kNoMemory;
  const bool in_ring = next.record == 0 && next.message.kind == MessageHead::Kind::kBytes;
  if (in_ring) read(next.place + 1, next.message.size);
  Section section(state_.book);
  Add(section, account->held, 1);
  Block block = {};
  if (next.record != 0) {
    TakeFirst(section, state_.back);
    Add(section, state_.returned, -1);
    block = BlockOf(next.record);
    Free(section, next.record);
  } else {
    section.Set(state_.head, next.behind().word());
    if (!in_ring) block = BlockAt(next.place);
  }
  // Before: the message is there, for whoever comes.
  // After:  it is this process's, and in its account; a block is a stray one (Q3) until that is
  //         true of it, too. Who waits to put is woken by the burial, or by who applies the book.
  // Test:   JoinableQueueCrashTest.AGetIsAllOrNothing
  if (in_ring) {
    section.Commit();
  } else {
    MakeOwn(block, [&] { section.Commit(); });
    take(block);
  }
  return Result::kDone;
}

Result JoinableRings::TryGet(size_t most, size_t& count,
                             absl::FunctionRef<void(const void* place, size_t size)> read,
                             absl::FunctionRef<void(const Block& block)> take,
                             const timespec* deadline) {
  count = 0;
  if (!LockToGet(deadline)) return Result::kBusy;
  const Unlocker unlocker(state_.get);
  Result result = Result::kDone;
  while (count < most && (result = GetNext(read, take)) == Result::kDone) ++count;
  return count != 0 ? Result::kDone : result;
}

Result JoinableRings::TryLease(Lease& lease, const timespec* deadline) {
  if (!LockToGet(deadline)) return Result::kBusy;
  const Unlocker unlocker(state_.get);
  JoinableRings::Next next;
  if (const Result result = FindNext(next); result != Result::kDone) return result;
  Block block = {};
  if (next.record == 0) {
    if (state_.free.load(std::memory_order_relaxed) == 0 && !GrowRecords()) {
      return Result::kNoMemory;
    }
    if (next.message.kind == MessageHead::Kind::kBytes) {
      block = {Allocate(state_, next.message.size), next.message.size, MessageHead::Kind::kBlock};
      if (block.address == nullptr) return Result::kNoMemory;
      std::memcpy(block.address, next.place + 1, block.size);
    } else {
      block = BlockAt(next.place);
    }
  }
  const ProcessId self = Self();
  Section section(state_.book);
  uint64_t number = next.record;
  if (number != 0) {
    TakeFirst(section, state_.back);
    Add(section, state_.returned, -1);
  } else {
    number = section.Get(state_.free);
    LeaseRecord& record = state_.Record(number);
    section.Set(state_.free, section.Get(record.next));
    section.Set(record.deliveries, 0);
    section.Set(record.block, reinterpret_cast<uint64_t>(block.address));
    section.Set(record.message, MessageHead{block.kind, block.size}.unit());
    section.Set(state_.head, next.behind().word());
  }
  LeaseRecord& record = state_.Record(number);
  section.Set(record.process, self);
  Add(section, record.deliveries, 1);
  Add(section, state_.leased, 1);
  // Before: the message is there, for whoever comes; a copy of its bytes is a stray block (Q3).
  // After:  it is leased, and goes back when this process dies.
  // Test:   JoinableQueueCrashTest.ALeaseIsAllOrNothing
  section.Commit();
  lease = {number, static_cast<int>(record.deliveries.load(std::memory_order_relaxed)),
           BlockOf(number)};
  return Result::kDone;
}

void JoinableRings::Finish(const Lease& lease) {
  Block block;
  {
    static_cast<void>(LockToGet(nullptr));
    const Unlocker unlocker(state_.get);
    block = End(lease.record);
  }
  FreeBlock(block);
}

void JoinableRings::Return(const Lease& lease) {
  static_cast<void>(LockToGet(nullptr));
  const Unlocker unlocker(state_.get);
  GiveBack(lease.record);
}

// Progress -------------------------------------------------------------------------------------

namespace {

// Got, and not done (J2).
uint32_t Held(const JoinableState& state) {
  const uint32_t taken = QueueEnd::Of(state.head.load(std::memory_order_relaxed)).messages;
  return taken - static_cast<uint32_t>(state.done.load(std::memory_order_relaxed) +
                                       state.leased.load(std::memory_order_relaxed) +
                                       state.returned.load(std::memory_order_relaxed));
}

}  // namespace

bool JoinableRings::TaskDone() {
  static_cast<void>(LockToGet(nullptr));
  const Unlocker unlocker(state_.get);
  const uint32_t held = Held(state_);
  if (held == 0) return false;
  LeaseAccount* account = FindAccount(Self());
  if (account != nullptr && account->held.load(std::memory_order_relaxed) == 0) account = nullptr;
  if (account == nullptr) {
    // Another's: one that is lost, or else one of the living.
    const Living living = LookAtTheLiving();
    if (held <= living.held) account = living.most;
  }
  Section section(state_.book);
  Add(section, state_.done, 1);
  if (account != nullptr) Add(section, account->held, -1);
  // Before: it is not done.
  // After:  it is. Who waits in Join() is woken by the caller, or by its burial.
  // Test:   JoinableQueueCrashTest.GetAndTaskDoneAreCounted
  section.Commit();
  return true;
}

bool JoinableRings::Look(Progress& progress, const timespec* deadline) {
  if (!LockToGet(deadline)) return false;
  const Unlocker unlocker(state_.get);
  Settle();
  const uint32_t put = QueueEnd::Of(state_.tail.load(std::memory_order_acquire)).messages;
  progress.unfinished = put - static_cast<uint32_t>(state_.done.load(std::memory_order_relaxed));
  const uint32_t held = Held(state_);
  const uint64_t living = held == 0 ? 0 : LookAtTheLiving().held;
  progress.lost = held - static_cast<uint32_t>(std::min<uint64_t>(held, living));
  return true;
}

std::vector<MessageRings::Block> JoinableRings::DeadLetters() {
  static_cast<void>(LockToGet(nullptr));
  const Unlocker unlocker(state_.get);
  Settle();
  std::vector<Block> letters;
  for (uint64_t number = state_.dead.first.load(std::memory_order_relaxed); number != 0;
       number = state_.Record(number).next.load(std::memory_order_relaxed)) {
    letters.push_back(BlockOf(number));
  }
  return letters;
}

// By who ends the queue, alone.
void JoinableState::FreeBlocks() {
  QueueState::FreeBlocks();
  Domain& domain = *Domain::Current();
  if (LeaseRecords* const all = Records(); all != nullptr) {
    for (uint64_t number = 1; number <= all->count; ++number) {
      const LeaseRecord& record = (*all)[number];
      const MessageHead message = MessageHead::Of(record.message.load(std::memory_order_relaxed));
      void* const block = reinterpret_cast<void*>(record.block.load(std::memory_order_relaxed));
      if (block != nullptr) MessageRings::FreeBlock({block, message.size, message.kind});
    }
    domain.Free(all);
  }
  domain.Free(Accounts());
}

}  // namespace mp::internal
