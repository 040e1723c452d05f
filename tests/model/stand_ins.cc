// What the library's sources ask of the system, answered for actors.

#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "shared/internal/domain_file.h"
#include "shared/internal/fatal.h"
#include "shared/internal/proof_of_death.h"
#include "shared/internal/spinning.h"
#include "tests/model/explore.h"
#include "tests/model/step.h"

// By ld --wrap: the calls of what is linked with this.
extern "C" {

int __real_clock_gettime(clockid_t clock, timespec* time);  // NOLINT
pid_t __real_getpid();                                      // NOLINT
pid_t __real_gettid();                                      // NOLINT

// It stands still, where it is of no use to anybody.
int __wrap_clock_gettime(clockid_t clock, timespec* time) {  // NOLINT
  if (!mp::model::Exploring()) return __real_clock_gettime(clock, time);
  *time = {.tv_sec = 1000, .tv_nsec = 0};
  return 0;
}

pid_t __wrap_getpid() {  // NOLINT
  return mp::model::Exploring() ? mp::model::ModelPid() : __real_getpid();
}

// As mutexes have it.
pid_t __wrap_gettid() {  // NOLINT
  return mp::model::Exploring() ? mp::model::ActorNumber() : __real_gettid();
}

}  // extern "C"

namespace mp::internal {

void Fatal(std::string_view message) { model::Fail("ends the process: " + std::string(message)); }

// Whoever spins only looks more often than who goes to sleep at once.
Spinning::Looks Spinning::Begin() { return {}; }
void Spinning::End(Paid) {}
void Spinning::Slept(bool) {}
void Spinning::Pause() {}
void Spinning::Yield() {}

// Every actor maps the domain as long as it runs.
bool IsDead(pid_t pid, uint64_t, const DomainHeader&, Evidence) {
  model::Model& model = model::CurrentModel();
  return model.Look("ask whether a process is dead", [&] {
    const model::ActorId actor = model.ActorOf(pid);
    return actor < 0 || model.Ended(actor);
  }) != 0;
}

bool CanProveDeaths() { return true; }

bool AnyUnknownMaps(const DomainHeader&, uint64_t, absl::FunctionRef<bool(pid_t)> is_known) {
  model::Model& model = model::CurrentModel();
  return model.Look("ask who maps the domain", [&] {
    for (model::ActorId actor = 0; actor < model.Actors(); ++actor) {
      const pid_t pid = model::Model::PidOf(actor);
      if (!model.Ended(actor) && pid != model::ModelPid() && !is_known(pid)) return 1;
    }
    return 0;
  }) != 0;
}

}  // namespace mp::internal
