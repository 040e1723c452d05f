// tests/model/family.h
//
// Family: in the place of domain.cc, object.cc and handle.cc, for models of what is a handle to its
// user. Of the domain there are the holds, and who the running process is; an object is memory of
// the model, and does not end. Waits are those of waits.h.
//
//   Family& family = model.Make<Family>(model);
//   Latch& latch = family.Object<Latch>(1);
//   family.Process("party", [&] { latch.CountDown(); });
//   family.Process("waiter", [&] { latch.Wait(); });
//   family.BuryWhoIsKilled();
//
// A process has one thread, with a lane. Other actors are of a process that dies after all, and
// have none.

#ifndef MP_TESTS_MODEL_FAMILY_H_
#define MP_TESTS_MODEL_FAMILY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <string_view>
#include <utility>

#include "shared/domain.h"
#include "shared/internal/holds.h"
#include "tests/model/explore.h"
#include "tests/model/hold_test_peer.h"
#include "tests/model/waits.h"

namespace mp::model {

class Family {
 public:
  static constexpr size_t kMostProcesses = Waits::kLanes;

  explicit Family(Model& model);

  // Before the actors run.
  template <typename T, typename... Args>
  T& Object(Args&&... args) {
    return *new (model_.MakeBytes(sizeof(T), alignof(T))) T(std::forward<Args>(args)...);
  }
  // Processes come before all other actors.
  ActorId Process(std::string_view name, std::function<void()> body);
  // One that has a chunk of the table of holds, and its first record at hand. Who looks through the
  // table has as many steps more.
  ActorId Holder(std::string_view name, std::function<void()> body);
  // Another thread of that process, in the place of a process, with a chunk of its own. Neither is
  // killed.
  ActorId Thread(std::string_view name, ActorId process, std::function<void()> body);
  // As those of waits.h.
  void BuryWhoIsKilled() { waits_.BuryWhoIsKilled(); }
  ActorId Undertaker(std::string_view name, ActorId dead, ActorId before = -1) {
    return waits_.Undertaker(name, dead, before);
  }

  internal::HoldTable& holds() { return domain_.holds(); }

  // In Await() and Look().
  static bool Sleeps(ActorId actor);
  // All processes but the running one, or have ended.
  bool OthersSleep() const;
  bool AnyKilled() const;

 private:
  using Peer = internal::HoldTableTestPeer;

  static constexpr int kMostAtHand = 2;

  ActorId ThreadOf(internal::ProcessId process, std::string_view name, std::function<void()> body);
  void OwnChunk(ActorId actor, internal::ProcessId process);

  Model& model_;
  Domain& domain_;
  Waits& waits_;
  std::array<Peer::Chunk, kMostProcesses> chunks_ = {};
  ActorId processes_ = 0;
};

}  // namespace mp::model

#endif  // MP_TESTS_MODEL_FAMILY_H_
