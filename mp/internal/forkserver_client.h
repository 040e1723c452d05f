// ForkserverClient: a fork server, as those know it who ask it for children; and the one that this
// process uses.

#ifndef MP_MP_INTERNAL_FORKSERVER_CLIENT_H_
#define MP_MP_INTERNAL_FORKSERVER_CLIENT_H_

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "mp/connection.h"
#include "mp/internal/children.h"
#include "mp/internal/sentinel.h"

namespace mp::internal {

struct ForkserverClient {
  Connection requests;  // to it; it ends when nobody has this any more
  std::shared_ptr<const Sentinel> sentinel;
  std::shared_ptr<Child> child = nullptr;  // nullptr: another process started it
};

class KnownForkserver {
 public:
  using Client = std::shared_ptr<ForkserverClient>;

  // nullptr: none yet.
  static Client Get();
  // Where there is none, `start` makes one; threads that want one at once get the same.
  static absl::StatusOr<Client> GetOrStart(absl::FunctionRef<absl::StatusOr<Client>()> start);
  // That of the parent of this process, which has begun; nullptr: nothing changes.
  static void Adopt(Client server);
  // It has ended, or is about to; where it is this process's it is reaped.
  static void Forget(const Client& server);
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_FORKSERVER_CLIENT_H_
