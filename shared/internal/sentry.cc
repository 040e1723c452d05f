#include "shared/internal/sentry.h"

#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "shared/internal/proof_of_death.h"

namespace mp::internal {
namespace {

using Kind = ProcessTable::Kind;

constexpr int64_t kEachSecond = 1000;
constexpr int64_t kOverdue = 2000;
constexpr int64_t kShort = 50;
constexpr int64_t kPatience = 50;
constexpr int64_t kShortPatience = 5;
constexpr int64_t kMostForUnborn = 16 * kEachSecond;

int64_t Milliseconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

timespec TimeOf(int64_t milliseconds) {
  return {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1'000'000};
}

}  // namespace

bool Sentry::IsOverdue(const SentryPost& post) {
  const auto looked = static_cast<int64_t>(post.looked.load(std::memory_order_relaxed));
  return Milliseconds(CLOCK_MONOTONIC) - looked > kOverdue;
}

void Sentry::LookAgainIn(int64_t milliseconds) { pause_ = std::min(pause_, milliseconds); }

timespec Sentry::Look(std::vector<FutexExpectation>& words) { return LookFor(kPatience, words); }

void Sentry::Look() {
  std::vector<FutexExpectation> words;
  static_cast<void>(LookFor(kShortPatience, words));
}

timespec Sentry::LookFor(int64_t patience, std::vector<FutexExpectation>& words) {
  now_ = Milliseconds(CLOCK_MONOTONIC);
  pause_ = kEachSecond;
  patience_ = patience;
  until_ = 0;
  is_left_ = false;
  found_.clear();
  more_.clear();
  watched_.assign(undertaker_.processes.committed(), false);
  LookAtLanes(words);
  // Of the others the lanes are free, or their threads live.
  std::erase_if(suspects_, [this](const Suspect& s) { return s.seen != now_; });
  const auto looked = static_cast<int64_t>(post_.looked.load(std::memory_order_relaxed));
  if (now_ - looked >= kEachSecond) {
    LookAtProcesses();
    // At its end: it may take long, and is not to follow on itself. Where it could not see, others
    // are to look; where something is left, the next one.
    if (CanProveDeaths() && !is_left_) {
      post_.looked.store(static_cast<uint64_t>(Milliseconds(CLOCK_MONOTONIC)),
                         std::memory_order_relaxed);
    }
  } else {
    LookAgainIn(looked + kEachSecond - now_);
  }
  if (is_left_) LookAgainIn(1);
  words.insert(words.begin(), found_.begin(), found_.end());
  // From now on: a look may have taken longer than that, and is not to follow on itself.
  return TimeOf(Milliseconds(CLOCK_MONOTONIC) + std::max<int64_t>(pause_, 1));
}

void Sentry::LookAtLanes(std::vector<FutexExpectation>& words) {
  LaneTable& lanes = undertaker_.lanes;
  const size_t room = kMostFutexes - words.size();
  const uint32_t committed = lanes.committed();
  uint64_t sleepers = 0;
  for (uint32_t index = 0; index < committed; ++index) {
    Lane& lane = lanes[index];
    const ProcessId process = lane.process.load(std::memory_order_acquire);
    if (process == 0 || &lane == LaneTable::OfThisThreadIfAny()) continue;
    if (!lane.Held()) {
      LookAtEnded(lane, process);
      continue;
    }
    sleepers += lane.notes[0].load(std::memory_order_relaxed) != 0;
    const uint32_t slot = ProcessTable::IndexOf(process);
    if (slot >= watched_.size()) {  // came since
      LookAgainIn(1);
    } else if (process == undertaker_.self || watched_[slot]) {
      more_.push_back(&lane);
    } else if (found_.size() == room) {
      LookAgainIn(kShort);
      watched_[slot] = true;
    } else {
      watched_[slot] = Watch(lane, found_);
    }
  }
  for (Lane* lane : more_) {
    if (found_.size() == room) break;
    Watch(*lane, found_);
  }
  post_.sleepers.store(sleepers + 1, std::memory_order_relaxed);
}

// False: the lane has changed.
bool Sentry::Watch(Lane& lane, std::vector<FutexExpectation>& words) {
  uint32_t seen = lane.alive.word().load(std::memory_order_relaxed);
  if (RobustMutex::HolderIn(seen) == 0 || !lane.alive.AnnounceSleeper(seen)) {
    LookAgainIn(1);
    return false;
  }
  words.emplace_back(lane.alive.word(), seen);
  return true;
}

void Sentry::LookAtEnded(Lane& lane, ProcessId process) {
  LaneTable& lanes = undertaker_.lanes;
  lanes.WakeFor(lane);
  if (process == undertaker_.self) {
    lanes.FreeIfGone(lane);
    return;
  }
  auto suspect = std::find_if(suspects_.begin(), suspects_.end(),
                              [process](const Suspect& s) { return s.process == process; });
  if (suspect == suspects_.end()) {
    suspect = suspects_.insert(suspect, {process, now_, now_, 1, now_});
  }
  suspect->seen = now_;
  if (now_ >= suspect->next) {
    if (IsBuried(process)) {
      suspects_.erase(suspect);
      if (lane.process.load(std::memory_order_acquire) == process) lanes.FreeIfGone(lane);
      return;
    }
    suspect->next = now_ + suspect->delay;
    suspect->delay = std::min(2 * suspect->delay, kShort);
  }
  if (now_ - suspect->since >= kEachSecond) {
    lanes.FreeIfGone(lane);
  } else {
    LookAgainIn(suspect->next - now_);
  }
}

// Before proof is looked for. False: this look has waited, or done, enough.
bool Sentry::MayBury() {
  if (until_ == 0 || Milliseconds(CLOCK_MONOTONIC) < until_) return true;
  is_left_ = true;
  return false;
}

void Sentry::Bury(ProcessId dead) {
  if (until_ == 0) until_ = Milliseconds(CLOCK_MONOTONIC) + patience_;
  const bool buried = undertaker_.Bury(dead, TimeOf(until_));
  // The sentry goes on as long as nothing holds it up.
  if (buried && patience_ == kPatience) until_ = 0;
}

// Whether nothing is left to prove.
bool Sentry::IsBuried(ProcessId process) {
  const ProcessTable::Entry entry = undertaker_.processes.Find(process);
  if (entry.kind != Kind::kLive) return entry.kind == Kind::kFree;
  if (!MayBury() || !IsDead(entry.pid, entry.started, undertaker_.header, Evidence::kThorough)) {
    return false;
  }
  Bury(process);
  return true;
}

void Sentry::LookAtProcesses() {
  const ProcessTable& processes = undertaker_.processes;
  const int64_t boot_now = Milliseconds(CLOCK_BOOTTIME);
  bool has_unborn = false;
  ProcessId first_dead = 0;
  ProcessId next_dead = 0;  // after the one that was tried last
  for (auto entry = processes.Next(0); entry.kind != Kind::kFree;
       entry = processes.Next(entry.id)) {
    const bool came_since = ProcessTable::IndexOf(entry.id) >= watched_.size();
    if (entry.id == undertaker_.self || came_since) continue;
    if (entry.kind == Kind::kDead) {
      if (first_dead == 0) first_dead = entry.id;
      const bool after = ProcessTable::IndexOf(entry.id) > ProcessTable::IndexOf(last_dead_);
      if (next_dead == 0 && after) next_dead = entry.id;
    }
    // Also where a lane is watched: of one who held thousands of robust mutexes the kernel may
    // have left that out.
    if (entry.kind == Kind::kLive && MayBury() &&
        IsDead(entry.pid, entry.started, undertaker_.header, Evidence::kQuick)) {
      Bury(entry.id);
    }
    has_unborn =
        has_unborn || (entry.kind == Kind::kForked &&
                       boot_now - static_cast<int64_t>(entry.claimed / 1'000'000) > kEachSecond);
  }
  // One a look, in turn: what a stopped undertaker has begun is not to keep the others waiting.
  if (first_dead != 0 && MayBury()) {
    last_dead_ = next_dead != 0 ? next_dead : first_dead;
    Bury(last_dead_);
  }
  if (!has_unborn) {
    unborn_delay_ = kEachSecond;
    unborn_next_ = 0;
  } else if (now_ >= unborn_next_) {
    LookAtUnborn();
  }
}

// A process that nobody knows, and that maps the domain, may be there for long.
void Sentry::LookAtUnborn() {
  const int64_t until = until_ != 0 ? until_ : Milliseconds(CLOCK_MONOTONIC) + patience_;
  if (undertaker_.BuryTheUnborn(TimeOf(until)) > 0) unborn_delay_ = kEachSecond;
  unborn_next_ = Milliseconds(CLOCK_MONOTONIC) + unborn_delay_;
  unborn_delay_ = std::min(2 * unborn_delay_, kMostForUnborn);
}

}  // namespace mp::internal
