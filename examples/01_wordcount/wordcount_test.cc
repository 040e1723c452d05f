// Runs the program, and compares what it prints with what the pipeline of a Unix user says:
// tr | sort | uniq -c.

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Prints what wordcount --top=0 is to print for the files below the folders in "$@" that are
// not called *.skipped. grep ends every file with a newline, and changes nothing else.
constexpr char kPipeline[] = R"sh(
  list() { find -L "$@" -type f ! -name '*.skipped' -print0 2>/dev/null; }
  words=$(mktemp -p "$TMPDIR") counts=$(mktemp -p "$TMPDIR")
  list "$@" | xargs -0r grep -ah '' | tr A-Z a-z | tr -cs "a-z0-9'" '\n' | grep . | sort >"$words"
  uniq -c <"$words" | sort -k1,1nr -k2 >"$counts"
  if [ -s "$counts" ]; then cat "$counts"; echo; fi
  echo "files: $(list "$@" | tr -cd '\0' | wc -c)  words: $(wc -l <"$words") " \
    "distinct: $(wc -l <"$counts")  bytes: $(list "$@" | xargs -0r cat | wc -c)"
  rm "$words" "$counts"
)sh";

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Outcome {
  int status;  // the exit code, or the negative number of the signal
  std::string out;
  std::string err;
};

