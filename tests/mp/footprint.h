// tests/mp/footprint.h
//
// Footprint: all that processes could leave behind when they have ended. It does not grow.
//
//   const Footprint before = Footprint::Measure();   // after a first start
//   ... starts, kills
//   EXPECT_EQ(Footprint::Await(before), before);
//
// Of the fork server, too, that this process has started; another one after a kill is as the first.

#ifndef MP_TESTS_MP_FOOTPRINT_H_
#define MP_TESTS_MP_FOOTPRINT_H_

#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <ostream>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "shared/domain.h"
#include "shared/inspect.h"
#include "tests/mp/left_behind.h"
#include "tests/support/bury.h"
#include "tests/support/look.h"
#include "tests/support/settings.h"

namespace mp::testing {

// Whether `pid` is such a child that wait(2) does not see it: the watchdog. Its name it has later.
inline bool IsUnseen(pid_t pid) {
  std::string text;
  std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/stat"), text);
  // The signal at its end is the 38th field; behind the name, which may hold anything, is the 3rd.
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  std::string field;
  for (int i = 3; i <= 38; ++i) fields >> field;
  return field == "0";
}

// Processes below this one, children first, also those that have ended and are not reaped; but not
// the watchdog.
inline std::vector<pid_t> OwnDescendants() {
  static std::array<pid_t, 1 << 13> all;
  const size_t count = Descendants(getpid(), all.data(), all.size());
  std::vector<pid_t> others;
  for (size_t i = 0; i < count; ++i) {
    if (!IsUnseen(all[i])) others.push_back(all[i]);
  }
  return others;
}

struct Footprint {
  int descriptors = 0;         // of this process
  int server_descriptors = 0;  // of the first of its children: the fork server, if there is one
  size_t processes = 0;        // below this one
  size_t members = 0;          // of the family, by its table
  uint32_t slots = 0;          // that have memory
  size_t in_use = 0;           // bytes of the domain
  size_t committed = 0;
  size_t objects = 0;

  static Footprint Measure() {
    const std::vector<pid_t> below = OwnDescendants();
    // What it has to do is done when it sleeps.
    if (!below.empty()) static_cast<void>(WaitUntilAsleep(below.front()));
    const DomainStats stats = Stats();
    return {.descriptors = Descriptors(),
            .server_descriptors = below.empty() ? 0 : Descriptors(below.front()),
            .processes = below.size(),
            .members = AllIds().size(),
            .slots = Domain::Current()->processes().committed(),
            .in_use = stats.in_use,
            .committed = stats.committed,
            .objects = ListObjects().size()};
  }

  // Buries those who have died and whom nobody joins, until it is as `wanted`; or for so long that
  // it never will be.
  static Footprint Await(const Footprint& wanted) {
    using Clock = std::chrono::steady_clock;
    for (const Clock::time_point begin = Clock::now();;) {
      Settle();
      Footprint now = Measure();
      if (now == wanted || Clock::now() - begin > HangLimit() / 8) return now;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  friend bool operator==(const Footprint& a, const Footprint& b) {
    const auto all_but_memory = [](const Footprint& size) {
      return std::tuple(size.descriptors, size.server_descriptors, size.processes, size.members,
                        size.slots, size.in_use, size.objects);
    };
    // Processes are dealt out over arenas, each of which takes some memory at its first use.
    constexpr size_t kForArenas = size_t{1} << 20;
    return all_but_memory(a) == all_but_memory(b) && a.committed <= b.committed + kForArenas &&
           b.committed <= a.committed + kForArenas;
  }
  friend std::ostream& operator<<(std::ostream& out, const Footprint& size) {
    return out << size.descriptors << " descriptors, " << size.server_descriptors
               << " of the server; " << size.processes << " processes; " << size.members
               << " members, " << size.slots << " slots; " << size.in_use << " bytes in use, "
               << size.committed << " committed; " << size.objects << " objects";
  }
};

}  // namespace mp::testing

#endif  // MP_TESTS_MP_FOOTPRINT_H_
