// tests/mp/text_pipe.h
//
// TextPipe: what processes say, for the test to read.
//
//   TextPipe said;
//   Process child([&] { said.Say("hello"); });
//   ...
//   EXPECT_EQ(said.ReadAll(), "hello");

#ifndef MP_TESTS_MP_TEXT_PIPE_H_
#define MP_TESTS_MP_TEXT_PIPE_H_

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace mp::testing {

class TextPipe {
 public:
  TextPipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
      std::perror("pipe2");
      std::abort();
    }
    reader_ = ends[0];
    writer_ = ends[1];
  }
  ~TextPipe() {
    close(reader_);
    if (writer_ >= 0) close(writer_);
  }
  TextPipe(const TextPipe&) = delete;
  TextPipe& operator=(const TextPipe&) = delete;

  int reader() const { return reader_; }
  int writer() const { return writer_; }

  void Say(std::string_view text) const {
    if (write(writer_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      std::abort();
    }
  }

  // Whatever this process writes to `fd` from now on is said.
  void Take(int fd) const { dup2(writer_, fd); }

  // Waits for that many bytes; fewer come only when no process is left to say more.
  std::string Read(size_t size) const {
    std::string text(size, '\0');
    size_t got = 0;
    while (got < size) {
      const ssize_t n = read(reader_, text.data() + got, size - got);
      if (n <= 0) break;
      got += static_cast<size_t>(n);
    }
    text.resize(got);
    return text;
  }

  // What is said until no process is left that could say more.
  std::string ReadAll() {
    close(writer_);
    writer_ = -1;
    std::string all;
    for (std::string part = Read(1); !part.empty(); part = Read(1)) all += part;
    return all;
  }

 private:
  int reader_;
  int writer_;
};

}  // namespace mp::testing

#endif  // MP_TESTS_MP_TEXT_PIPE_H_
