#include <signal.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mp/mp.h"

namespace {

constexpr int kWorkers = 3;
constexpr int kFirstJobs = 100;

// Until the queue is shut down and nothing is left in it.
void Work(const mp::JoinableQueue<int>& jobs, const mp::Value<int>& done) {
  for (absl::StatusOr<mp::Leased<int>> job; (job = jobs.Lease()).ok();) {
    done.Update([](int& n) { ++n; });
    job->Finish();
  }
}

// One job after another, until it is cancelled: then it says how many there were.
void Produce(const mp::JoinableQueue<int>& jobs, const mp::Cancellation& stop,
             const mp::Queue<int>& made) {
  const mp::CancellationScope scope(stop);
  const mp::Timer timer;
  mp::OrDie(timer.Start(absl::ZeroDuration(), absl::Milliseconds(1)));
  int count = 0;
  for (; count < kFirstJobs || timer.Wait().ok(); ++count) mp::OrDie(jobs.Put(count));
  mp::OrDie(made.Put(count));
}

void Say(const std::string& what) { std::cout << what << std::endl; }

}  // namespace

// `12_service once`: it sends itself SIGTERM when it is up.
int main(int argc, char**) {
  const mp::Cancellation stop;
  const mp::SignalHandlers signals;
  // Ctrl-C is for the service alone: it ends its children when they have nothing to do any more.
  for (const int signal : {SIGTERM, SIGINT}) {
    mp::OrDie(signals.Handle(
        signal,
        [stop](int it) {
          Say(std::string("got ") + (it == SIGTERM ? "SIGTERM" : "SIGINT") + ", shutting down");
          stop.Cancel();
        },
        {.in_children = signal == SIGINT ? mp::InChildren::kIgnore : mp::InChildren::kAsBefore}));
  }

  const mp::JoinableQueue<int> jobs(/*maxsize=*/size_t{2} * kFirstJobs);
  const mp::Value<int> done(0);
  const mp::Queue<int> made;
  std::vector<mp::Process> workers;
  for (int i = 0; i < kWorkers; ++i) {
    workers.emplace_back([=] { Work(jobs, done); });
    mp::OrDie(workers.back().Start());
  }
  mp::Process producer([=] { Produce(jobs, stop, made); });
  mp::OrDie(producer.Start());

  Say("up, with " + std::to_string(kWorkers) + " workers");
  if (argc > 1) mp::OrDie(mp::Kill(getpid(), SIGTERM));
  // Handlers are run here: as ordinary code, they may do anything.
  while (!stop.cancelled()) mp::OrDie(signals.Run());

  producer.Join();
  const int count = mp::OrDie(made.TryGet());
  jobs.Shutdown();
  mp::OrDie(jobs.Join());
  for (mp::Process& worker : workers) worker.Join();
  Say(count >= kFirstJobs && done.Get() == count ? "all jobs are done" : "some jobs are not done");
  return done.Get() == count ? EXIT_SUCCESS : EXIT_FAILURE;
}
