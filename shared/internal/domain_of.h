// DomainOf: the domain of a process that runs, found from outside.

#ifndef MP_SHARED_INTERNAL_DOMAIN_OF_H_
#define MP_SHARED_INTERNAL_DOMAIN_OF_H_

#include <sys/types.h>

#include "absl/status/statusor.h"

namespace mp::internal {

// A descriptor, for reading only, of the domain that process `pid` maps; the caller closes
// it, after ReadDomainHeader() has looked at it. kNotFound: there is no such process, or it
// has no domain. kPermissionDenied: it is another user's; or it has closed the descriptor of
// its domain, and only root may open what another process maps. The messages
// begin with "pid N: ".
absl::StatusOr<int> OpenDomainOf(pid_t pid);

}  // namespace mp::internal

#endif  // MP_SHARED_INTERNAL_DOMAIN_OF_H_
