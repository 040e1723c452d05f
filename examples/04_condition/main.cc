#include <iostream>
#include <vector>

#include "mp/mp.h"

constexpr int kRoom = 4;
constexpr int kConsumers = 3;
constexpr int kItems = 1000;

// A buffer of a few items: who finds it empty, or full, waits until another says that it may no
// longer be.
struct Buffer {
  mp::RLock lock;
  mp::Condition has_items = mp::Condition(lock);
  mp::Condition has_room = mp::Condition(lock);
  mp::RawArray<int> items = mp::RawArray<int>(kRoom);
  mp::RawValue<int> put = mp::RawValue<int>(0);
  mp::RawValue<int> got = mp::RawValue<int>(0);

  void Put(int item) const {
    mp::LockGuard guard(lock);
    has_room.WaitFor([&] { return *put - *got < kRoom; });
    items[*put % kRoom] = item;
    ++*put;
    has_items.Notify();
  }
  int Get() const {
    mp::LockGuard guard(lock);
    has_items.WaitFor([&] { return *put > *got; });
    const int item = items[*got % kRoom];
    ++*got;
    has_room.Notify();
    return item;
  }
};

int main() {
  const Buffer buffer;
  const mp::Value<long> sum(0);
  std::vector<mp::Process> consumers;
  for (int i = 0; i < kConsumers; ++i) {
    consumers.emplace_back([=] {
      for (int item; (item = buffer.Get()) != 0;) {
        sum.Update([item](long& total) { total += item; });
      }
    });
    mp::OrDie(consumers.back().Start());
  }
  for (int item = 1; item <= kItems; ++item) buffer.Put(item);
  for (int i = 0; i < kConsumers; ++i) buffer.Put(0);  // no more
  for (mp::Process& consumer : consumers) consumer.Join();
  std::cout << "the sum of 1 to " << kItems << " is " << sum.Get() << "\n";
}
