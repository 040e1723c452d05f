// What one would send messages through without a Queue, each for values of one type:
//
//   struct Way {
//     using Value = ...;
//     std::string why_not;                      // empty: it can be had here
//     void Send(const Value& value);
//     void Receive(const Use& use);             // calls use(const Value&)
//   };
//
// Each is made before the processes that use it are forked. Where something goes wrong the program
// ends. None but Pipe survives a process that is killed.

#ifndef MP_TESTS_BENCHMARKS_QUEUE_RIVALS_H_
#define MP_TESTS_BENCHMARKS_QUEUE_RIVALS_H_

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "shared/internal/futex.h"
#include "tests/support/inherited.h"

// No dependency: measured where it is installed.
#if __has_include(<boost/interprocess/ipc/message_queue.hpp>)
#include <boost/interprocess/ipc/message_queue.hpp>
#define MP_HAS_BOOST_INTERPROCESS
#endif

namespace mp::benchmarks {

inline void MustBe(bool good, const char* what) {
  if (good) return;
  perror(what);
  std::abort();
}

// Of so many bytes, with a number at both ends.
template <size_t kSize>
struct Message {
  std::array<uint64_t, kSize / sizeof(uint64_t)> words;
};

template <size_t kSize>
void SetNumber(Message<kSize>& message, uint64_t number) {
  message.words.front() = message.words.back() = number;
}
template <size_t kSize>
uint64_t NumberOf(const Message<kSize>& message) {
  MustBe(message.words.front() == message.words.back(), "a torn message");
  return message.words.front();
}

// The floor: a ring for one process that sends and one that receives, each of which remembers how
// far the other was. kSleeps: by futex, after a while; else they spin.
template <size_t kSize, bool kSleeps>
class Ring {
 public:
  using Value = Message<kSize>;
  std::string why_not;

  void Send(const Value& value) {
    Side& me = state_->sender;
    const uint32_t tail = me.done.load(std::memory_order_relaxed);
    if (tail - me.seen == kSlots) {
      Await(state_->receiver, [&](uint32_t head) { return tail - (me.seen = head) != kSlots; });
    }
    state_->slots[tail % kSlots] = value;
    Advance(me, tail + 1);
  }
  template <typename Use>
  void Receive(const Use& use) {
    Side& me = state_->receiver;
    const uint32_t head = me.done.load(std::memory_order_relaxed);
    if (head == me.seen) {
      Await(state_->sender, [&](uint32_t tail) { return (me.seen = tail) != head; });
    }
    // Out of the ring, as all do who have to give the place back.
    const Value value = state_->slots[head % kSlots];
    use(value);
    Advance(me, head + 1);
  }

 private:
  static constexpr uint32_t kSlots =
      std::clamp<uint32_t>(std::bit_floor(uint32_t{256 << 10} / kSize), 4, 4096);
  // Between two looks, which would take the line from who writes it; and looks before sleep.
  static constexpr int kPauses = 32;
  static constexpr int kLooks = 100;

  struct Side {
    alignas(64) internal::FutexWord done{0};
    uint32_t seen = 0;  // what the other's `done` was
    // Of the other one.
    alignas(64) internal::FutexWord other_sleeps{0};
  };
  struct State {
    Side sender;
    Side receiver;
    alignas(64) Value slots[kSlots];
  };

  template <typename Enough>
  void Await(Side& other, const Enough& enough) {
    for (int looks = 0;; ++looks) {
      const uint32_t done = other.done.load(std::memory_order_acquire);
      if (enough(done)) return;
      if (kSleeps && looks > kLooks) {
        other.other_sleeps.store(1, std::memory_order_seq_cst);
        if (other.done.load(std::memory_order_seq_cst) != done) continue;
        internal::FutexWait(other.done, done, nullptr);
      } else {
        for (int i = 0; i < kPauses; ++i) __builtin_ia32_pause();
      }
    }
  }
  static void Advance(Side& me, uint32_t done) {
    if constexpr (kSleeps) {
      me.done.store(done, std::memory_order_seq_cst);
      if (me.other_sleeps.load(std::memory_order_seq_cst) == 0) return;
      me.other_sleeps.store(0, std::memory_order_relaxed);
      internal::FutexWake(me.done, 1);
    } else {
      me.done.store(done, std::memory_order_release);
    }
  }

  testing::Inherited<State> state_;
};
template <size_t kSize>
using SpinRing = Ring<kSize, false>;
template <size_t kSize>
using FutexRing = Ring<kSize, true>;

// Whole messages by read() and write(). Many may send and receive what is sent by one write and
// fills a page without rest.
class Descriptors {
 public:
  Descriptors() = default;
  ~Descriptors() {
    close(fds_[0]);
    close(fds_[1]);
  }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;

  void WriteAll(const void* bytes, size_t size) const {
    const auto* from = static_cast<const char*>(bytes);
    for (ssize_t done = 0; size != 0; from += done, size -= static_cast<size_t>(done)) {
      done = write(fds_[1], from, size);
      MustBe(done > 0, "write");
    }
  }
  void ReadAll(void* place, size_t size) const {
    auto* to = static_cast<char*>(place);
    for (ssize_t done = 0; size != 0; to += done, size -= static_cast<size_t>(done)) {
      done = read(fds_[0], to, size);
      MustBe(done > 0, "read");
    }
  }

