// tests/model/hold_test_peer.h
//
// HoldTableTestPeer: records of holds without the system calls that give them memory; and what a
// thread has of them at hand.

#ifndef MP_TESTS_MODEL_HOLD_TEST_PEER_H_
#define MP_TESTS_MODEL_HOLD_TEST_PEER_H_

#include <cstddef>
#include <cstdint>

#include "shared/internal/atomic.h"
#include "shared/internal/holds.h"

namespace mp::internal {

struct HoldTableTestPeer {
  using Chunk = HoldTable::Chunk;

  // All chunks have memory.
  static void CommitAll(HoldTable& table) { table.committed_.store(table.count_); }
  static Word& Owner(HoldTable& table, size_t chunk) { return table.chunks_[chunk].owner; }
  static Hold& FirstOf(HoldTable& table, size_t chunk) { return table.chunks_[chunk].records[0]; }
  // Of this thread, for Model::PerActor(): how many it has at hand, and the first of them; and how
  // many it may have.
  static int& Cached() { return HoldTable::cached_; }
  static Hold*& CacheAt(size_t index) { return HoldTable::cache_[index]; }
  static int& Room() { return HoldTable::room_; }
  // As by that many acquisitions and releases of something else; not while it is about to.
  static void Turn(Hold& record, uint64_t by) { record.state.fetch_add(by << Hold::kTurnShift); }
};

}  // namespace mp::internal

#endif  // MP_TESTS_MODEL_HOLD_TEST_PEER_H_
