#include "mp/internal/channel.h"

#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "shared/internal/cancel_scope.h"
#include "shared/internal/deadline.h"
#include "shared/internal/fatal.h"
#include "shared/internal/spinning.h"
#include "shared/internal/wait.h"

namespace mp::internal {
namespace {

using Result = ChannelSide::Result;

// Sends a token to the other side.
class TokenBell final : public Bell {
 public:
  explicit TokenBell(int fd) : fd_(fd) {}

  bool Ring(QueueState&, QueueEvent) const override {
    // Where there is no room for it there are tokens enough, and where nobody has the other side,
    // nobody to wake.
    while (send(fd_, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
      if (errno != EINTR && errno != ENOBUFS && errno != ENOMEM) break;
    }
    return true;
  }

 private:
  const int fd_;
};

Result ResultOf(MessageRings::Result result) {
  switch (result) {
    case MessageRings::Result::kDone:
      return Result::kDone;
    case MessageRings::Result::kNoMemory:
      return Result::kNoMemory;
    case MessageRings::Result::kRefused:
      return Result::kRefused;
    case MessageRings::Result::kNoDescriptor:
      return Result::kNoDescriptor;
    case MessageRings::Result::kShut:  // for a packet: nobody shuts a channel
      return Result::kOver;
    default:
      return Result::kLate;
  }
}

bool IsBefore(const timespec& one, const timespec& other) {
  return one.tv_sec < other.tv_sec || (one.tv_sec == other.tv_sec && one.tv_nsec < other.tv_nsec);
}

// `deadline`, or the next look if that is sooner.
timespec NextLook(const timespec* deadline) {
  const timespec look = MonotonicDeadline(absl::Milliseconds(EndLife::kLook));
  return deadline != nullptr && IsBefore(*deadline, look) ? *deadline : look;
}

// While it lives this thread has the turn, if held().
class Turn {
 public:
  // Tries until `deadline`.
  Turn(ChannelState& state, RobustMutex& mutex, const timespec& deadline) : mutex_(mutex) {
    const RobustMutex::Result result = mutex_.LockUntil(deadline);
    if (result == RobustMutex::Result::kHeldByCaller) {
      Fatal(absl::StrCat(state.Describe(), ": used within an operation on it by the same thread"));
    }
    held_ = result != RobustMutex::Result::kBusy;
    // What its last holder was at is begun anew by each.
    if (result == RobustMutex::Result::kOwnerDied) mutex_.MarkConsistent();
  }
  ~Turn() {
    if (held_) static_cast<void>(mutex_.Unlock());
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  bool held() const { return held_; }

 private:
  RobustMutex& mutex_;
  bool held_;
};

}  // namespace

// Waiting --------------------------------------------------------------------------------------

bool ChannelSide::IsOver() const {
  pollfd side = {.fd = fd(), .events = 0, .revents = 0};
  while (poll(&side, 1, 0) < 0 && errno == EINTR) {
  }
  EndIfClosed({&side, 1});
  return (side.revents & (POLLHUP | POLLERR)) != 0;
}

void ChannelSide::TakeTokens() const {
  char tokens[256];
  while (recv(fd(), tokens, sizeof(tokens), MSG_DONTWAIT) == sizeof(tokens)) {
  }
}

ChannelSide::Woken ChannelSide::Sleep(const EndLife& life, const timespec* deadline) const {
  const timespec short_sleep = MonotonicDeadline(absl::Nanoseconds(Spinning::kShortSleep));
  pollfd both[] = {{.fd = fd(), .events = POLLIN, .revents = 0},
                   {.fd = EndLife::Bell(), .events = POLLIN, .revents = 0}};
  // It may have been closed before there was a bell.
  if (life.closed()) return Woken::kByToken;
  timespec look;
  if (both[1].fd < 0) look = NextLook(deadline);
  const int n = PollUntil(absl::MakeSpan(both), both[1].fd < 0 ? &look : deadline);
  EndIfClosed(both);
  if ((both[0].revents & (POLLHUP | POLLERR)) != 0) return Woken::kByEnd;
  if (n == 0 && both[1].fd >= 0) return Woken::kLate;
  // The bell is for another end: until that one's sleepers have left.
  if (both[0].revents == 0) sched_yield();
  Spinning::Slept(!IsPast(short_sleep));
  return Woken::kByToken;
}

Result ChannelSide::Wait(const Waiting& waiting, const EndLife& life,
                         const timespec* deadline) const {
  Attempt attempted = Attempt::kBusy;
  auto try_again = [&] {
    if (waiting.may_go()) attempted = waiting.attempt();
    return attempted != Attempt::kBusy;
  };
  if (deadline != nullptr && IsPast(*deadline)) {
    // Perhaps nobody sleeps, and so nobody watches.
    LookForTheDeadRarely();
    if (!IsOver()) return Result::kLate;
    if (waiting.is_over_at_once) return Result::kOver;
    if (try_again()) return ResultOf(attempted);
    return waiting.may_go() ? Result::kLate : Result::kOver;
  }
  if (SpinUntil(try_again)) return ResultOf(attempted);
  for (;;) {
    const Turn turn(state(), waiting.turn, NextLook(deadline));
    if (turn.held()) return WaitInTurn(waiting, life, deadline);
    // Who has the turn may be stopped.
    if (life.closed()) return Result::kClosed;
    if (try_again()) return ResultOf(attempted);
    if (CancelScope::IsLate(deadline)) return Result::kLate;
  }
}

Result ChannelSide::WaitInTurn(const Waiting& waiting, const EndLife& life,
                               const timespec* deadline) const {
  for (;;) {
    if (life.closed()) return Result::kClosed;
    const MessageRings::Armed armed = waiting.arm();
    Woken woken = Woken::kByToken;
    if (armed == MessageRings::Armed::kYes) woken = Sleep(life, deadline);
    if (woken == Woken::kByEnd && waiting.is_over_at_once) return Result::kOver;
    if (life.closed()) return Result::kClosed;
    if (waiting.may_go()) {
      const Attempt attempted = waiting.attempt();
      if (attempted != Attempt::kBusy) return ResultOf(attempted);
    } else if (woken == Woken::kByEnd) {
      return Result::kOver;
    }
    if (CancelScope::IsLate(deadline)) return Result::kLate;
  }
}

// To read --------------------------------------------------------------------------------------

ChannelReader::~ChannelReader() { delete door_.load(std::memory_order_relaxed); }

void ChannelReader::CloseDescriptors() {
  state().closes.fetch_add(1, std::memory_order_seq_cst);
  delete door_.exchange(nullptr);
  ChannelSide::CloseDescriptors();
}

MessageRings::Armed ChannelReader::Arm(MessageRings& rings, const timespec* deadline) const {
  return rings.ArmForMessage(
      [&rings] { return rings.MayGo(QueueEvent::kPut); },
      [this] {
        TakeTokens();
        const DoorState* const door = door_.load(std::memory_order_acquire);
        uint64_t count;
        if (door != nullptr && read(door->event.fd(), &count, sizeof(count)) < 0) return;
      },
      deadline);
}

// Where somebody waits by descriptor: after what may have been the last message. Who dies before it
// leaves a token: its own, of which nobody knows yet that it was the last one.
void ChannelReader::ArmForOthers(MessageRings& rings) const {
  // The unlock was an instruction that no load passes: who asks for a descriptor finds nothing to
  // read, and arms; or is seen here. [A] with [B]
  if (state().by_descriptor.load(std::memory_order_relaxed) == 0) [[likely]] {
    return;
  }
  if (rings.MayGo(QueueEvent::kPut)) return;
  const timespec patience = MonotonicDeadline(absl::Milliseconds(EndLife::kLook));
  static_cast<void>(Arm(rings, &patience));
}

namespace {

// Of a message that is there, and was not found.
bool MayHaveBeenTold(Result result, const MessageRings& rings, const ChannelState& state) {
  return result == Result::kLate && state.by_descriptor.load(std::memory_order_relaxed) != 0 &&
         rings.MayGo(QueueEvent::kPut);
}

}  // namespace

Result ChannelReader::Await(MessageRings& rings, absl::FunctionRef<Attempt()> attempt,
                            const EndLife& life, const timespec* deadline) const {
  auto may_go = [&] { return rings.MayGo(QueueEvent::kPut); };
  auto arm = [&] {
    const MessageRings::Armed armed = Arm(rings, deadline);
    DropStrayPackets(rings);
    return armed;
  };
  const Waiting waiting = {.attempt = attempt,
                           .may_go = may_go,
                           .arm = arm,
                           .turn = state().read_turn,
                           .is_over_at_once = false};
  return Wait(waiting, life, deadline);
}

Result ChannelReader::Get(const Receiver& receiver, const EndLife& life,
                          const timespec* deadline) const {
  const TokenBell bell(fd());
  MessageRings rings(state(), &bell);
  auto attempt = [&] {
    return rings.TryGetIf(receiver.accept, receiver.read, receiver.take, deadline);
  };
  const Attempt attempted = attempt();
  if (attempted == Attempt::kBusy && !(deadline != nullptr && IsPast(*deadline))) {
    rings.LetSomeGather();
  }
  Result result =
      attempted == Attempt::kBusy ? Await(rings, attempt, life, deadline) : ResultOf(attempted);
  ArmForOthers(rings);
  // One that came meanwhile has told of itself before it was there, and an epoll of the program's
  // may be told of that once only: so where there is one, this may not say that there is none. In
  // vain only where others are faster, or are stopped with the lock.
  constexpr int kTries = 4;
  for (int tries = 0; tries < kTries && MayHaveBeenTold(result, rings, state()); ++tries) {
    const Attempt again = attempt();
    if (again != Attempt::kBusy) result = ResultOf(again);
    ArmForOthers(rings);
  }
  rings.Tidy();
  DropStrayPackets(rings);
  return result;
}

void ChannelReader::DropPacket(uint64_t number) const {
  const TokenBell bell(fd());
  MessageRings rings(state(), &bell);
  const timespec patience = MonotonicDeadline(absl::Milliseconds(EndLife::kLook));
  // Before: a stray packet (C3).
  static_cast<void>(rings.WithGetLock(&patience, [&] {
    DropDescriptors(packets_fd(), number);
    Word& gone = state().packets_gone;
    if (gone.load(std::memory_order_relaxed) < number) {
      gone.store(number, std::memory_order_relaxed);
    }
    rings.RingForMore();
  }));
}

// What the dead had sent, and nobody got, would keep files open. A hint tells whether there may be
// some; who sends meanwhile has the lock.
void ChannelReader::DropStrayPackets(MessageRings& rings) const {
  auto may_be = [this] {
    return state().packets_gone.load(std::memory_order_relaxed) !=
               state().packets_sent.load(std::memory_order_relaxed) &&
           state().Size() == 0;
  };
  if (!may_be()) [[likely]] {
    return;
  }
  static_cast<void>(rings.WithBothLocks([&] {
    if (!may_be()) return;
    DropDescriptors(packets_fd(), UINT64_MAX);
    state().packets_gone.store(state().packets_sent.load(std::memory_order_relaxed),
                               std::memory_order_relaxed);
  }));
}

Result ChannelReader::Look(const EndLife& life, const timespec* deadline) const {
  const TokenBell bell(fd());
  MessageRings rings(state(), &bell);
  auto attempt = [&] { return rings.MayGo(QueueEvent::kPut) ? Attempt::kDone : Attempt::kBusy; };
  const Result result =
      attempt() == Attempt::kBusy ? Await(rings, attempt, life, deadline) : Result::kDone;
  ArmForOthers(rings);
  return MayHaveBeenTold(result, rings, state()) ? Result::kDone : result;
}

absl::StatusOr<int> ChannelReader::Door() {
  if (const DoorState* door = door_.load(std::memory_order_acquire); door != nullptr) {
    return door->epoll.fd();
  }
  absl::StatusOr<Descriptor> epoll = Descriptor::Own(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  if (!epoll.ok()) return epoll.status();
  absl::StatusOr<Descriptor> event =
      Descriptor::Own(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
  if (!event.ok()) return event.status();
  for (const int fd : {this->fd(), event->fd()}) {
    epoll_event readable = {};
    readable.events = EPOLLIN;
    if (epoll_ctl(epoll->fd(), EPOLL_CTL_ADD, fd, &readable) != 0) {
      return absl::ErrnoToStatus(errno, "epoll_ctl");
    }
  }
  std::unique_ptr<DoorState> made(new DoorState{*std::move(epoll), *std::move(event)});
  DoorState* door = nullptr;
  if (door_.compare_exchange_strong(door, made.get(), std::memory_order_acq_rel)) {
    door = made.release();
  }
  // From here on whoever finds it empty arms. The event is set, until that happens here.
  state().by_descriptor.store(1, std::memory_order_seq_cst);  // [B] with [A]
  const TokenBell bell(fd());
  MessageRings rings(state(), &bell);
  ArmForOthers(rings);
  return door->epoll.fd();
}

// To write -------------------------------------------------------------------------------------

// Whoever reads lives. So it looks only where nothing was taken since the last look, or somebody
// has closed; what a reader that has since died has taken hides its death once.
bool ChannelWriter::NobodyReads() const {
  const uint32_t taken = state().gets().load(std::memory_order_relaxed);
  const uint64_t closes = state().closes.load(std::memory_order_seq_cst);
  if (taken != taken_.load(std::memory_order_relaxed) &&
      closes == closes_.load(std::memory_order_relaxed)) {
    taken_.store(taken, std::memory_order_relaxed);
    return false;
  }
  if (IsOver()) return true;
  taken_.store(taken, std::memory_order_relaxed);
  closes_.store(closes, std::memory_order_relaxed);
  return false;
}

// By who has the lock to put, just before the message is there.
ChannelSide::Attempt ChannelWriter::SendPacket(absl::Span<const int> fds, char* number_at) const {
  if (fds.empty()) [[likely]] {
    return Attempt::kDone;
  }
  const uint64_t number = state().packets_sent.load(std::memory_order_relaxed) + 1;
  std::memcpy(number_at, &number, sizeof(number));
  // Before: no packet has this number.
  // After:  there may be one, a stray packet (C3) until the message is there.
  // Test:   PipeDescriptorCrashTest.ASendIsAllOrNothing
  state().packets_sent.store(number, std::memory_order_relaxed);
  CompilerFence();
  switch (SendDescriptors(packets_fd(), number, fds)) {
    case DescriptorsSent::kSent:
      return Attempt::kDone;
    case DescriptorsSent::kFull:
      // Of the dead, or who gets has not yet dropped its last: nobody to wait for.
      return state().Size() == 0 ? Attempt::kNoDescriptor : Attempt::kBusy;
    case DescriptorsSent::kOver:
      return Attempt::kShut;
    case DescriptorsSent::kTooMany:
      return Attempt::kNoDescriptor;
    case DescriptorsSent::kNoDescriptor:
      return Attempt::kRefused;
    case DescriptorsSent::kNoMemory:
      break;
  }
  return Attempt::kNoMemory;
}

bool ChannelWriter::HasRoomForPacket() const {
  pollfd side = {.fd = packets_fd(), .events = POLLOUT, .revents = 0};
  while (poll(&side, 1, 0) < 0 && errno == EINTR) {
  }
  EndIfClosed({&side, 1});
  return side.revents != 0 || state().Size() == 0;
}

Result ChannelWriter::Do(MessageRings& rings, size_t size, absl::FunctionRef<Attempt()> attempt,
                         const EndLife& life, const timespec* deadline, bool sends_packet) const {
  if (NobodyReads()) return Result::kOver;
  const Attempt attempted = attempt();
  Result result = ResultOf(attempted);
  if (attempted == Attempt::kBusy) {
    auto has_more_room = [&] { return !sends_packet || HasRoomForPacket(); };
    auto may_go = [&] { return rings.HasRoom(size) && has_more_room(); };
    auto arm = [&] {
      return rings.ArmForRoom(
          size, has_more_room, [this] { TakeTokens(); }, deadline);
    };
    const Waiting waiting = {.attempt = attempt,
                             .may_go = may_go,
                             .arm = arm,
                             .turn = state().write_turn,
                             .is_over_at_once = true};
    result = Wait(waiting, life, deadline);
  }
  rings.Tidy();
  return result;
}

Result ChannelWriter::Put(size_t size, absl::FunctionRef<void(void* place)> write,
                          const EndLife& life, const timespec* deadline,
                          absl::Span<const int> fds) const {
  const TokenBell bell(fd());
  MessageRings rings(state(), &bell);
  auto write_all = [&](void* place) {
    write(place);
    return SendPacket(fds, static_cast<char*>(place) + size - sizeof(uint64_t));
  };
  auto attempt = [&] {
    return MessageRings::WithMemory([&] { return rings.TryPut(size, write_all, deadline); });
  };
  return Do(rings, size, attempt, life, deadline, !fds.empty());
}

Result ChannelWriter::PutBlock(const MessageRings::Block& block, const EndLife& life,
                               const timespec* deadline, absl::Span<const int> fds) const {
  const TokenBell bell(fd());
  MessageRings rings(state(), &bell);
  auto* const bytes = const_cast<char*>(MessageRings::BytesOf(block));
  auto finish = [&] { return SendPacket(fds, bytes + block.size - sizeof(uint64_t)); };
  auto attempt = [&] {
    return MessageRings::WithMemory([&] { return rings.TryPutBlock(block, finish, deadline); });
  };
  return Do(rings, block.size, attempt, life, deadline, !fds.empty());
}

}  // namespace mp::internal
