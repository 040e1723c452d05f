#include <cstddef>
#include <iostream>
#include <vector>

#include "mp/mp.h"

constexpr size_t kWorkers = 4;
constexpr size_t kCells = 20;  // of each
constexpr int kSteps = 200;

// A rod that is held at 100 degrees at one end: each step needs what the neighbours had before.
void Heat(const mp::RawArray<double>& now) {
  const mp::RawArray<double> next(now.size());
  const mp::Barrier computed(kWorkers, {.action = [=] {
                               for (size_t i = 1; i + 1 < now.size(); ++i) now[i] = next[i];
                             }});
  std::vector<mp::Process> workers;
  for (size_t worker = 0; worker < kWorkers; ++worker) {
    workers.emplace_back([=] {
      for (int step = 0; step < kSteps; ++step) {
        for (size_t i = worker * kCells; i < (worker + 1) * kCells; ++i) {
          if (i > 0 && i + 1 < now.size()) next[i] = (now[i - 1] + now[i] + now[i + 1]) / 3;
        }
        mp::OrDie(computed.Wait());
      }
    });
    mp::OrDie(workers.back().Start());
  }
  for (mp::Process& worker : workers) worker.Join();
}

int main() {
  const mp::RawArray<double> rod(kWorkers * kCells);
  rod[0] = 100;
  Heat(rod);
  std::cout << "after " << kSteps << " steps: " << rod[1] << ", " << rod[kCells] << ", "
            << rod[2 * kCells] << " degrees\n";

  // One of three comes, waits, and is killed.
  const mp::Barrier meeting(3);
  const mp::Value<int> told(0);
  mp::Process waits([=] { told.Set(absl::IsAborted(meeting.Wait().status()) ? 1 : 0); });
  mp::Process dies([=] { static_cast<void>(meeting.Wait()); });
  mp::OrDie(waits.Start());
  mp::OrDie(dies.Start());
  while (meeting.NWaiting() < 2) {
  }
  dies.Kill();
  dies.Join();
  waits.Join();
  std::cout << "one of three died: " << (meeting.Broken() ? "broken" : "whole") << ", "
            << told.Get() << " told\n";
}
