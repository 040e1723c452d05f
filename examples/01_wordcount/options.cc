#include "examples/01_wordcount/options.h"

#include <cstdio>
#include <cstdlib>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "mp/cpu_count.h"

// Texts, so that a bad number ends as we want it to.
ABSL_FLAG(std::string, workers, absl::StrCat(mp::UsableCpuCount()),
          "how many processes count; by default as many as can run at once");
ABSL_FLAG(std::string, top, "10", "how many words to print; 0: all");
ABSL_FLAG(std::string, kill, "0", "how many workers to kill, and replace, while they count");

namespace wordcount {
namespace {

size_t NumberOrDie(const char* flag, const std::string& text, int least) {
  int number;
  if (absl::SimpleAtoi(text, &number) && number >= least) return number;
  std::fprintf(stderr, "wordcount: --%s=%s: must be a whole number, %d or more\n", flag,
               text.c_str(), least);
  std::exit(2);
}

}  // namespace

Options ParseOptions(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "counts the words of files and of folders.\n\n"
      "  01_wordcount [--workers=N] [--top=N] [--kill=N] [path...]");
  absl::FlagsUsageConfig config;
  config.contains_help_flags = [](absl::string_view file) {
    return absl::EndsWith(file, "01_wordcount/options.cc");
  };
  absl::SetFlagsUsageConfig(config);

  const std::vector<char*> words = absl::ParseCommandLine(argc, argv);
  return {.workers = NumberOrDie("workers", absl::GetFlag(FLAGS_workers), 1),
          .top = NumberOrDie("top", absl::GetFlag(FLAGS_top), 0),
          .kill = NumberOrDie("kill", absl::GetFlag(FLAGS_kill), 0),
          .paths = {words.begin() + 1, words.end()}};
}

}  // namespace wordcount
