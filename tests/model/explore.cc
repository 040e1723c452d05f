#include "tests/model/explore.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "tests/model/fiber.h"
#include "tests/model/step.h"

#if defined(__SANITIZE_ADDRESS__)
#define MP_LEAK_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MP_LEAK_SANITIZER 1
#endif
#endif

#ifdef MP_LEAK_SANITIZER
#include <sanitizer/lsan_interface.h>
#endif

namespace mp::model {
namespace {

constexpr int kMostActors = 12;
constexpr int kNobody = -1;             // setting up, and between runs
constexpr int kObserver = kMostActors;  // Always(), and what is looked at in one step
constexpr int kLast = kMostActors + 1;  // Check()
constexpr size_t kStackSize = 256 << 10;
constexpr size_t kMostBytes = 16 << 20;  // of one run's state
constexpr int64_t kMostSteps = 100'000;  // of one schedule
constexpr int kFirstPid = 1000;

uint64_t Mix(uint64_t hash, uint64_t word) {
  const auto product =
      static_cast<unsigned __int128>(hash ^ word ^ 0x9e3779b97f4a7c15) * 0xd6e8feb86659fd93;
  const auto high = static_cast<uint64_t>(product >> 64);
  const auto low = static_cast<uint64_t>(product);
  return (high ^ low) + (hash << 1 | hash >> 63);
}

void* MapOrDie(size_t size) {
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    perror("memory for a model");
    std::abort();
  }
  return memory;
}

}  // namespace

class Explorer {
 public:
  Explorer(const Options& options, const std::function<void(Model&)>& build)
      : options_(options), build_(build), model_(*this) {
    bytes_ = static_cast<char*>(MapOrDie(kMostBytes));
    touched_ = static_cast<Touched*>(MapOrDie(kMostBytes * sizeof(Touched)));
    ReadReplay();
  }
  ~Explorer() {
    munmap(bytes_, kMostBytes);
    munmap(touched_, kMostBytes * sizeof(Touched));
  }
  Explorer(const Explorer&) = delete;
  Explorer& operator=(const Explorer&) = delete;

  Report ExploreAll();

  // What a Model, and a Step, ask for.
  void* MakeBytes(size_t size, size_t alignment);
  ActorId Begin(std::string_view name, std::function<void()> body);
  Outcome Take(const Step& step);
  void See(uint64_t value);
  [[noreturn]] void FailWith(std::string_view message);
  int Acting() const { return acting_ != kNobody ? acting_ : current_; }
  uint64_t Observe(const std::function<uint64_t()>& look);

  struct Held {
    void* what;
    void (*release)(void*);
  };

  enum class Life : uint8_t { kNew, kAlive, kEnded, kKilled };

  struct Actor {
    std::string name;
    std::function<void()> body;
    Life life = Life::kNew;
    bool spared = false;
    bool timed_out = false;
    bool alone = false;  // the pending step is of interest to who comes last only
    Step pending = {.what = "begin"};
    uint64_t seen = 0;
    std::vector<Held> held;
  };

  Model& model() { return model_; }
  Actor& actor(int index) { return actors_[index]; }
  int actor_count() const { return actor_count_; }
  void ActAs(int actor, const std::function<void()>& set_up);
  void AddPerActor(void* variable, size_t size);
  std::function<std::string()> always;
  std::function<std::string()> check;

 private:
  enum class Kind : uint8_t { kRun, kKill, kTimeout };
  struct Choice {
    Kind kind;
    uint8_t actor;
    friend bool operator==(const Choice&, const Choice&) = default;
  };
  struct Node {
    std::array<Choice, size_t{3} * kMostActors> choices;
    int count = 0;
    int next = 0;
    void Add(Kind kind, int actor) { choices[count++] = {kind, static_cast<uint8_t>(actor)}; }
  };
  // Who touches a byte where something begins, a bit for each actor.
  struct Touched {
    uint16_t by;  // as far as is known now
    uint16_t written_by;
    uint16_t was_by;  // and was when the exploration began
    uint16_t was_written_by;
  };
  // Who can tell when a step is done.
  enum class Tells { kNobody, kLast, kOthers };
  struct Traced {
    Choice choice;
    Step step;
    bool saw = false;
    uint64_t seen = 0;
  };

