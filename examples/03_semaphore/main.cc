#include <signal.h>

#include <iostream>
#include <sstream>
#include <vector>

#include "mp/mp.h"

constexpr int kWorkers = 10;
constexpr int kSeats = 3;

// Who is in it, for all to see.
struct Pool {
  mp::RawArray<bool> active = mp::RawArray<bool>(kWorkers);
  mp::RawValue<int> most = mp::RawValue<int>(0);
  mp::Lock lock;

  void Change(int worker, bool is_in) const {
    mp::LockGuard guard(lock);
    active[worker] = is_in;
    if (!is_in) return;
    std::ostringstream line;
    int count = 0;
    for (int i = 0; i < kWorkers; ++i) {
      if (!active[i]) continue;
      line << ' ' << i;
      ++count;
    }
    if (count > *most) *most = count;
    std::cout << "now running:" + line.str() + "\n" << std::flush;
  }
};

int main() {
  const Pool pool;
  const mp::Semaphore seats(kSeats);
  std::vector<mp::Process> workers;
  for (int i = 0; i < kWorkers; ++i) {
    workers.emplace_back([=] {
      const mp::Permit permit = seats.AcquirePermit();  // waits while all seats are taken
      pool.Change(i, true);
      pool.Change(i, false);
      if (i % 4 == 0) raise(SIGKILL);  // dies in its seat, which is free again all the same
    });
    mp::OrDie(workers.back().Start());
  }
  for (mp::Process& worker : workers) worker.Join();
  std::cout << "never more than " << kSeats << ": " << (*pool.most <= kSeats ? "yes" : "no")
            << "; free seats: " << seats.GetValue() << "\n";
}
