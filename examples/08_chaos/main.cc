#include <iostream>
#include <random>
#include <vector>

#include "mp/mp.h"

constexpr int kWorkers = 4;
constexpr int kKills = 100;
constexpr int kJobs = 20'000;

// What a job does, it may do once more when a worker is killed before Finish(): so it writes where
// nobody else does, and the same each time.
void Work(const mp::JoinableQueue<int>& jobs, const mp::RawArray<int>& results) {
  for (auto job = jobs.Lease(); job.ok(); job = jobs.Lease()) {
    results[**job] = **job * 2;
    job->Finish();
  }
}

int main() {
  const mp::JoinableQueue<int> jobs;
  const mp::RawArray<int> results(kJobs);
  auto hire = [=] {
    mp::Process worker([=] { Work(jobs, results); });
    mp::OrDie(worker.Start());
    return worker;
  };
  std::vector<mp::Process> workers;
  for (int i = 0; i < kWorkers; ++i) workers.push_back(hire());

  // While they work, one after the other is killed, wherever it is, and replaced.
  std::mt19937 random(1);
  for (int kill = 0, job = 0; kill < kKills; ++kill) {
    for (; job < kJobs * (kill + 1) / kKills; ++job) mp::OrDie(jobs.Put(job));
    mp::Process& victim = workers[random() % kWorkers];
    victim.Kill();
    victim.Join();
    victim = hire();
  }

  mp::OrDie(jobs.Join());
  jobs.Shutdown();
  for (mp::Process& worker : workers) worker.Join();
  int right = 0;
  for (int job = 0; job < kJobs; ++job) right += results[job] == job * 2;
  std::cout << kKills << " workers were killed\n"
            << right << " of " << kJobs << " jobs are finished, each once\n"
            << jobs.Qsize() << " are left\n";
}
