// tests/support/peer.h
//
// Peers: somebody else who plays a part in a test, as a thread or as a process. What
// holds for both is written once, as a test typed over them; the thread sanitizer can
// judge the first, only the second is the real thing.
//
//   TYPED_TEST_SUITE(LockTest, Peers, PeerNames);
//   ...
//   TypeParam peer([&](auto& step) {
//     lock.Acquire();
//     step("acquired");            // stands here until the test lets it go on
//     lock.Release();
//   });
//   peer.RunTo("acquired");
//   EXPECT_EQ(peer.Finish(), 0);
//
// They meet in the domain, or in Inherited memory.

#ifndef MP_TESTS_SUPPORT_PEER_H_
#define MP_TESTS_SUPPORT_PEER_H_

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include "tests/support/child.h"
#include "tests/support/look.h"

namespace mp::testing {

// See child.h.
using ProcessPeer = Child;

// A Child's interface over a thread of this process. It cannot be killed, so it has to
// come to its end: the destructor lets it go through all steps, and waits.
class ThreadPeer {
 public:
  class Steps {
   public:
    void operator()(std::string_view step) {
      peer_.step_ = step;
      peer_.place_.store(kStanding);
      peer_.place_.notify_all();
      peer_.place_.wait(kStanding);
      // Tells Go() from the sleep that WaitUntilAsleep() looks for.
      peer_.place_.store(kRunning);
      peer_.place_.notify_all();
    }

   private:
    friend class ThreadPeer;
    explicit Steps(ThreadPeer& peer) : peer_(peer) {}
    ThreadPeer& peer_;
  };

  template <class Body>
  explicit ThreadPeer(Body body)
      : thread_([this, body = std::move(body)]() mutable {
          tid_.store(static_cast<pid_t>(syscall(SYS_gettid)));
          place_.store(kRunning);
          place_.notify_all();
          Steps steps(*this);
          if constexpr (std::invocable<Body&, Steps&>) {
            body(steps);
          } else {
            body();
          }
          place_.store(kEnded);
          place_.notify_all();
        }) {}
  ~ThreadPeer() { Finish(); }
  ThreadPeer(const ThreadPeer&) = delete;
  ThreadPeer& operator=(const ThreadPeer&) = delete;

  bool RunTo(std::string_view step) {
    Go();
    while (AwaitStep() == kStanding) {
      if (step_ == step) return true;
      Go();
    }
    ADD_FAILURE() << "the thread ended before its step \"" << step << "\"";
    return false;
  }

  void Go() {
    if (!seen_) return;
    seen_ = false;
    place_.store(kLeaving);
    place_.notify_all();
    place_.wait(kLeaving);
  }

  bool WaitUntilAsleep() {
    place_.wait(kStarting);
    const bool asleep = place_.load() == kRunning && testing::WaitUntilAsleepInFutex(tid_.load());
    EXPECT_TRUE(asleep && place_.load() == kRunning) << "the thread does not sleep";
    return asleep;
  }

  int Finish() {
    while (thread_.joinable() && AwaitStep() == kStanding) Go();
    if (thread_.joinable()) thread_.join();
    return 0;
  }

 private:
  static constexpr int kStarting = 0;
  static constexpr int kRunning = 1;
  static constexpr int kStanding = 2;  // at step_
  static constexpr int kLeaving = 3;
  static constexpr int kEnded = 4;

  int AwaitStep() {
    for (;;) {
      const int place = place_.load();
      seen_ = place == kStanding;
      if (seen_ || place == kEnded) return place;
      place_.wait(place);
    }
  }

  std::atomic<int> place_{kStarting};
  std::atomic<pid_t> tid_{0};
  std::string step_;   // the last one it came to
  bool seen_ = false;  // the test knows that it stands there
  std::thread thread_;
};

using Peers = ::testing::Types<ThreadPeer, ProcessPeer>;

class PeerNames {
 public:
  template <typename P>
  static std::string GetName(int) {
    return std::is_same_v<P, ThreadPeer> ? "Thread" : "Process";
  }
};

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_PEER_H_