  void ReadReplay();
  void RunOnce();
  bool NextSchedule();
  void Reset();
  void Settle();
  Tells Touch(int by, const Step& step);
  void Schedule();
  int Decide();
  Node Choices();
  bool Ready(int index);
  bool LastMayGoOn() {
    return last_ran_ != kNobody && actors_[last_ran_].life == Life::kAlive && Ready(last_ran_);
  }
  void Die(int index, Life how);
  int Become(int who);
  void LoadVariablesOf(int who);
  uint64_t Key() const;
  void SetFailure(std::string_view message);
  std::string DescribeBounds() const;
  std::string Place(const void* address) const;
  std::string Trace() const;

  const Options& options_;
  const std::function<void(Model&)>& build_;
  Model model_;

  char* bytes_;
  size_t used_ = 0;
  Touched* touched_;

  std::array<Actor, kMostActors> actors_;
  int actor_count_ = 0;
  std::array<std::unique_ptr<Fiber>, kMostActors + 1> fibers_;
  std::array<bool, kMostActors + 1> begun_ = {};
  Fiber main_;
  int current_ = kNobody;
  int acting_ = kNobody;
  bool observing_ = false;
  bool settling_ = false;

  // What each actor has its own of, by who has it; that of nobody comes first.
  struct PerActor {
    void* variable;
    size_t size;
    std::array<uint64_t, kLast + 2> values;
  };
  std::vector<PerActor> per_actor_;
  int loaded_ = kNobody;  // whose are in the variables

  // The schedule that runs.
  std::vector<Traced> trace_;
  size_t depth_ = 0;
  int last_ran_ = kNobody;
  int kills_ = 0;
  int timeouts_ = 0;
  int preemptions_ = 0;
  unsigned gone_ = 0;  // a bit for each actor
  bool over_ = false;  // all have ended or were killed

  // The exploration.
  std::vector<Node> nodes_;
  std::unordered_set<uint64_t> been_;
  bool anew_ = false;
  std::vector<Choice> replay_;
  Report report_;
};

namespace {
Explorer* explorer = nullptr;
}  // namespace

// The exploration ------------------------------------------------------------------------

Report Explorer::ExploreAll() {
  do {
    anew_ = false;
    nodes_.clear();
    been_.clear();
    report_ = {};
    for (size_t i = 0; i < used_; ++i) {
      touched_[i].was_by = touched_[i].by;
      touched_[i].was_written_by = touched_[i].written_by;
    }
    do {
      RunOnce();
      ++report_.schedules;
      report_.ended += over_;
      report_.longest = std::max(report_.longest, static_cast<int64_t>(trace_.size()));
      if (report_.schedules >= options_.most_schedules && report_.Clean()) {
        report_.failure = "there are more schedules than Options::most_schedules";
      }
    } while (report_.Clean() && !anew_ && replay_.empty() && NextSchedule());
  } while (report_.Clean() && anew_);
  report_.bounds = DescribeBounds();
  return report_;
}

bool Explorer::NextSchedule() {
  while (!nodes_.empty() && ++nodes_.back().next == nodes_.back().count) nodes_.pop_back();
  return !nodes_.empty();
}

