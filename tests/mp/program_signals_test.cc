// What programs that are started have of the signals that are handled here; and handlers that were
// moved away.

#include <gtest/gtest.h>
#include <signal.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "mp/or_die.h"
#include "mp/popen.h"
#include "mp/signals.h"

namespace mp {
namespace {

// What a program tells that is started.
std::string Told(bool restore_signals) {
  Popen program({"tests/mp/started_program", "signals"},
                {.stdout = Stdio::Pipe(), .restore_signals = restore_signals});
  OrDie(program.Start());
  return OrDie(program.Communicate()).out;
}

TEST(ProgramSignalsTest, AProgramIgnoresWhatItsStarterSays) {
  const SignalHandlers signals;
  OrDie(signals.Handle(SIGINT, [](int) {}, {.in_children = InChildren::kIgnore}));
  OrDie(signals.Handle(SIGQUIT, [](int) {}, {.in_children = InChildren::kDefault}));
  OrDie(signals.Handle(SIGTERM, [](int) {}));
  EXPECT_EQ(Told(true), "ignored 2\n");
  EXPECT_EQ(Told(false), "ignored 2\n");
  // What the program ignores by itself, it keeps if that is asked for.
  auto* const before = signal(SIGHUP, SIG_IGN);
  EXPECT_EQ(Told(true), "ignored 2\n");
  EXPECT_EQ(Told(false), "ignored 1\nignored 2\n");
  signal(SIGHUP, before);
  OrDie(signals.Restore(SIGINT));
  EXPECT_EQ(Told(true), "");
  EXPECT_EQ(Told(false), "");
}

TEST(MovedSignalHandlersTest, AreInert) {
  SignalHandlers first;
  int ran = 0;
  OrDie(first.Handle(SIGUSR1, [&](int) { ++ran; }));
  SignalHandlers second = std::move(first);
  // NOLINTBEGIN(bugprone-use-after-move,hicpp-invalid-access-moved)
  EXPECT_LT(first.fileno(), 0);
  EXPECT_EQ(first.RunPending(), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(first.Handle(SIGUSR2, [](int) {})));
  EXPECT_TRUE(absl::IsFailedPrecondition(first.Restore(SIGUSR1)));
  EXPECT_TRUE(absl::IsFailedPrecondition(first.Run(absl::ZeroDuration())));
  EXPECT_TRUE(absl::IsFailedPrecondition(first.Start()));
  raise(SIGUSR1);
  EXPECT_EQ(second.RunPending(), 1);
  first = std::move(second);
  raise(SIGUSR1);
  EXPECT_EQ(first.RunPending(), 1);
  // NOLINTEND(bugprone-use-after-move,hicpp-invalid-access-moved)
  EXPECT_EQ(ran, 2);
}

}  // namespace
}  // namespace mp
