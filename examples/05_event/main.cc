#include <iostream>
#include <vector>

#include "mp/mp.h"

constexpr int kRunners = 5;

int main() {
  const mp::Event start;
  const mp::Value<int> arrived(0);
  std::vector<mp::Process> runners;
  for (int i = 0; i < kRunners; ++i) {
    runners.emplace_back([=] {
      start.Wait();
      arrived.Update([](int& count) { ++count; });
    });
    mp::OrDie(runners.back().Start());
  }
  std::cout << "before the start: " << (start.IsSet() ? "set" : "not set") << ", " << arrived.Get()
            << " arrived\n";
  runners.front().Kill();  // waiting or not: nobody else notices
  runners.front().Join();
  start.Set();
  for (mp::Process& runner : runners) runner.Join();
  std::cout << "after it: " << (start.IsSet() ? "set" : "not set") << ", " << arrived.Get()
            << " arrived, one was killed\n";
}
