#include <iostream>

#include "mp/mp.h"

void Work(mp::Value<double> num, mp::Array<int> arr) {
  num.Set(3.1415927);
  mp::LockGuard guard(arr);
  for (int& x : arr) x = -x;
}

int main() {
  mp::Value<double> num(0.0);
  mp::Array<int> arr({0, 1, 2, 3, 4, 5, 6, 7, 8, 9});

  mp::Process p(Work, num, arr);
  mp::OrDie(p.Start());
  p.Join();

  std::cout.precision(8);
  std::cout << num.Get() << '\n';
  for (int x : arr) std::cout << x << ' ';
  std::cout << '\n';
}