// A program that runs, its output in files.
class Running {
 public:
  // `terminal`, if there is one, gets its stderr; it is closed here.
  explicit Running(std::vector<std::string> command, int terminal = -1)
      : out_path_(Unique()), err_path_(Unique()) {
    std::vector<char*> argv;
    for (std::string& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    const int out = open(out_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int err = open(err_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (terminal >= 0) close(std::exchange(err, terminal));
    pid_ = fork();
    if (pid_ == 0) {
      dup2(out, STDOUT_FILENO);
      dup2(err, STDERR_FILENO);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(out);
    close(err);
  }

  pid_t pid() const { return pid_; }

  Outcome Wait() const {
    int status = 0;
    waitpid(pid_, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), ReadAll(out_path_),
            ReadAll(err_path_)};
  }

 private:
  static std::string Unique() {
    static int count = 0;
    return absl::StrCat(::testing::TempDir(), "/stream_", ++count);
  }

  std::string out_path_;
  std::string err_path_;
  pid_t pid_;
};

std::vector<std::string> Command(const std::vector<std::string>& args) {
  std::vector<std::string> command = {fs::absolute("examples/01_wordcount/01_wordcount")};
  command.insert(command.end(), args.begin(), args.end());
  return command;
}

Outcome Wordcount(const std::vector<std::string>& args) { return Running(Command(args)).Wait(); }

std::string Pipeline(const std::vector<std::string>& folders) {
  std::vector<std::string> command = {"/bin/sh", "-c", kPipeline, "sh"};
  command.insert(command.end(), folders.begin(), folders.end());
  const Outcome outcome = Running(command).Wait();
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  return outcome.out;
}

// EXPECT_EQ would print megabytes.
void ExpectSame(const std::string& got, const std::string& wanted) {
  if (got == wanted) return;
  const size_t at =
      std::mismatch(got.begin(), got.end(), wanted.begin(), wanted.end()).first - got.begin();
  const size_t from = at < 100 ? 0 : at - 100;
  ADD_FAILURE() << "differ at " << at << ": got ..." << got.substr(from, 200) << "...\nwanted ..."
                << wanted.substr(std::min(from, wanted.size()), 200) << "...";
}

void ExpectAsThePipeline(const std::vector<std::string>& paths) {
  const std::string wanted = Pipeline(paths);
  EXPECT_THAT(wanted, HasSubstr("  words: "));
  for (const char* workers : {"1", "2", "7", "40"}) {
    SCOPED_TRACE(workers);
    std::vector<std::string> args = {"--top=0", absl::StrCat("--workers=", workers)};
    args.insert(args.end(), paths.begin(), paths.end());
    const Outcome outcome = Wordcount(args);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    ExpectSame(outcome.out, wanted);
  }
}

// What was skipped, a line each.
std::vector<std::string> Skipped(const Outcome& outcome) {
  std::vector<std::string> lines;
  for (absl::string_view line : absl::StrSplit(outcome.err, '\n')) {
    if (absl::StartsWith(line, "wordcount: skipped ")) lines.emplace_back(line);
  }
  return lines;
}

// Also that all `kills` are made, and that no process is left.
void ExpectUnchangedByKills(int kills, const std::vector<std::string>& paths) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);  // whoever is left becomes our child
  std::vector<std::string> args = {"--top=0"};
  args.insert(args.end(), paths.begin(), paths.end());
  const Outcome wanted = Wordcount(args);
  EXPECT_EQ(wanted.status, 0) << wanted.err;
  args.push_back(absl::StrCat("--kill=", kills));
  for (const char* workers : {"1", "2", "7"}) {
    SCOPED_TRACE(workers);
    args.push_back(absl::StrCat("--workers=", workers));
    const Outcome outcome = Wordcount(args);
    args.pop_back();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    ExpectSame(outcome.out, wanted.out);
    EXPECT_EQ(Skipped(outcome), Skipped(wanted));
    EXPECT_THAT(outcome.err,
                HasSubstr(absl::StrCat("wordcount: workers killed, and replaced: ", kills, "\n")));
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a process is left";
  }
}

// The project's. Bazel lays data out as links, which is how users see them too.
std::vector<std::string> Documents() {
  std::vector<std::string> documents = {"examples/01_wordcount/README.md"};
  for (const char* path : {"README.md", "docs"}) {
    if (fs::exists(path)) documents.push_back(path);
  }
  return documents;
}

class WordcountTest : public ::testing::Test {
 protected:
  WordcountTest() {
    setenv("LC_ALL", "C", 1);
    setenv("TMPDIR", ::testing::TempDir().c_str(), 1);
    unsetenv("BUILD_WORKING_DIRECTORY");
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~WordcountTest() override { fs::remove_all(root_); }

  std::string Path(const std::string& name) const { return root_ + "/" + name; }
  std::string Write(const std::string& name, std::string_view content) const {
    fs::create_directories(fs::path(Path(name)).parent_path());
    std::ofstream(Path(name), std::ios::binary) << content;
    return Path(name);
  }

  // Text as people write it, of about `size` bytes.
  std::string Text(size_t size) {
    constexpr std::string_view kBetween[] = {" ",  " ",  " ",    ", ",
                                             ". ", "\n", "\r\n", " \xe2\x80\x94 "};
    std::string text;
    while (text.size() < size) {
      // Of 2^16 words the low numbers come most often.
      const uint32_t number = (random_() & 0xffff) >> random_() % 17;
      absl::StrAppend(&text, number % 3 == 0 ? "W" : "w", number, number % 5 == 0 ? "'s" : "",
                      kBetween[random_() % std::size(kBetween)]);
    }
    return text;
  }

  const std::string root_ = ::testing::TempDir() + "/wordcount_test";
  std::mt19937 random_{1};
};

TEST_F(WordcountTest, OddFilesCountAsInThePipeline) {
  Write("empty", "");
  Write("no newline at the end", "one two");
  Write("-crlf", "one\r\nTWO\r\n\r\nthree");
  Write("utf8",
        "na\xc3\xafve caf\xc3\xa9 \xe2\x80\x98quoted\xe2\x80\x99 \xe4\xbd\xa0\xe5\xa5\xbd "
        "d\xc3\xa9j\xc3\xa0");
  Write("apostrophes", "don't 'quoted' ' '' o'clock's Don't");
  Write("numbers", "1 22 3x x4 007 1,000 3.14");
  Write("only separators", " \n\t...\n");
  Write("name\nof two lines", "name");
  Write("long word", std::string(300'000, 'A') + "b one");
  // A word across each border of the pieces in which files are read.
  std::string borders(400'000, '.');
  for (size_t at = 65'536; at < borders.size(); at += 65'536) borders.replace(at - 3, 7, "aCrosS'");
  Write("borders", borders);
  Write("late nul", std::string(9'000, ' ') + std::string("one\0two", 7));
  Write("deep/er/and/deeper/file", "deep");
  fs::create_symlink("utf8", Path("link to a file"));
  fs::create_symlink("deep", Path("link to a folder"));
  fs::create_symlink("..", Path("deep/loop"));
  fs::create_symlink("nowhere", Path("dangling"));
  Write("early nul.skipped", std::string("one\0two", 7));
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);

  ExpectAsThePipeline({root_});
  EXPECT_THAT(Wordcount({root_}).err,
              AllOf(HasSubstr("skipped " + Path("dangling: No such file or directory\n")),
                    HasSubstr("skipped " + Path("deep/loop: a link to a folder that it is in\n")),
                    HasSubstr("skipped " + Path("early nul.skipped: a binary file\n")),
                    HasSubstr("skipped " + Path("pipe: neither a file nor a folder\n"))));
}

TEST_F(WordcountTest, ThousandsOfSmallFilesCountAsInThePipeline) {
  for (int i = 0; i < 2'000; ++i) {
    Write(absl::StrCat("folder", i % 7, "/", i % 31, "/", i), Text(random_() % 2'000));
  }
  ExpectAsThePipeline({root_});
}

TEST_F(WordcountTest, ALargeFileCountsAsInThePipeline) {
  Write("large", Text(8 << 20));
  Write("small", Text(100));
  ExpectAsThePipeline({root_});
}

TEST_F(WordcountTest, TheProjectsDocumentsCountAsInThePipeline) {
  ExpectAsThePipeline(Documents());
}

TEST_F(WordcountTest, KillsChangeNothingForThousandsOfFiles) {
  for (int i = 0; i < 1'000; ++i) Write(absl::StrCat(i % 7, "/", i), Text(random_() % 2'000));
  ExpectUnchangedByKills(20, {root_});
}

TEST_F(WordcountTest, KillsChangeNothingForFilesOfManyWords) {
  // Hardly a word comes twice in a file, so that merging takes as long as counting, and some of
  // the kills, most likely many, hit a worker that merges.
  for (int i = 0; i < 60; ++i) {
    std::string text;
    for (int j = 0; j < 3'000; ++j) absl::StrAppend(&text, "word", random_() % 100'000, " ");
    Write(absl::StrCat(i), text);
  }
  ExpectUnchangedByKills(20, {root_});
}

TEST_F(WordcountTest, KillsChangeNothingForTheProjectsDocuments) {
  ExpectUnchangedByKills(20, Documents());
}

TEST_F(WordcountTest, KillsDoNotRepeatOrLoseWhatIsSkipped) {
  for (int i = 0; i < 600; ++i) {
    Write(absl::StrCat(i), i % 3 == 0 ? std::string("a\0b", 3) : Text(random_() % 2'000));
  }
  for (int i = 0; i < 30; ++i) {
    fs::create_symlink("nowhere", Path(absl::StrCat("dangling", i)));
    chmod(Write(absl::StrCat("unreadable", i), "word").c_str(), 0);  // but for root
  }
  EXPECT_GE(Skipped(Wordcount({root_})).size(), 230u);
  ExpectUnchangedByKills(20, {root_});
}

TEST_F(WordcountTest, ThereMayBeMoreKillsThanFiles) {
  ExpectUnchangedByKills(30, {Write("file", "one two")});
  ExpectUnchangedByKills(30, {Path("file"), Write("other", "two three"), Write("empty", "")});
}

TEST_F(WordcountTest, WithoutFilesNobodyIsKilled) {
  const Outcome outcome = Wordcount({"--kill=3", Path("missing")});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, HasSubstr("workers killed, and replaced: 0\n"));
}

TEST_F(WordcountTest, AFileNamedTwiceCountsTwice) {
  const std::string path = Write("file", "word");
  EXPECT_EQ(Wordcount({path, path}).out,
            "      2 word\n\nfiles: 2  words: 2  distinct: 1  bytes: 8\n");
}

TEST_F(WordcountTest, WithoutPathsItReadsTextsThatAreThere) {
  const std::string licenses = "/usr/share/common-licenses";
  const Outcome outcome = Wordcount({"--top=0"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr(" the\n"));
  if (fs::exists(licenses)) ExpectSame(outcome.out, Pipeline({licenses}));
}

TEST_F(WordcountTest, TopLimitsTheWordsAndNotTheTotals) {
  const std::string path = Write("file", "c b b a a a");
  EXPECT_EQ(Wordcount({"--top=2", path}).out,
            "      3 a\n      2 b\n\nfiles: 1  words: 6  distinct: 3  bytes: 11\n");
}

TEST_F(WordcountTest, RelativePathsAreThoseOfBazelsCaller) {
  Write("file", "word");
  setenv("BUILD_WORKING_DIRECTORY", root_.c_str(), 1);
  const Outcome outcome = Wordcount({"file"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, StartsWith("      1 word\n"));
}

TEST_F(WordcountTest, SaysHowFast) {
  EXPECT_THAT(Wordcount({Write("file", "word")}).err, HasSubstr(" files/s\n"));
}

TEST_F(WordcountTest, BadValuesAreRefused) {
  const std::string path = Write("file", "word");
  for (const char* flag :
       {"--workers=0", "--workers=-1", "--workers=two", "--workers=", "--workers=99999999999",
        "--top=-1", "--top=1.5", "--kill=-1", "--kill=some", "--kill="}) {
    const Outcome outcome = Wordcount({flag, path});
    EXPECT_EQ(outcome.status, 2) << flag;
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, StartsWith(absl::StrCat("wordcount: ", flag, ": must be ")));
  }
}

TEST_F(WordcountTest, NothingToReadIsAnError) {
  constexpr char kNothing[] = "wordcount: there is no file that can be read\n";
  for (const std::string& path : {Path("missing"), root_}) {
    const Outcome outcome = Wordcount({path});
    EXPECT_EQ(outcome.status, 1);
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, HasSubstr(kNothing));
  }
  const std::string binary = Write("binary", std::string_view("\0", 1));
  const Outcome outcome = Wordcount({binary});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err,
            absl::StrCat("wordcount: skipped ", binary, ": a binary file\n", kNothing));
}

TEST_F(WordcountTest, WhatIsMissingIsNamedAndTheRestIsCounted) {
  const Outcome outcome = Wordcount({Path("missing"), Write("file", "word")});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.out, StartsWith("      1 word\n"));
  EXPECT_THAT(outcome.err, HasSubstr("skipped " + Path("missing: No such file or directory\n")));
}

TEST_F(WordcountTest, UnreadableFilesAndFoldersAreNamedAndTheRestIsCounted) {
  if (geteuid() == 0) GTEST_SKIP() << "root reads everything";
  Write("file", "word");
  chmod(Write("unreadable", "word").c_str(), 0);
  Write("closed/file", "word");
  chmod(Path("closed").c_str(), 0);
  const Outcome outcome = Wordcount({root_});
  chmod(Path("closed").c_str(), 0700);
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.out, StartsWith("      1 word\n"));
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("skipped " + Path("closed: Permission denied\n")),
                                 HasSubstr("skipped " + Path("unreadable: cannot be opened: "))));
}

TEST_F(WordcountTest, AnInputWithoutWordsIsNamed) {
  const Outcome outcome = Wordcount({Write("empty", "")});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, "files: 1  words: 0  distinct: 0  bytes: 0\n");
  EXPECT_THAT(outcome.err, HasSubstr("wordcount: there is no word in the input\n"));
}

TEST_F(WordcountTest, AFullDiskIsAnError) {
  const Outcome outcome = Running({"/bin/sh", "-c", "exec \"$0\" \"$1\" >/dev/full", Command({})[0],
                                   Write("file", "word")})
                              .Wait();
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("cannot write the result: No space left on device\n"));
}

TEST_F(WordcountTest, ATerminalGetsAProgressBar) {
  int ours = -1, its = -1;
  ASSERT_EQ(openpty(&ours, &its, nullptr, nullptr, nullptr), 0);
  const Running running(Command({Write("file", "word")}), its);
  std::string seen;
  char buffer[1024];
  for (ssize_t n; (n = read(ours, buffer, sizeof(buffer))) > 0;) seen.append(buffer, n);
  const Outcome outcome = running.Wait();
  close(ours);
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(seen, StartsWith("\r[                              ]   0% 0/1 files"));
  EXPECT_THAT(seen, HasSubstr("\r\x1b[Kwordcount: "));  // gone before the last words
  EXPECT_THAT(outcome.out, StartsWith("      1 word\n"));
}

TEST_F(WordcountTest, APipeGetsNoProgressBar) {
  EXPECT_THAT(Wordcount({Write("file", "word")}).err,
              AllOf(Not(HasSubstr("\r")), Not(HasSubstr("["))));
}

// While we have a lease on a file, who opens it waits, and we are told.
class LeasedFile {
 public:
  explicit LeasedFile(const std::string& path)
      : fd_(open(path.c_str(), O_WRONLY | O_CLOEXEC)),
        leased_(fcntl(fd_, F_SETLEASE, F_WRLCK) == 0) {}
  ~LeasedFile() { Release(); }

