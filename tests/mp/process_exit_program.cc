// A program for process_exit_test: what comes at the end of a process, in the order in
// which it comes. Says it on stdout, one word each; the mode is the argument.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "absl/strings/str_cat.h"
#include "mp/or_die.h"
#include "mp/process.h"
#include "mp/process_info.h"

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

// A child that waits until it is told: by the last handler of the process that has it to
// join, which therefore has come to its end.
class Late {
 public:
  Late() {
    if (pipe(ends_) != 0) std::abort();
  }
  void Wait() const {
    char byte;
    if (read(ends_[0], &byte, 1) != 1) std::abort();
    Say("done");
  }
  void Tell() const {
    if (write(ends_[1], ".", 1) != 1) std::abort();
  }

 private:
  int ends_[2];
};

const Late kGrandLate;
const Late kForgottenLate;

void JoinsItsChildren() {
  mp::Process child({.name = "child"}, [] {
    std::atexit([] {
      Say("atexit");
      kGrandLate.Tell();
    });
    mp::Process grand({.name = "grand"}, [] { kGrandLate.Wait(); });
    mp::OrDie(grand.Start());
  });
  mp::OrDie(child.Start());
  {
    mp::Process forgotten({.name = "forgotten"}, [] { kForgottenLate.Wait(); });
    mp::OrDie(forgotten.Start());
  }
  child.Join();
  std::atexit([] {
    Say("atexit");
    kForgottenLate.Tell();
  });
}

// Registered after the first start, it comes before the children are ended; registered
// before, after.
void EndsItsDaemons() {
  std::atexit([] { Say("last"); });
  int said[2];
  if (pipe(said) != 0) std::abort();
  mp::Process polite({.name = "polite", .daemon = true}, [&said] {
    signal(SIGTERM, [](int) {
      constexpr std::string_view kWords = "polite:got-sigterm\n";
      _exit(write(STDOUT_FILENO, kWords.data(), kWords.size()) < 0);
    });
    if (write(said[1], "r", 1) != 1) std::abort();
    for (;;) pause();
  });
  mp::OrDie(polite.Start());
  char ready;
  if (read(said[0], &ready, 1) != 1) std::abort();
  std::atexit([] { Say("first"); });
}

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
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == "returns") Returns();
  if (mode == "exits") Exits();
  if (mode == "exits-in-a-thread") ExitsInAThread();
  if (mode == "throws") Throws();
  if (mode == "forks-by-itself") ForksByItself();
  if (mode == "joins-its-children") JoinsItsChildren();
  if (mode == "ends-its-daemons") EndsItsDaemons();
  if (mode == "leaves-the-children-of-another") LeavesTheChildrenOfAnother();
  return 0;
}
