// Tally: what is known of all files, in memory that the processes share.

#ifndef MP_EXAMPLES_01_WORDCOUNT_TALLY_H_
#define MP_EXAMPLES_01_WORDCOUNT_TALLY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "examples/01_wordcount/words.h"
#include "shared/allocator.h"

namespace wordcount {

// A container in shared memory must have its elements there too: mp::Allocator does that.
template <typename T>
using SharedVector = std::vector<T, mp::Allocator<T>>;
using SharedString = std::basic_string<char, std::char_traits<char>, mp::Allocator<char>>;

// With these the table finds a std::string without making a SharedString of it.
struct WordHash {
  using is_transparent = void;
  size_t operator()(std::string_view word) const { return std::hash<std::string_view>()(word); }
};

struct WordEqual {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const { return a == b; }
};

// Not absl::flat_hash_map: under the address sanitizer that one forbids its free slots, which
// a process can only do for itself, so that what another adds looks like an error.
using SharedTable = std::unordered_map<SharedString, uint64_t, WordHash, WordEqual,
                                       mp::Allocator<std::pair<const SharedString, uint64_t>>>;

// Changed under a lock only. Who dies in the middle of that leaves it in pieces, and nobody
// can say what is in it: then it is built anew, and so are all files counted.
struct Tally {
  void Merge(const FileWords& words) {
    for (const auto& [word, count] : words.counts) {
      auto entry = table.find(word);
      if (entry == table.end()) entry = table.emplace(word, 0).first;
      entry->second += count;
    }
    bytes += words.bytes;
    ++files;
  }

  // `why` names the file.
  void Skip(std::string_view why) { skipped.emplace_back(why); }

  SharedTable table;
  uint64_t bytes = 0;
  size_t files = 0;  // merged
  SharedVector<SharedString> skipped;
};

}  // namespace wordcount

#endif  // MP_EXAMPLES_01_WORDCOUNT_TALLY_H_
