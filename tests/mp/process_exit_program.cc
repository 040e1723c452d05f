// A program for process_exit_test: what comes at the end of a process, in the order in
// which it comes. Says it on stdout, one word each; the arguments are the mode, and how its
// processes are started.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "mp/fd.h"
#include "mp/init.h"
#include "mp/or_die.h"
#include "mp/os_pipe.h"
#include "mp/process.h"
#include "mp/process_info.h"
#include "mp/start_method.h"

namespace {

// One write(2): nothing of it depends on who flushes what.
void Say(std::string_view word) {
  const std::string line = absl::StrCat(mp::CurrentProcess().name(), ":", word, "\n");
  if (write(STDOUT_FILENO, line.data(), line.size()) < 0) std::abort();
}

struct Spoken {
  explicit Spoken(const char* word) : word(word) {}
  ~Spoken() { Say(word); }
  const char* word;
};

const Spoken kSpokenGlobal("global");

// Something that ends with the parent of a child, and something with the child itself.
void RegisterInParent() {
  static const Spoken spoken("parent-static");
  std::atexit([] { Say("parent-atexit"); });
}

void RegisterInChild() {
  static const Spoken spoken("child-static");
  std::atexit([] { Say("child-atexit-1"); });
  std::atexit([] { Say("child-atexit-2"); });
  on_exit([](int status, void*) { Say(absl::StrCat("child-on_exit-", status)); }, nullptr);
}

void RunChild(void (*target)()) {
  RegisterInParent();
  mp::Process child({.name = "child"}, target);
  mp::OrDie(child.Start());
  child.Join();
  Say(absl::StrCat("code-", *child.exitcode()));
}

void Returns() {
  RunChild([] { RegisterInChild(); });
}

void Exits() {
  RunChild([] {
    RegisterInChild();
    std::exit(3);
  });
}

void ExitsInAThread() {
  RunChild([] {
    RegisterInChild();
    std::thread([] { std::exit(4); }).join();
  });
}

void Throws() {
  RunChild([] {
    RegisterInChild();
    throw 1;
  });
}

// A fork of the program's own, in a child: also there nothing of the parent's runs.
void ForksByItself() {
  RunChild([] {
    const pid_t pid = fork();
    if (pid == 0) std::exit(0);
    siginfo_t info;
    waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED);
    Say(absl::StrCat("own-fork-", info.si_status));
  });
}

// Into a pipe or a file: nothing writes it out but the end of the process.
void WritesItsOutput() {
  RunChild([] {
    std::printf("child:stdio\n");
    std::cout << "child:cout\n";
  });
}

// A child of these waits until it is told: by the last handler of the process that has it to join,
// which therefore has come to its end.
mp::Fd told_by_handler;

void WaitAndSay(const mp::Fd& tells) {
  if (!tells.Read().ok()) std::abort();
  Say("done");
}

void SayAndTell() {
  Say("atexit");
  mp::OrDie(told_by_handler.WriteAll("."));
}

void JoinsItsChildren() {
  mp::Process child({.name = "child"}, [] {
    auto [reading, writing] = mp::OrDie(mp::OsPipe());
    told_by_handler = std::move(writing);
    std::atexit(&SayAndTell);
    mp::Process grand({.name = "grand"}, &WaitAndSay, std::move(reading));
    mp::OrDie(grand.Start());
  });
  mp::OrDie(child.Start());
  auto [reading, writing] = mp::OrDie(mp::OsPipe());
  {
    mp::Process forgotten({.name = "forgotten"}, &WaitAndSay, std::move(reading));
    mp::OrDie(forgotten.Start());
  }
  child.Join();
  told_by_handler = std::move(writing);
  std::atexit(&SayAndTell);
}

// Registered after the first start, it comes before the children are ended; registered
// before, after.
void EndDaemon() {
  std::atexit([] { Say("last"); });
  auto [reading, writing] = mp::OrDie(mp::OsPipe());
  mp::Process polite(
      {.name = "polite", .daemon = true},
      [](const mp::Fd& ready) {
        signal(SIGTERM, [](int) {
          constexpr std::string_view kWords = "polite:got-sigterm\n";
          _exit(write(STDOUT_FILENO, kWords.data(), kWords.size()) < 0);
        });
        mp::OrDie(ready.WriteAll("r"));
        for (;;) pause();
      },
      std::move(writing));
  mp::OrDie(polite.Start());
  mp::OrDie(reading.Read());
  std::atexit([] { Say("first"); });
}

void EndsItsDaemons() { EndDaemon(); }

// The same at the end of a child.
void AChildEndsItsDaemons() { RunChild(&EndDaemon); }

// A fork of the program's own that exits has none of the program's children to end.
void LeavesTheChildrenOfAnother() {
  mp::Process child({.name = "child", .daemon = true}, [] {
    for (;;) pause();
  });
  mp::OrDie(child.Start());
  const pid_t pid = fork();
  if (pid == 0) {
    mp::Process own({.name = "own"}, [] { Say("ran"); });
    mp::OrDie(own.Start());
    std::exit(0);
  }
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED);
  Say(child.IsAlive() ? "child-lives" : "child-died");
}

}  // namespace

int main(int argc, char** argv) {
  mp::Init(&argc, &argv);
  const std::string_view mode = argc > 1 ? argv[1] : "";
  const std::string_view method = argc > 2 ? argv[2] : "";
  if (method == "Spawn") mp::SetStartMethod(mp::StartMethod::kSpawn);
  if (method == "Forkserver") mp::SetStartMethod(mp::StartMethod::kForkserver);
  if (mode == "returns") Returns();
  if (mode == "exits") Exits();
  if (mode == "exits-in-a-thread") ExitsInAThread();
  if (mode == "throws") Throws();
  if (mode == "forks-by-itself") ForksByItself();
  if (mode == "writes-its-output") WritesItsOutput();
  if (mode == "joins-its-children") JoinsItsChildren();
  if (mode == "ends-its-daemons") EndsItsDaemons();
  if (mode == "a-child-ends-its-daemons") AChildEndsItsDaemons();
  if (mode == "leaves-the-children-of-another") LeavesTheChildrenOfAnother();
  return 0;
}
