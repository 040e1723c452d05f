#include "tests/model/family.h"

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/internal/handle.h"
#include "shared/internal/held_locks.h"
#include "shared/internal/holds.h"
#include "shared/internal/limbo.h"
#include "shared/internal/object.h"
#include "shared/internal/object_header.h"
#include "shared/internal/object_type.h"
#include "shared/internal/process_table.h"
#include "shared/internal/proof_of_death.h"
#include "shared/internal/stakes.h"
#include "shared/internal/thread_id.h"
#include "sync/internal/reading.h"
#include "tests/model/explore.h"
#include "tests/model/sleepers.h"
#include "tests/model/step.h"
#include "tests/model/waits.h"

namespace mp {

struct DomainTestPeer {
  using Identity = Domain::Identity;

  // Nothing lies in it: what is made is each process's own.
  static Domain& Make(model::Model& model) {
    auto* const domain = new (model.MakeBytes(sizeof(Domain), alignof(Domain))) Domain();
    Domain::current_.store(domain);
    return *domain;
  }
  static Identity& MakeIdentity(model::Model& model, internal::ProcessId process) {
    auto& identity = model.Make<Identity>();
    identity.process.store(process);
    return identity;
  }
  // For Model::PerActor().
  static Identity*& OfThisProcess() { return Domain::identity_; }
};

}  // namespace mp

namespace mp::internal {

struct ReadingTestPeer {
  static Hold*& Newest() { return Reading::newest_; }
};

struct ThreadIdTestPeer {
  static pid_t& Id() { return ThreadId::id_; }
};

}  // namespace mp::internal

namespace mp::model {

using internal::Hold;
using internal::HoldTable;
using internal::ProcessId;

Family::Family(Model& model)
    : model_(model),
      domain_(DomainTestPeer::Make(model)),
      waits_(model.Make<Waits>(model, domain_.holds())) {
  // Who takes the first one learns how many it may have at hand: that is over then.
  Peer::Cached() = 0;
  holds().Format(nullptr, 0);
  static_cast<void>(holds().Take(Waits::IdOf(0)));
  holds().Format(chunks_.data(), 4 * chunks_.size());
  Peer::CommitAll(holds());
  Peer::Room() = kMostAtHand;
  model.PerActor(Peer::Cached());
  for (int i = 0; i < kMostAtHand; ++i) {
    Peer::CacheAt(i) = nullptr;
    model.PerActor(Peer::CacheAt(i));
  }
  internal::ReadingTestPeer::Newest() = nullptr;
  model.PerActor(internal::ReadingTestPeer::Newest());
  internal::ThreadIdTestPeer::Id() = 0;
  model.PerActor(internal::ThreadIdTestPeer::Id());
  internal::HeldLocks::ForgetInChild();
  DomainTestPeer::OfThisProcess() =
      &DomainTestPeer::MakeIdentity(model, Waits::IdOf(Waits::kMostActors));
  model.PerActor(DomainTestPeer::OfThisProcess());
}

ActorId Family::Process(std::string_view name, std::function<void()> body) {
  return ThreadOf(Waits::IdOf(model_.Actors()), name, std::move(body));
}

ActorId Family::Holder(std::string_view name, std::function<void()> body) {
  const ActorId actor = Process(name, std::move(body));
  OwnChunk(actor, Waits::IdOf(actor));
  return actor;
}

ActorId Family::Thread(std::string_view name, ActorId process, std::function<void()> body) {
  const ActorId actor = ThreadOf(Waits::IdOf(process), name, std::move(body));
  OwnChunk(actor, Waits::IdOf(process));
  model_.Spare(process);
  model_.Spare(actor);
  return actor;
}

ActorId Family::ThreadOf(ProcessId process, std::string_view name, std::function<void()> body) {
  const ActorId actor = waits_.Process(name, std::move(body));
  ++processes_;
  auto& identity = DomainTestPeer::MakeIdentity(model_, process);
  model_.As(actor, [&identity] { DomainTestPeer::OfThisProcess() = &identity; });
  return actor;
}

void Family::OwnChunk(ActorId actor, ProcessId process) {
  Peer::Owner(holds(), actor).store(process);
  Hold& record = Peer::FirstOf(holds(), actor);
  record.state.store(Hold::kTaken);
  model_.As(actor, [&record] {
    Peer::CacheAt(0) = &record;
    Peer::Cached() = 1;
  });
}

bool Family::Sleeps(ActorId actor) { return Sleepers::Current().IsAsleep(actor + 1); }

bool Family::OthersSleep() const {
  for (ActorId actor = 0; actor < processes_; ++actor) {
    if (actor != Waits::Self() && !Sleeps(actor) && !model_.Ended(actor)) return false;
  }
  return true;
}

bool Family::AnyKilled() const {
  for (ActorId actor = 0; actor < processes_; ++actor) {
    if (model_.Killed(actor)) return true;
  }
  return false;
}

}  // namespace mp::model

namespace mp {

constinit internal::Atomic<Domain*> Domain::current_ = nullptr;
Domain::Identity* Domain::identity_ = nullptr;

internal::ProcessId Domain::Register() { model::Fail("a process has no id"); }
int Domain::BuryTheDead(internal::Evidence) { return 0; }
void Domain::EndIfCopy() {}

namespace internal {

uint32_t ForkGeneration() { return 0; }

// Objects ---------------------------------------------------------------------------------

absl::StatusOr<ObjectHeader*> MakeCell(size_t size, size_t alignment, std::string_view) {
  return static_cast<ObjectHeader*>(model::CurrentModel().MakeBytes(size, alignment));
}
void PublishCell(ObjectHeader* cell, ObjectType type) {
  cell->state.store(static_cast<uint64_t>(type));
}
void FreeCell(ObjectHeader*) { model::Fail("an object ends"); }
void FreeBlock(void*) { model::Fail("a block is freed"); }
void CannotMake(ObjectType, size_t, std::string_view, const absl::Status&) {
  model::Fail("an object cannot be made");
}

// Handles, which nobody counts ------------------------------------------------------------

void MakeHandle(Word& to, ObjectHeader* cell) { to.store(reinterpret_cast<uint64_t>(cell)); }
void CopyHandle(Word& to, const Word&, ObjectHeader* cell) { MakeHandle(to, cell); }
Stakes::Look DropHandle(Word&) { return {}; }
Stakes::Look ReplaceHandle(Word&, ObjectHeader*) { model::Fail("a handle is replaced"); }
Stakes::Look DropLastHandle(ObjectHeader*, uint64_t) { model::Fail("the last handle is dropped"); }
bool RetireAtOnce(ObjectHeader*) { return false; }
void EndOrLeave(const Stakes::Look&, EndObject) {}

}  // namespace internal
}  // namespace mp
