#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>

#include "mp/mp.h"

// The producer's part: lines into the pipe, which ends with it.
void Produce(const mp::Fd& pipe) {
  for (int number = 1; number <= 1000; ++number) {
    mp::OrDie(pipe.WriteAll(std::to_string(number) + "\n"));
  }
}

// The consumer's: bytes as they come, until the end.
void Consume(const mp::Fd& pipe) {
  int lines = 0;
  int sum = 0;
  int number = 0;
  for (auto bytes = pipe.Read(); bytes.ok(); bytes = pipe.Read()) {
    for (const char c : *bytes) {
      if (c != '\n') {
        number = 10 * number + (c - '0');
      } else {
        ++lines;
        sum += std::exchange(number, 0);
      }
    }
  }
  std::cout << "the consumer has got " << lines << " lines, and their sum is " << sum << "\n";
}

// This program once more, with a part, and a descriptor that it has at the same number.
mp::Popen Start(const std::string& part, const mp::Fd& pipe) {
  mp::Popen program({"/proc/self/exe", part, std::to_string(pipe.get())},
                    {.pass_fds = {pipe.get()}});
  mp::OrDie(program.Start());
  return program;
}

int main(int argc, char** argv) {
  if (argc == 3) {
    const mp::Fd pipe(std::atoi(argv[2]));
    std::string_view(argv[1]) == "produce" ? Produce(pipe) : Consume(pipe);
    return 0;
  }
  auto [reading, writing] = mp::OrDie(mp::OsPipe());
  const mp::Popen producer = Start("produce", writing);
  const mp::Popen consumer = Start("consume", reading);
  reading.Close();  // or the producer would not learn that nobody reads,
  writing.Close();  // and the consumer would wait for this process
  const int produced = producer.Wait();
  const int consumed = consumer.Wait();
  std::cout << "the producer has returned " << produced << ", and the consumer " << consumed
            << "\n";

  mp::Popen missing({"no_such_program"});
  if (!missing.Start().ok()) std::cout << "and what does not exist does not start\n";
}