  bool leased() const { return leased_; }
  // Somebody opens it.
  static bool IsAwaited() {
    const sigset_t told = Told();
    const timespec patience = {.tv_sec = 30, .tv_nsec = 0};
    return sigtimedwait(&told, nullptr, &patience) == SIGIO;
  }
  // Anew, when who awaited it is gone: whoever opens it next is told of, too.
  void Renew() const {
    fcntl(fd_, F_SETLEASE, F_UNLCK);
    while (fcntl(fd_, F_SETLEASE, F_WRLCK) != 0) usleep(100);
  }
  void Release() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  // Of this process, from now on.
  static void BlockSignal() {
    const sigset_t told = Told();
    sigprocmask(SIG_BLOCK, &told, nullptr);
  }

 private:
  static sigset_t Told() {
    sigset_t told;
    sigemptyset(&told);
    sigaddset(&told, SIGIO);
    return told;
  }

  int fd_;
  const bool leased_;
};

// By whichever thread they were started.
std::vector<pid_t> ChildrenOf(pid_t pid) {
  std::vector<pid_t> children;
  std::error_code error;
  for (const auto& task : fs::directory_iterator(absl::StrCat("/proc/", pid, "/task"), error)) {
    std::ifstream file(task.path() / "children");
    for (pid_t child; file >> child;) children.push_back(child);
  }
  return children;
}

TEST_F(WordcountTest, AWorkerThatSomebodyElseKillsChangesNothing) {
  const std::string path = Write("file", "word");
  const std::string other = Write("other", "word");
  LeasedFile::BlockSignal();
  // With --kill=1 the first of two files has to be done before the parent kills.
  for (const std::vector<std::string>& args :
       {std::vector<std::string>{other, path}, {"--kill=1", path, other}}) {
    LeasedFile lease(path);
    if (!lease.leased()) GTEST_SKIP() << "no leases in this file system";
    std::vector<std::string> command = Command(args);
    command.push_back("--workers=1");
    const Running running(command);
    ASSERT_TRUE(LeasedFile::IsAwaited());
    const std::vector<pid_t> workers = ChildrenOf(running.pid());
    ASSERT_EQ(workers.size(), 1u);
    kill(workers[0], SIGKILL);
    lease.Release();
    const Outcome outcome = running.Wait();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.out, "      2 word\n\nfiles: 2  words: 2  distinct: 1  bytes: 8\n");
  }
}

TEST_F(WordcountTest, WorkersThatSomebodyElseKillsAgainAndAgainMeanNoResult) {
  const std::string path = Write("file", "word");
  LeasedFile::BlockSignal();
  LeasedFile lease(path);
  if (!lease.leased()) GTEST_SKIP() << "no leases in this file system";
  const Running running(Command({"--workers=1", Write("other", "word"), path}));
  for (int attempt = 0; attempt < 4; ++attempt) {
    ASSERT_TRUE(LeasedFile::IsAwaited());
    // Nobody comes while it is renewed.
    kill(running.pid(), SIGSTOP);
    siginfo_t stopped;
    waitid(P_PID, running.pid(), &stopped, WSTOPPED);
    for (const pid_t worker : ChildrenOf(running.pid())) kill(worker, SIGKILL);
    lease.Renew();
    kill(running.pid(), SIGCONT);
  }
  const Outcome outcome = running.Wait();
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("killed by signal 9 "), HasSubstr("no result")));
}

}  // namespace