void Explorer::RunOnce() {
  Reset();
  build_(model_);
  if (const int first = Decide(); first != kNobody) main_.SwitchTo(*fibers_[first]);
  Become(kNobody);
  if (over_ && report_.Clean() && check != nullptr) {
    auto& fiber = fibers_[kObserver];
    if (fiber == nullptr) fiber = std::make_unique<Fiber>(kStackSize);
    fiber->Begin([this] {
      const std::string broken = check();
      if (!broken.empty()) SetFailure("at the end: " + broken);
      fibers_[kObserver]->SwitchTo(main_);
      fibers_[kObserver]->LeaveForEverTo(main_);
    });
    begun_[kObserver] = true;
    Become(kObserver);
    observing_ = true;
    main_.SwitchTo(*fiber);
    observing_ = false;
    Become(kNobody);
  }
  Settle();
}

void Explorer::Reset() {
  std::memset(bytes_, 0, used_);
  used_ = 0;
  for (int i = 0; i < actor_count_; ++i) actors_[i] = {};
  actor_count_ = 0;
  always = nullptr;
  check = nullptr;
  per_actor_.clear();
  trace_.clear();
  depth_ = 0;
  last_ran_ = kNobody;
  kills_ = timeouts_ = preemptions_ = 0;
  gone_ = 0;
  over_ = false;
}

// Fibers that stopped somewhere have to leave, or the sanitizer keeps their frames.
void Explorer::Settle() {
  settling_ = true;
  for (size_t i = 0; i < fibers_.size(); ++i) {
    if (begun_[i]) main_.SwitchTo(*fibers_[i]);
    begun_[i] = false;
  }
  settling_ = false;
}

// The schedule ---------------------------------------------------------------------------

void Explorer::Schedule() {
  const int self = current_;
  const int next = Decide();
  if (next != self) {
    fibers_[self]->SwitchTo(next == kNobody ? main_ : *fibers_[next]);
    if (settling_) fibers_[self]->LeaveForEverTo(main_);
  }
}

// Who takes its step now; kNobody: the run is over.
int Explorer::Decide() {
  for (;;) {
    for (int i = 0; i < actor_count_; ++i) {
      if (actors_[i].life != Life::kNew) continue;
      // It comes to its first step.
      actors_[i].life = Life::kAlive;
      begun_[i] = true;
      return Become(i);
    }
    const bool known = depth_ < nodes_.size();
    if (!known && always != nullptr) {
      std::string broken;
      Observe([&] {
        broken = always();
        return 0;
      });
      if (!broken.empty()) SetFailure(broken);
    }
    if (!report_.Clean()) return kNobody;
    over_ = std::none_of(actors_.begin(), actors_.begin() + actor_count_,
                         [](const Actor& actor) { return actor.life == Life::kAlive; });
    if (over_) return kNobody;
    const Node node = Choices();
    // That one of them may be killed does not help the others.
    if (std::all_of(node.choices.begin(), node.choices.begin() + node.count,
                    [](Choice c) { return c.kind == Kind::kKill; })) {
      std::string message = "nobody can go on:";
      for (int i = 0; i < actor_count_; ++i) {
        if (actors_[i].life != Life::kAlive) continue;
        message += " " + actors_[i].name + " waits to " + actors_[i].pending.what +
                   Place(actors_[i].pending.address) + ";";
      }
      message.pop_back();
      SetFailure(message);
      return kNobody;
    }
    Choice choice;
    if (known) {
      const Node& before = nodes_[depth_];
      choice = before.choices[before.next];
      if (before.count != node.count || !(node.choices[before.next] == choice)) {
        SetFailure("the same schedule went another way: something differs from run to run");
        return kNobody;
      }
    } else {
      if (trace_.size() > kMostSteps) {
        SetFailure("no end: an actor goes round and round");
        return kNobody;
      }
      if (!replay_.empty()) {
        if (depth_ >= replay_.size()) return kNobody;
        choice = replay_[depth_];
        if (std::find(node.choices.begin(), node.choices.begin() + node.count, choice) ==
            node.choices.begin() + node.count) {
          SetFailure("Options::replay: not possible");
          return kNobody;
        }
      } else {
        if (options_.reduce && !been_.insert(Key()).second) return kNobody;
        choice = node.choices[0];
      }
      nodes_.push_back(node);
      if (!replay_.empty()) {
        nodes_.back().count = 1;
        nodes_.back().choices[0] = choice;
      }
    }
    ++depth_;
    trace_.push_back({.choice = choice, .step = actors_[choice.actor].pending});
    Actor& chosen = actors_[choice.actor];
    switch (choice.kind) {
      case Kind::kKill:
        ++kills_;
        Die(choice.actor, Life::kKilled);
        continue;
      case Kind::kTimeout:
        ++timeouts_;
        chosen.timed_out = true;
        break;
      case Kind::kRun:
        chosen.timed_out = false;
        break;
    }
    if (last_ran_ != choice.actor && LastMayGoOn()) ++preemptions_;
    last_ran_ = choice.actor;
    return Become(choice.actor);
  }
}

