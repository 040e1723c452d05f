// Tells what it was started with.
//
//   descriptors   the numbers that are open, and for each whether its file can be written to
//   signals       which are blocked, and which ignored
//   place         its working directory, session leader or not, leader of a process group or not

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

namespace {

// The sanitizers' runtime has none of its own.
void TellDescriptors() {
  std::set<int> open_ones;
  DIR* const folder = opendir("/proc/self/fd");
  while (const dirent* const entry = readdir(folder)) {
    if (entry->d_name[0] != '.') open_ones.insert(std::atoi(entry->d_name));
  }
  open_ones.erase(dirfd(folder));
  closedir(folder);
  std::string line;
  for (const int fd : open_ones) {
    line += std::to_string(fd);
    line += (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY ? "r " : "w ";
  }
  std::puts(line.c_str());
}

void TellSignals() {
  sigset_t blocked;
  sigprocmask(SIG_SETMASK, nullptr, &blocked);
  for (int signal = 1; signal < NSIG; ++signal) {
    if (sigismember(&blocked, signal) == 1) std::printf("blocked %d\n", signal);
    struct sigaction action;
    if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) {
      std::printf("ignored %d\n", signal);
    }
  }
}

void TellPlace() {
  char* const folder = getcwd(nullptr, 0);
  std::puts(folder);
  std::free(folder);
  std::puts(getsid(0) == getpid() ? "session" : "no session");
  std::puts(getpgid(0) == getpid() ? "group" : "no group");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (what == "descriptors") TellDescriptors();
  if (what == "signals") TellSignals();
  if (what == "place") TellPlace();
}
