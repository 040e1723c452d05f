// How a TaskValue is filled: what an encoder has goes into it, or into a block of the pool's.

#ifndef MP_MP_INTERNAL_POOL_VALUE_H_
#define MP_MP_INTERNAL_POOL_VALUE_H_

#include <cstddef>

#include "absl/status/status.h"
#include "mp/encoder.h"
#include "mp/internal/pool_state.h"
#include "mp/internal/queue_calls.h"
#include "shared/domain.h"
#include "shared/internal/atomic.h"

namespace mp::internal {

// kResourceExhausted: no memory.
template <size_t kInline>
absl::Status StoreValue(const Encoder& encoder, PoolState& pool, TaskValue<kInline>& value) {
  if (encoder.handles().empty() && encoder.size() <= kInline) {
    value.head = MessageHead{MessageHead::Kind::kBytes, encoder.size()}.unit();
    encoder.CopyTo(value.bytes);
    return absl::OkStatus();
  }
  Sent sent;
  if (absl::Status status = sent.Load(encoder, pool); !status.ok()) return status;
  value.SetBlock(sent.block());
  CompilerFence();
  // Before: this process's, to be freed by its burial.
  // After:  the pool's: of a task that is not finished, the maker frees it (P4).
  // Test:   PoolCrashTest.AResultIsThereOrItsTaskIsLost
  Domain::Current()->heap().SetOwner(sent.block().address, Owner::Object(&pool));
  sent.HasQueue();
  return absl::OkStatus();
}

// What has a block is this process's, which frees it.
template <size_t kInline>
void FreeValue(TaskValue<kInline>& value) {
  if (!value.InBlock()) return;
  const MessageRings::Block block = value.Block();
  value.Clear();
  CompilerFence();
  Domain& domain = *Domain::Current();
  const Owner self = domain.AsHolder();
  if (MessageHead::HasCargo(block.kind)) {
    domain.processes().SetFlag(self.identity(), ProcessTable::kHasHandles);
  }
  domain.heap().SetOwner(block.address, self);
  MessageRings::FreeBlock(block);
}

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_POOL_VALUE_H_