int Explorer::Become(int who) {
  LoadVariablesOf(who);
  return current_ = who;
}

void Explorer::LoadVariablesOf(int who) {
  for (PerActor& own : per_actor_) {
    std::memcpy(&own.values[loaded_ + 1], own.variable, own.size);
    std::memcpy(own.variable, &own.values[who + 1], own.size);
  }
  loaded_ = who;
}

Explorer::Node Explorer::Choices() {
  Node node;
  if (current_ != kNobody && current_ != kObserver && actors_[current_].life == Life::kAlive &&
      actors_[current_].alone) {
    // Whether the others go on before it or after it is the same.
    node.Add(Kind::kRun, current_);
    if (kills_ < options_.kills && !actors_[current_].spared) node.Add(Kind::kKill, current_);
    return node;
  }
  Observe([&] {
    const bool last_ready = LastMayGoOn();
    const bool stay = last_ready && options_.preemptions >= 0 &&
                      preemptions_ >= options_.preemptions && replay_.empty();
    if (last_ready) node.Add(Kind::kRun, last_ran_);
    for (int i = 0; i < actor_count_; ++i) {
      if (actors_[i].life != Life::kAlive || (last_ready && i == last_ran_) || stay) continue;
      if (Ready(i)) node.Add(Kind::kRun, i);
    }
    const int timeouts = options_.timeouts + (node.count == 0 ? options_.last_resorts : 0);
    for (int i = 0; i < actor_count_; ++i) {
      if (actors_[i].life != Life::kAlive) continue;
      if (timeouts_ < timeouts && actors_[i].pending.timed && actors_[i].pending.ready != nullptr &&
          !stay) {
        node.Add(Kind::kTimeout, i);
      }
      if (kills_ < options_.kills && !actors_[i].spared) node.Add(Kind::kKill, i);
    }
    return 0;
  });
  return node;
}

bool Explorer::Ready(int index) {
  const Step& step = actors_[index].pending;
  if (step.ready == nullptr) return true;
  const int before = std::exchange(acting_, index);
  const bool ready = step.ready(step.argument);
  acting_ = before;
  return ready;
}

void Explorer::Die(int index, Life how) {
  actors_[index].life = how;
  gone_ |= 1U << index;
  // The newest first, as the kernel does.
  std::vector<Held> held = std::exchange(actors_[index].held, {});
  for (; !held.empty(); held.pop_back()) held.back().release(held.back().what);
}

// What the future depends on.
uint64_t Explorer::Key() const {
  uint64_t key = Mix(static_cast<uint64_t>(kills_), static_cast<uint64_t>(timeouts_));
  if (options_.preemptions >= 0) {
    key = Mix(key, static_cast<uint64_t>(preemptions_) << 8 | static_cast<uint8_t>(last_ran_));
  }
  for (int i = 0; i < actor_count_; ++i) {
    const bool alive = actors_[i].life == Life::kAlive;
    key = Mix(key, alive ? actors_[i].seen : static_cast<uint64_t>(actors_[i].life));
  }
  size_t at = 0;
  for (; at + sizeof(uint64_t) <= used_; at += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, bytes_ + at, sizeof(word));
    key = Mix(key, word);
  }
  return key;
}

