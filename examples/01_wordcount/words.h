// Words: what a word is, and the words of one file, or of many.
//
// A word is a run of ASCII letters, digits and apostrophes, taken in lower case. Every
// other byte separates words, also those of a UTF-8 character: the same as
//
//   LC_ALL=C tr A-Z a-z | LC_ALL=C tr -cs "a-z0-9'" '\n'

#ifndef MP_EXAMPLES_01_WORDCOUNT_WORDS_H_
#define MP_EXAMPLES_01_WORDCOUNT_WORDS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

namespace wordcount {

using WordCounts = absl::flat_hash_map<std::string, uint64_t>;

// Counts text that comes in pieces, which may end in the middle of a word.
class WordCounter {
 public:
  void Add(std::string_view piece);
  // No more pieces: the last word ends here.
  WordCounts Finish() &&;

 private:
  void EndWord();

  WordCounts counts_;
  std::string word_;  // what has come of the present word
};

struct FileWords {
  WordCounts counts;
  uint64_t bytes = 0;
};

// Reads piece by piece: memory is needed for the different words, not for the file.
// A NUL byte in the first 8 KiB tells a binary file: kInvalidArgument.
absl::StatusOr<FileWords> CountFile(const std::string& path);

// What is known of some files.
struct Tally {
  void Add(const Tally& more);

  FileWords words = {};
  size_t files = 0;                       // that are in it
  std::vector<std::string> skipped = {};  // "path: why"
};

using WordAndCount = std::pair<std::string_view, uint64_t>;

// Leaves the `top` most frequent words, or all for 0: by count, then by word.
void KeepTop(std::vector<WordAndCount>& words, size_t top);

}  // namespace wordcount

#endif  // MP_EXAMPLES_01_WORDCOUNT_WORDS_H_
