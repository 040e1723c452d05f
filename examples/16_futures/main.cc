#include <iostream>
#include <vector>

#include "absl/time/time.h"
#include "mp/mp.h"

namespace {

int Fibonacci(int n) { return n < 2 ? n : Fibonacci(n - 1) + Fibonacci(n - 2); }

int OnceSet(const mp::Event& event, int n) {
  event.Wait();
  return Fibonacci(n);
}

}  // namespace

int main() {
  mp::ProcessPoolExecutor executor(2);

  // As they are done, whatever the order in which they were asked for.
  const mp::Event event;
  std::vector<mp::Future<int>> futures = {executor.Submit(&OnceSet, event, 20)};
  for (const int n : {5, 10}) futures.push_back(executor.Submit(&Fibonacci, n));
  for (const mp::Future<int>& done : mp::AsCompleted(futures)) {
    std::cout << "done: " << mp::OrDie(done.Get()) << "\n";
    if (mp::OrDie(done.Get()) == Fibonacci(10)) event.Set();
  }

  // Until the first of them, or a time.
  const mp::Event never;
  futures = {executor.Submit(&OnceSet, never, 1), executor.Submit(&Fibonacci, 15)};
  mp::WaitedFutures waited =
      mp::WaitFutures(futures, absl::InfiniteDuration(), mp::ReturnWhen::kFirstCompleted);
  std::cout << "the first: " << waited.done.front() << "\n";
  waited = mp::WaitFutures(futures, absl::Milliseconds(10));
  std::cout << "after 10 ms: " << waited.done.size() << " done, " << waited.not_done.size()
            << " not\n";
  never.Set();

  // A callback, in the thread that finds it done.
  const mp::Event told;
  const mp::Future<int> future = executor.Submit(&Fibonacci, 25);
  future.AddDoneCallback([=](const mp::Future<int>& done) {
    std::cout << "called with " << mp::OrDie(done.Get()) << "\n";
    told.Set();
  });
  told.Wait();
}