// What a Model, and a Step, ask for --------------------------------------------------------

void* Explorer::MakeBytes(size_t size, size_t alignment) {
  used_ = (used_ + alignment - 1) / alignment * alignment;
  void* const place = bytes_ + used_;
  // Whole words, for Key().
  used_ = (used_ + size + sizeof(uint64_t) - 1) / sizeof(uint64_t) * sizeof(uint64_t);
  if (used_ > kMostBytes || current_ != kNobody) FailWith("Make(): too much, or too late");
  return place;
}

ActorId Explorer::Begin(std::string_view name, std::function<void()> body) {
  if (current_ != kNobody) Take({.what = "fork"});
  if (actor_count_ == kMostActors) FailWith("too many actors");
  const int index = actor_count_++;
  Actor& actor = actors_[index];
  actor.name = name;
  actor.body = std::move(body);
  actor.seen = current_ == kNobody ? static_cast<uint64_t>(index) : Mix(actors_[current_].seen, 1);
  if (fibers_[index] == nullptr) fibers_[index] = std::make_unique<Fiber>(kStackSize);
  fibers_[index]->Begin([this, index] {
    actors_[index].body();
    Die(index, Life::kEnded);
    Schedule();
  });
  if (current_ != kNobody) See(static_cast<uint64_t>(index));
  return index;
}

void Explorer::ActAs(int actor, const std::function<void()>& set_up) {
  const int loaded = loaded_;
  acting_ = actor;
  LoadVariablesOf(actor);
  set_up();
  LoadVariablesOf(loaded);
  acting_ = kNobody;
}

void Explorer::AddPerActor(void* variable, size_t size) {
  uint64_t value = 0;
  std::memcpy(&value, variable, size);
  per_actor_.push_back({variable, size, {}});
  per_actor_.back().values.fill(value);
}

Explorer::Tells Explorer::Touch(int by, const Step& step) {
  if (step.address == nullptr) return Tells::kOthers;
  const auto* const address = static_cast<const char*>(step.address);
  if (address < bytes_ || address >= bytes_ + used_) {
    if (!step.write) return Tells::kNobody;
    FailWith("a write of what was not made with Model::Make()");
  }
  Touched& touched = touched_[address - bytes_];
  const auto self = static_cast<uint16_t>(1U << by);
  touched.by |= self;
  if (step.write) touched.written_by |= self;
  if (touched.by != touched.was_by || touched.written_by != touched.was_written_by) {
    anew_ = options_.reduce;
  }
  // A read is seen by nobody, and sees what others write, who are not dead.
  const unsigned others = (step.write ? touched.was_by : touched.was_written_by) & ~self & ~gone_;
  if ((others & ~(1U << kLast)) != 0) return Tells::kOthers;
  return others != 0 ? Tells::kLast : Tells::kNobody;
}

Outcome Explorer::Take(const Step& step) {
  if (current_ == kNobody) return Outcome::kGo;
  if (observing_) {
    Touch(over_ ? kLast : kObserver, step);
    if (step.ready != nullptr && !step.ready(step.argument)) FailWith("a check would have to wait");
    return Outcome::kGo;
  }
  Actor& actor = actors_[current_];
  const Tells tells = Touch(current_, step);
  const bool each =
      !options_.reduce || !replay_.empty() || (step.ready != nullptr && !step.ready(step.argument));
  const bool alone = !each && tells == Tells::kLast;
  if (each || tells == Tells::kOthers || (alone && kills_ < options_.kills && !actor.spared)) {
    actor.pending = step;
    actor.alone = alone;
    Schedule();
    actor.seen = Mix(actor.seen, actor.timed_out ? 3 : 2);
    return actor.timed_out ? Outcome::kTimedOut : Outcome::kGo;
  }
  trace_.push_back({.choice = {Kind::kRun, static_cast<uint8_t>(current_)}, .step = step});
  return Outcome::kGo;
}

