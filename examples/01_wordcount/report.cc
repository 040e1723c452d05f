#include "examples/01_wordcount/report.h"

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "examples/01_wordcount/words.h"

namespace wordcount {
namespace {

void PrintSkipped(std::vector<std::string> skipped) {
  std::sort(skipped.begin(), skipped.end());
  for (const std::string& file : skipped) {
    std::fprintf(stderr, "wordcount: skipped %s\n", file.c_str());
  }
}

void PrintWords(std::vector<WordAndCount> words, size_t top) {
  KeepTop(words, top);
  for (const auto& [word, count] : words) {
    std::printf("%7" PRIu64 " ", count);
    std::fwrite(word.data(), 1, word.size(), stdout);
    std::putchar('\n');
  }
  if (!words.empty()) std::putchar('\n');
}

}  // namespace

bool Report(const Tally& tally, size_t top, absl::Duration took) {
  PrintSkipped(tally.skipped);
  if (tally.files == 0) {
    std::fprintf(stderr, "wordcount: there is no file that can be read\n");
    return false;
  }

  const std::vector<WordAndCount> words(tally.words.counts.begin(), tally.words.counts.end());
  uint64_t total = 0;
  for (const auto& [word, count] : words) total += count;
  PrintWords(words, top);
  std::printf("files: %zu  words: %" PRIu64 "  distinct: %zu  bytes: %" PRIu64 "\n", tally.files,
              total, words.size(), tally.words.bytes);
  if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
    std::perror("wordcount: cannot write the result");
    return false;
  }
  if (total == 0) std::fprintf(stderr, "wordcount: there is no word in the input\n");

  const double seconds = absl::ToDoubleSeconds(took);
  std::fprintf(stderr, "wordcount: %.3f s, %.0f files/s\n", seconds, tally.files / seconds);
  return true;
}

}  // namespace wordcount
