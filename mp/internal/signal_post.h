// SignalPost: where a handler of sigaction(2) leaves word that a signal came, for who runs what the
// program has for that; and which post a signal goes to.
//
//   absl::StatusOr<SignalPost*> post = SignalPost::Take();
//   SignalPost::Send(SIGTERM, **post, in_child);     // from now on
//   ... poll(2) post->fd(), then TakeOne() of what is Pending() ...
//   SignalPost::Release(SIGTERM, **post);
//   SignalPost::Return(*post);
//
// A post is never freed, nor its descriptor closed: a handler that was interrupted before it wrote
// may write long after. The next one who takes a post gets one that was returned.
//
// Threads: from any number.
// Fork:    a child has none of its parent's, and its signals do what `in_child` says.

#ifndef MP_MP_INTERNAL_SIGNAL_POST_H_
#define MP_MP_INTERNAL_SIGNAL_POST_H_

#include <signal.h>

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/internal/descriptor.h"
#include "shared/internal/atomic.h"

namespace mp::internal {

class SignalPost {
 public:
  static constexpr int kMostSignals = 64;

  // kResourceExhausted: no descriptors.
  static absl::StatusOr<SignalPost*> Take();
  static void Return(SignalPost* post);

  // Whether, where the post is, its descriptor is readable. `signal` is one that can be handled.
  // kAlreadyExists: it goes to another post. Where it goes to this one only `in_child` changes;
  // nullptr: as it was before.
  static absl::Status Send(int signal, SignalPost& post, const struct sigaction* in_child);
  // It does what it did before. False: it does not go to this post.
  static bool Release(int signal, SignalPost& post);
  // Those of which `in_child` says so, for a child that is no fork, or any program: a bit for each.
  // (What a program ignores by itself no such child does.)
  static uint64_t IgnoredInChildren();

  int fd() const { return descriptor_.fd(); }
  void Ring() const;
  void Drain() const;
  // Those that came, a bit for each: 1 << (signal - 1).
  uint64_t Pending() const { return pending_.load(std::memory_order_acquire); }
  // False: another thread has taken it.
  bool TakeOne(int signal) {
    return (pending_.fetch_and(~BitOf(signal), std::memory_order_acq_rel) & BitOf(signal)) != 0;
  }

 private:
  explicit SignalPost(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}

  static constexpr uint64_t BitOf(int signal) { return uint64_t{1} << (signal - 1); }
  static void OnSignal(int signal);
  [[gnu::constructor(101)]] static void RegisterForkHandlers();
  static void ForgetInChild();

  Descriptor descriptor_;
  Atomic<uint64_t> pending_{0};
  SignalPost* next_ = nullptr;  // of all there are
  bool taken_ = true;
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_SIGNAL_POST_H_
