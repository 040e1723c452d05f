// tests/model/permit_test_peer.h
//
// PermitTableTestPeer: records of permits without the system calls that give them memory.

#ifndef MP_TESTS_MODEL_PERMIT_TEST_PEER_H_
#define MP_TESTS_MODEL_PERMIT_TEST_PEER_H_

#include <cstddef>
#include <cstdint>

#include "shared/internal/atomic.h"
#include "shared/internal/permits.h"

namespace mp::internal {

struct PermitTableTestPeer {
  using Chunk = PermitTable::Chunk;

  static constexpr uint64_t kTurnShift = 5;
  static constexpr uint64_t kTaken = 16;

  // All chunks have memory.
  static void CommitAll(PermitTable& table) { table.committed_.store(table.count_); }
  static Word& Owner(PermitTable& table, size_t chunk) { return table.chunks_[chunk].owner; }
  static PermitRecord& FirstOf(PermitTable& table, size_t chunk) {
    return table.chunks_[chunk].records[0];
  }
  // As by that many acquisitions and releases of something else; not while it is about to.
  static void Turn(PermitRecord& record, uint64_t by) { record.state.fetch_add(by << kTurnShift); }
};

}  // namespace mp::internal

#endif  // MP_TESTS_MODEL_PERMIT_TEST_PEER_H_
