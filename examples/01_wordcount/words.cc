#include "examples/01_wordcount/words.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"

namespace wordcount {
namespace {

constexpr size_t kPieceSize = 64 << 10;
constexpr size_t kLookForNul = 8 << 10;

// What stands for a byte in a word; 0: it is not part of one.
constexpr std::array<char, 256> kInWord = [] {
  std::array<char, 256> in_word = {};
  for (char c = '0'; c <= '9'; ++c) in_word[c] = c;
  for (char c = 'a'; c <= 'z'; ++c) in_word[c] = c;
  for (char c = 'A'; c <= 'Z'; ++c) in_word[c] = c - 'A' + 'a';
  in_word['\''] = '\'';
  return in_word;
}();

// Fewer bytes than asked for only at the end of the file; -1 is an error, in errno.
ssize_t ReadFull(int fd, char* buffer, size_t size) {
  size_t have = 0;
  while (have < size) {
    const ssize_t n = read(fd, buffer + have, size - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    if (n == 0) break;
    have += n;
  }
  return have;
}

}  // namespace

void WordCounter::Add(std::string_view piece) {
  for (const char byte : piece) {
    if (const char c = kInWord[static_cast<unsigned char>(byte)]; c != 0) {
      word_ += c;
    } else if (!word_.empty()) {
      EndWord();
    }
  }
}

WordCounts WordCounter::Finish() && {
  if (!word_.empty()) EndWord();
  return std::move(counts_);
}

void WordCounter::EndWord() {
  ++counts_[word_];
  word_.clear();
}

absl::StatusOr<FileWords> CountFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, "cannot be opened");
  const auto close_it = absl::MakeCleanup([fd] { close(fd); });

  FileWords words;
  WordCounter counter;
  std::vector<char> piece(kPieceSize);
  for (;;) {
    const ssize_t size = ReadFull(fd, piece.data(), piece.size());
    if (size < 0) return absl::ErrnoToStatus(errno, "cannot be read");
    const bool first = words.bytes == 0;
    if (first && std::memchr(piece.data(), 0, std::min<size_t>(size, kLookForNul)) != nullptr) {
      return absl::InvalidArgumentError("a binary file");
    }
    counter.Add({piece.data(), static_cast<size_t>(size)});
    words.bytes += size;
    if (static_cast<size_t>(size) < piece.size()) break;
  }
  words.counts = std::move(counter).Finish();
  return words;
}

void Tally::Add(const Tally& more) {
  for (const auto& [word, count] : more.words.counts) words.counts[word] += count;
  words.bytes += more.words.bytes;
  files += more.files;
  skipped.insert(skipped.end(), more.skipped.begin(), more.skipped.end());
}

void KeepTop(std::vector<WordAndCount>& words, size_t top) {
  if (top == 0 || top > words.size()) top = words.size();
  std::partial_sort(words.begin(), words.begin() + top, words.end(),
                    [](const WordAndCount& a, const WordAndCount& b) {
                      return a.second != b.second ? a.second > b.second : a.first < b.first;
                    });
  words.resize(top);
}

}  // namespace wordcount