 protected:
  int fds_[2] = {-1, -1};
};

// kBuffer: bytes; 0: what the system gives.
template <size_t kSize, int kBuffer>
class PipeOf : public Descriptors {
 public:
  using Value = Message<kSize>;
  std::string why_not;

  PipeOf() {
    MustBe(pipe(fds_) == 0, "pipe");
    if (kBuffer != 0 && fcntl(fds_[0], F_SETPIPE_SZ, kBuffer) < 0) {
      why_not = absl::StrCat("F_SETPIPE_SZ ", kBuffer, ": ", strerror(errno));
    }
  }
  void Send(const Value& value) const { WriteAll(&value, kSize); }
  template <typename Use>
  void Receive(const Use& use) const {
    Value value;
    ReadAll(&value, kSize);
    use(value);
  }
};
template <size_t kSize>
using Pipe = PipeOf<kSize, 0>;
template <size_t kSize>
using LargePipe = PipeOf<kSize, 1 << 20>;

template <size_t kSize, int kType>
class Socket : public Descriptors {
 public:
  using Value = Message<kSize>;
  std::string why_not;

  Socket() {
    MustBe(socketpair(AF_UNIX, kType, 0, fds_) == 0, "socketpair");
    if constexpr (kType == SOCK_SEQPACKET) {
      // It is sent at once, or never.
      static Value value;
      if (send(fds_[1], &value, kSize, MSG_DONTWAIT) < 0) {
        why_not = absl::StrCat("send ", kSize, " bytes: ", strerror(errno));
      } else {
        ReadAll(&value, kSize);
      }
    }
  }
  void Send(const Value& value) const { WriteAll(&value, kSize); }
  template <typename Use>
  void Receive(const Use& use) const {
    Value value;
    ReadAll(&value, kSize);
    use(value);
  }
};
template <size_t kSize>
using StreamSocket = Socket<kSize, SOCK_STREAM>;
template <size_t kSize>
using PacketSocket = Socket<kSize, SOCK_SEQPACKET>;

template <size_t kSize>
class PosixQueue {
 public:
  using Value = Message<kSize>;
  std::string why_not;

  PosixQueue() {
    const std::string name = absl::StrCat("/mp_queue_benchmark.", getpid());
    // As many as anybody may have, without a change to the system.
    mq_attr attributes = {};
    attributes.mq_maxmsg = 10;
    attributes.mq_msgsize = kSize;
    queue_ = mq_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600, &attributes);
    if (queue_ == static_cast<mqd_t>(-1)) {
      why_not = absl::StrCat("mq_open, ", kSize, " bytes a message: ", strerror(errno));
    } else {
      mq_unlink(name.c_str());
    }
  }
  ~PosixQueue() { mq_close(queue_); }
  PosixQueue(const PosixQueue&) = delete;
  PosixQueue& operator=(const PosixQueue&) = delete;

  void Send(const Value& value) const {
    MustBe(mq_send(queue_, reinterpret_cast<const char*>(&value), kSize, 0) == 0, "mq_send");
  }
  template <typename Use>
  void Receive(const Use& use) const {
    Value value;
    MustBe(mq_receive(queue_, reinterpret_cast<char*>(&value), kSize, nullptr) == ssize_t{kSize},
           "mq_receive");
    use(value);
  }

 private:
  mqd_t queue_;
};

#ifdef MP_HAS_BOOST_INTERPROCESS

template <size_t kSize>
class BoostQueue {
 public:
  using Value = Message<kSize>;
  std::string why_not;

  void Send(const Value& value) { queue_.send(&value, kSize, 0); }
  template <typename Use>
  void Receive(const Use& use) {
    Value value;
    size_t size = 0;
    unsigned priority = 0;
    queue_.receive(&value, kSize, size, priority);
    MustBe(size == kSize, "receive");
    use(value);
  }

 private:
  using Queue = boost::interprocess::message_queue;

  static constexpr size_t kMost = std::clamp<size_t>((1 << 20) / kSize, 8, 1024);

  // Its name is gone before anybody else could open it.
  class Name {
   public:
    Name() : name_(absl::StrCat("mp_queue_benchmark.", getpid())) {}
    ~Name() { Queue::remove(name_.c_str()); }
    const char* get() const { return name_.c_str(); }

   private:
    std::string name_;
  };

  Queue queue_{boost::interprocess::create_only, Name().get(), kMost, kSize};
};

#else

template <size_t kSize>
class BoostQueue {
 public:
  using Value = Message<kSize>;
  std::string why_not = "Boost.Interprocess is not installed";

  void Send(const Value&) { std::abort(); }
  template <typename Use>
  void Receive(const Use&) {
    std::abort();
  }
};

#endif

}  // namespace mp::benchmarks

#endif  // MP_TESTS_BENCHMARKS_QUEUE_RIVALS_H_