void Explorer::See(uint64_t value) {
  if (current_ == kNobody || observing_) return;
  actors_[current_].seen = Mix(actors_[current_].seen, value);
  if (trace_.empty()) return;
  Traced& traced = trace_.back();
  if (traced.choice.actor != current_ || traced.saw) return;
  traced.saw = true;
  traced.seen = value;
}

uint64_t Explorer::Observe(const std::function<uint64_t()>& look) {
  const bool before = std::exchange(observing_, true);
  const int who = current_;
  if (current_ == kNobody) current_ = kObserver;
  const uint64_t value = look();
  current_ = who;
  observing_ = before;
  return value;
}

void Explorer::FailWith(std::string_view message) {
  SetFailure(message);
  if (current_ == kNobody || !begun_[current_]) {
    std::fprintf(stderr, "model: %s: setting up: %s\n", options_.name.c_str(),
                 report_.failure.c_str());
    std::abort();
  }
  observing_ = false;
  Fiber& self = *fibers_[current_];
  self.SwitchTo(main_);
  self.LeaveForEverTo(main_);
}

// What is printed ------------------------------------------------------------------------

std::string Explorer::Place(const void* address) const {
  if (address == nullptr) return "";
  return " +" + std::to_string(static_cast<const char*>(address) - bytes_);
}

void Explorer::SetFailure(std::string_view message) {
  if (!report_.Clean()) return;
  report_.failure = std::string(message) + "\n" + Trace();
}

std::string Explorer::Trace() const {
  std::ostringstream out;
  std::string numbers;
  for (const Traced& traced : trace_) {
    const Actor& actor = actors_[traced.choice.actor];
    numbers += numbers.empty() ? "" : " ";
    if (traced.choice.kind == Kind::kKill) numbers += "k";
    if (traced.choice.kind == Kind::kTimeout) numbers += "t";
    numbers += std::to_string(traced.choice.actor);
    out << "  " << actor.name;
    if (traced.choice.kind == Kind::kKill) {
      out << " is killed before: ";
    } else {
      out << (traced.choice.kind == Kind::kTimeout ? " gives up: " : ": ");
    }
    out << traced.step.what << Place(traced.step.address) << std::hex;
    if (traced.step.write && traced.step.value != 0) out << " of 0x" << traced.step.value;
    if (traced.saw) out << ", sees 0x" << traced.seen;
    out << std::dec << "\n";
  }
  out << "  replay: \"" << numbers << "\"";
  return out.str();
}

std::string Explorer::DescribeBounds() const {
  std::ostringstream out;
  if (!replay_.empty()) out << "a replay; ";
  if (options_.kills == 0) {
    out << "no kills";
  } else {
    out << "kills <= " << options_.kills;
  }
  if (options_.timeouts != 0) out << ", timeouts <= " << options_.timeouts;
  if (options_.last_resorts != 0) out << ", and last resorts <= " << options_.last_resorts;
  if (options_.preemptions >= 0) {
    out << ", preemptions <= " << options_.preemptions;
  } else {
    out << ", any number of preemptions";
  }
  return out.str();
}

void Explorer::ReadReplay() {
  std::istringstream in(options_.replay);
  std::string word;
  while (in >> word) {
    Kind kind = Kind::kRun;
    if (word[0] == 'k') kind = Kind::kKill;
    if (word[0] == 't') kind = Kind::kTimeout;
    const int actor = std::atoi(word.c_str() + (kind == Kind::kRun ? 0 : 1));
    replay_.push_back({kind, static_cast<uint8_t>(actor)});
  }
}

std::string Report::Summary() const {
  std::ostringstream out;
  out << schedules << " schedules, " << ended << " of them to the end, of up to " << longest
      << " steps; " << bounds;
  if (!failure.empty()) out << "\nFAILED: " << failure;
  return out.str();
}

