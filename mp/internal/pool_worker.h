// PoolWorker: what the workers of a pool are: processes that take its tasks and hand in what comes
// of them, until it is closed, or they have done as many as they are to.
//
// A worker has no SIGINT: a Ctrl-C is its maker's to heed, with which it ends.

#ifndef MP_MP_INTERNAL_POOL_WORKER_H_
#define MP_MP_INTERNAL_POOL_WORKER_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "mp/codec.h"
#include "mp/internal/pool_state.h"
#include "mp/internal/target.h"
#include "shared/internal/handle.h"
#include "shared/internal/handle_access.h"

namespace mp::internal {

// A pool's state, as workers are given it.
class PoolHandle {
 public:
  explicit PoolHandle(const Handle<PoolState>& state) : state_(state) {}

  PoolState& operator*() const { return *state_; }

 private:
  friend struct HandleAccess;
  using Travels = PoolHandle;

  Handle<PoolState> state_;
};

// What a worker runs first; nothing: it has none.
struct WorkerInitializer {
  std::shared_ptr<StoredTarget> target;
};

struct WorkerOrder {
  uint32_t index = 0;         // which of the workers it is
  uint64_t most_tasks = 0;    // before it leaves; 0: any number
  uint64_t memory_limit = 0;  // bytes of RLIMIT_DATA; 0: none
  bool tells_time = false;    // since when it has had its task
};

// The exit code, for a Process.
int PoolWorkerMain(const PoolHandle& pool, const WorkerOrder& order,
                   const WorkerInitializer& initializer);

}  // namespace mp::internal

namespace mp {

template <>
struct Codec<internal::WorkerInitializer> {
  static void Encode(const internal::WorkerInitializer& initializer, Encoder& encoder) {
    encoder.Put(initializer.target != nullptr);
    if (initializer.target != nullptr) initializer.target->Encode(encoder);
  }
  static internal::WorkerInitializer Decode(Decoder& decoder) {
    if (!decoder.Get<bool>()) return {};
    return {.target = internal::DecodeTarget(decoder)};
  }
};

}  // namespace mp

#endif  // MP_MP_INTERNAL_POOL_WORKER_H_
