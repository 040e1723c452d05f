// tests/model/lane_test_peer.h
//
// LaneTestPeer: lanes without the system calls that give them memory.

#ifndef MP_TESTS_MODEL_LANE_TEST_PEER_H_
#define MP_TESTS_MODEL_LANE_TEST_PEER_H_

#include <cstdint>

#include "shared/internal/lane.h"

namespace mp::internal {

struct LaneTestPeer {
  static void CommitAll(LaneTable& table) {
    for (uint64_t i = 0; i < table.count_; ++i) table.lanes_[i].alive.Init(false);
    table.committed_.store(table.count_);
  }
  // For Model::PerActor().
  static Lane*& ThisThread() { return LaneTable::this_thread_; }
};

}  // namespace mp::internal

#endif  // MP_TESTS_MODEL_LANE_TEST_PEER_H_
