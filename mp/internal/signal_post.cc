#include "mp/internal/signal_post.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <mutex>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "mp/internal/descriptor.h"
#include "shared/internal/atomic.h"

namespace mp::internal {
namespace {

// What becomes of a signal.
struct Route {
  Atomic<SignalPost*> post{nullptr};  // nullptr: it is not handled
  struct sigaction before;            // these do not change while it is
  struct sigaction in_child;
  bool as_before = true;  // so it is in a child
};

constinit std::mutex mutex;                  // held across a fork
constinit SignalPost* first = nullptr;       // under mutex; of this process
constinit SignalPost* parents = nullptr;     // what its parents had
constinit Atomic<pid_t> owner{0};            // of what is handled: this process, or it is a child
Route routes[SignalPost::kMostSignals + 1];  // changed under mutex

}  // namespace

// In a signal handler.
void SignalPost::OnSignal(int signal) {
  const int error = errno;
  Route& route = routes[signal];
  if (getpid() != owner.load(std::memory_order_relaxed)) {
    // A child that has not come to its fork handlers, or of vfork(), for which there are none. It
    // is blocked until this returns.
    sigaction(signal, &route.in_child, nullptr);
    raise(signal);
  } else if (SignalPost* const post = route.post.load(std::memory_order_acquire); post != nullptr) {
    post->pending_.fetch_or(BitOf(signal), std::memory_order_acq_rel);
    post->Ring();
  }
  errno = error;
}

void SignalPost::RegisterForkHandlers() {
  pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); },
                 [] {
                   ForgetInChild();
                   mutex.unlock();
                 });
}

void SignalPost::ForgetInChild() {
  if (first == nullptr) return;
  for (int signal = 1; signal <= kMostSignals; ++signal) {
    Route& route = routes[signal];
    if (route.post.load(std::memory_order_relaxed) == nullptr) continue;
    route.post.store(nullptr, std::memory_order_relaxed);
    struct sigaction now;
    if (sigaction(signal, nullptr, &now) == 0 && now.sa_handler == &OnSignal) {
      sigaction(signal, &route.in_child, nullptr);
    }
  }
  // Whoever has one there still finds that it is its parent's.
  SignalPost* last = first;
  for (SignalPost* post = first; post != nullptr; post = post->next_) {
    post->descriptor_ = Descriptor();
    last = post;
  }
  last->next_ = parents;
  parents = first;
  first = nullptr;
}

absl::StatusOr<SignalPost*> SignalPost::Take() {
  const std::lock_guard lock(mutex);
  for (SignalPost* post = first; post != nullptr; post = post->next_) {
    if (post->taken_) continue;
    post->taken_ = true;
    post->Drain();
    post->pending_.store(0, std::memory_order_relaxed);
    return post;
  }
  absl::StatusOr<Descriptor> descriptor =
      Descriptor::Own(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
  if (!descriptor.ok()) return descriptor.status();
  auto* const post = new SignalPost(*std::move(descriptor));
  post->next_ = first;
  first = post;
  return post;
}

void SignalPost::Return(SignalPost* post) {
  const std::lock_guard lock(mutex);
  post->taken_ = false;
}

absl::Status SignalPost::Send(int signal, SignalPost& post, const struct sigaction* in_child) {
  const std::lock_guard lock(mutex);
  Route& route = routes[signal];
  SignalPost* const other = route.post.load(std::memory_order_relaxed);
  if (other != nullptr && other != &post) {
    return absl::AlreadyExistsError(
        absl::StrCat("signal ", signal, " is handled by another SignalHandlers"));
  }
  if (other == nullptr && sigaction(signal, nullptr, &route.before) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("signal ", signal, " cannot be handled"));
  }
  route.as_before = in_child == nullptr;
  route.in_child = in_child != nullptr ? *in_child : route.before;
  if (other != nullptr) return absl::OkStatus();
  owner.store(getpid(), std::memory_order_relaxed);
  route.post.store(&post, std::memory_order_release);
  struct sigaction action = {};
  action.sa_handler = &OnSignal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  if (sigaction(signal, &action, nullptr) == 0) return absl::OkStatus();
  route.post.store(nullptr, std::memory_order_relaxed);
  return absl::InvalidArgumentError(absl::StrCat("signal ", signal, " cannot be handled"));
}

bool SignalPost::Release(int signal, SignalPost& post) {
  const std::lock_guard lock(mutex);
  Route& route = routes[signal];
  if (route.post.load(std::memory_order_relaxed) != &post) return false;
  // Not what the program has set meanwhile.
  struct sigaction now;
  if (sigaction(signal, nullptr, &now) == 0 && now.sa_handler == &OnSignal) {
    sigaction(signal, &route.before, nullptr);
  }
  route.post.store(nullptr, std::memory_order_relaxed);
  post.TakeOne(signal);
  return true;
}

uint64_t SignalPost::IgnoredInChildren() {
  const std::lock_guard lock(mutex);
  uint64_t ignored = 0;
  for (int signal = 1; signal <= kMostSignals; ++signal) {
    const Route& route = routes[signal];
    if (route.post.load(std::memory_order_relaxed) != nullptr && !route.as_before &&
        route.in_child.sa_handler == SIG_IGN) {
      ignored |= BitOf(signal);
    }
  }
  return ignored;
}

void SignalPost::Ring() const {
  constexpr uint64_t kOne = 1;
  // Where it cannot count more it is readable.
  if (write(fd(), &kOne, sizeof(kOne)) < 0) return;
}

void SignalPost::Drain() const {
  uint64_t count;
  if (read(fd(), &count, sizeof(count)) < 0) return;
}

}  // namespace mp::internal