Report Explore(const Options& options, const std::function<void(Model&)>& build) {
#ifdef MP_LEAK_SANITIZER
  // Who is killed leaks what it had.
  const __lsan::ScopedDisabler no_leaks;
#endif
  Explorer one(options, build);
  explorer = &one;
  Report report = one.ExploreAll();
  explorer = nullptr;
  std::fprintf(stderr, "model: %s: %s\n", options.name.c_str(), report.Summary().c_str());
  return report;
}

// Model ------------------------------------------------------------------------------------

void* Model::MakeBytes(size_t size, size_t alignment) {
  return explorer_.MakeBytes(size, alignment);
}

ActorId Model::Actor(std::string_view name, std::function<void()> body) {
  return explorer_.Begin(name, std::move(body));
}

void Model::Spare(ActorId actor) { explorer_.actor(actor).spared = true; }

void Model::As(ActorId actor, const std::function<void()>& set_up) {
  explorer_.ActAs(actor, set_up);
}

void Model::AddPerActor(void* variable, size_t size) { explorer_.AddPerActor(variable, size); }

void Model::Always(std::function<std::string()> broken) { explorer_.always = std::move(broken); }
void Model::Check(std::function<std::string()> broken) { explorer_.check = std::move(broken); }

void Model::Require(bool holds, std::string_view otherwise) {
  if (!holds) explorer_.FailWith(otherwise);
}

void Model::Await(const char* what, std::function<bool()> ready) {
  explorer_.Take({.what = what,
                  .ready =
                      [](const void* argument) {
                        return explorer->Observe([&] {
                          return (*static_cast<const std::function<bool()>*>(argument))();
                        }) != 0;
                      },
                  .argument = &ready});
}

uint64_t Model::Look(const char* what, const std::function<uint64_t()>& look) {
  explorer_.Take({.what = what});
  const uint64_t seen = explorer_.Observe(look);
  explorer_.See(seen);
  return seen;
}

void Model::Note(uint64_t value) { explorer_.See(value); }

bool Model::Ended(ActorId actor) const {
  return Killed(actor) || explorer_.actor(actor).life == Explorer::Life::kEnded;
}
bool Model::Killed(ActorId actor) const {
  return explorer_.actor(actor).life == Explorer::Life::kKilled;
}
int Model::Actors() const { return explorer_.actor_count(); }

int Model::PidOf(ActorId actor) { return kFirstPid + actor; }
ActorId Model::ActorOf(int pid) const {
  const int actor = pid - kFirstPid;
  return actor >= 0 && actor < Actors() ? actor : kNobody;
}

// Steps ----------------------------------------------------------------------------------

bool Exploring() { return explorer != nullptr; }
int ModelPid() { return Model::PidOf(ActorNumber() - 1); }
Model& CurrentModel() { return explorer->model(); }

Outcome TakeStep(const Step& step) {
  return explorer == nullptr ? Outcome::kGo : explorer->Take(step);
}

void Saw(uint64_t value) {
  if (explorer != nullptr) explorer->See(value);
}

int ActorNumber() {
  const int acting = explorer == nullptr ? kNobody : explorer->Acting();
  return (acting == kNobody ? kObserver : acting) + 1;
}

void Holds(void* what, void (*release)(void* what)) {
  if (const int actor = ActorNumber() - 1; actor < kMostActors) {
    explorer->actor(actor).held.push_back({what, release});
  }
}

void HoldsNoMore(void* what) {
  if (const int actor = ActorNumber() - 1; actor < kMostActors) {
    std::erase_if(explorer->actor(actor).held,
                  [what](const Explorer::Held& held) { return held.what == what; });
  }
}

void Fail(std::string_view message) {
  if (explorer == nullptr) {
    std::fprintf(stderr, "model: %.*s\n", static_cast<int>(message.size()), message.data());
    std::abort();
  }
  explorer->FailWith(message);
}

}  // namespace mp::model
