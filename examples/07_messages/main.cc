#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "mp/mp.h"

struct Greeting {
  int number;
  std::optional<std::string> nothing;
  std::string word;
};

std::string TextOf(const Greeting& greeting) {
  return std::to_string(greeting.number) + " " + greeting.nothing.value_or("none") + " " +
         greeting.word;
}

// A child sends its parent a message, and is answered.
void ByPipe() {
  const auto [mine, its] = mp::Pipe();
  mp::Process child([its = its] {
    mp::OrDie(its.Send(Greeting{42, std::nullopt, "hello"}));
    std::cout << mp::OrDie(its.Recv<std::string>()) << "\n";
  });
  mp::OrDie(child.Start());
  its.Close();
  std::cout << TextOf(mp::OrDie(mine.Recv<Greeting>())) << std::endl;
  mp::OrDie(mine.Send("hello yourself"));
  child.Join();
}

// What a child puts its parent gets.
void OneMessage() {
  const mp::Queue<Greeting> queue;
  mp::Process child([=] { mp::OrDie(queue.Put({42, std::nullopt, "hello"})); });
  mp::OrDie(child.Start());
  std::cout << TextOf(mp::OrDie(queue.Get())) << "\n";
  child.Join();
}

// A producer, and a consumer that stops at a value that is none.
void ProducerAndConsumer() {
  const mp::Queue<std::optional<int>> queue(3);  // the producer is three ahead at most
  mp::Process consumer([=] {
    int sum = 0;
    while (const std::optional<int> number = mp::OrDie(queue.Get())) sum += *number;
    std::cout << "the sum is " << sum << "\n";
  });
  mp::OrDie(consumer.Start());
  for (int number = 1; number <= 100; ++number) mp::OrDie(queue.Put(number));
  mp::OrDie(queue.Put(std::nullopt));
  consumer.Join();
}

// Workers that say what they have done with, and one who waits until that is all.
void TasksDone() {
  const mp::JoinableQueue<std::string> tasks;
  const mp::Value<size_t> letters(0);
  std::vector<mp::Process> workers;
  for (int i = 0; i < 3; ++i) {
    workers.emplace_back([=] {
      for (auto task = tasks.Get(); task.ok(); task = tasks.Get()) {
        letters.Update([&](size_t& n) { n += task->size(); });
        tasks.TaskDone();
      }
    });
    mp::OrDie(workers.back().Start());
  }
  for (const char* task : {"read", "write", "print", "send", "sleep"}) mp::OrDie(tasks.Put(task));
  mp::OrDie(tasks.Join());
  std::cout << "all tasks done: " << letters.Get() << " letters\n";
  tasks.Shutdown();
  for (mp::Process& worker : workers) worker.Join();
}

int main() {
  ByPipe();
  OneMessage();
  ProducerAndConsumer();
  TasksDone();
}
