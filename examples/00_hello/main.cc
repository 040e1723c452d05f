#include <signal.h>

#include <iostream>
#include <vector>

#include "mp/mp.h"

int main() {
  mp::Lock lock;
  mp::RawValue<int> done(0);
  std::vector<mp::Process> workers;
  for (int i = 0; i < 4; ++i) {
    workers.emplace_back([=] {
      mp::LockGuard guard(lock);
      if (i == 1) raise(SIGKILL);  // dies with the lock in its hands
      *done += 1;
    });
    mp::OrDie(workers.back().Start());
  }
  for (mp::Process& worker : workers) worker.Join();
  std::cout << *done << " of 4 workers are done; nobody hangs\n";
}
