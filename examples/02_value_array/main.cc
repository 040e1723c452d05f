#include <iostream>
#include <ranges>

#include "mp/mp.h"

void Work(mp::Value<double> num, mp::Array<int> arr) {
  num.Set(3.1415927);
  mp::LockGuard guard(arr);
  for (int& x : arr) x = -x;
}

int main() {
  mp::Value<double> num(0.0);
  mp::Array<int> arr(std::views::iota(0, 10));

  mp::Process p(Work, num, arr);
  mp::OrDie(p.Start());
  p.Join();

  std::cout.precision(8);
  std::cout << num.Get() << '\n';
  for (int x : arr) std::cout << x << ' ';
  std::cout << '\n';
}
