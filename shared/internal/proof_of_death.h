// Proof of death: whether a process of the family will never again run an instruction of
// this program. Nothing may be taken from it before there is proof.
//
//   proof                                          evidence    seen of
//   there is no process of its pid                 quick       who is reaped
//   its pidfd is readable                          quick       who is not yet reaped
//   the process of its pid started after it        thorough    a pid that is another's now
//   all of its tasks are exiting                   thorough    who still gives gigabytes back
//   it does not map the domain                     thorough    execve; not where it has yet to
//
// No proof: kill(pid, 0), which finds who is not reaped; state Z in /proc, which a process
// has whose main thread alone ended; silence. What cannot be looked at, for lack of
// descriptors, of rights, or of a /proc that is of this process's own PID namespace, is alive.

#ifndef MP_SHARED_INTERNAL_PROOF_OF_DEATH_H_
#define MP_SHARED_INTERNAL_PROOF_OF_DEATH_H_

#include <sys/types.h>

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "shared/internal/domain_file.h"

namespace mp::internal {

enum class Evidence {
  kQuick,     // two system calls
  kThorough,  // also reads /proc: some tens of microseconds
  kUnmapped,  // the same of one that need not map the domain: it was spawned, and is not LIVE
};

// `started`: a time of CLOCK_BOOTTIME, in nanoseconds, at which the process ran.
bool IsDead(pid_t pid, uint64_t started, const DomainHeader& domain, Evidence evidence);

// Whether there is proof that this process started later than at `time`, of that clock: another one
// had its pid before.
bool StartedLaterThan(uint64_t time);

// Whether this process can get any evidence at all: not without a descriptor left.
bool CanProveDeaths();

// Whether there is, or may be, a process that started at `since` or later, maps the domain
// and is none that `is_known` knows. Looks at every process of the machine.
bool AnyUnknownMaps(const DomainHeader& domain, uint64_t since,
                    absl::FunctionRef<bool(pid_t)> is_known);

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_PROOF_OF_DEATH_H_
