#include "mp/internal/flush.h"

#include <stdio.h>
#include <stdio_ext.h>
#include <sys/single_threaded.h>

#include <ext/stdio_sync_filebuf.h>
#include <iostream>
#include <ostream>
#include <streambuf>
#include <typeinfo>

// What glibc exports and declares no more: its list of all streams.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" {
void _IO_list_lock();
void _IO_list_unlock();
FILE* _IO_iter_begin();
FILE* _IO_iter_end();
FILE* _IO_iter_next(FILE* position);
FILE* _IO_iter_file(FILE* position);
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

namespace mp::internal {
namespace {

template <class Char>
void Flush(std::basic_ostream<Char>& stream) {
  const std::basic_streambuf<Char>* const buffer = stream.rdbuf();
  if (buffer == nullptr) return;
  // This one, which a program has that did not turn sync_with_stdio() off, holds nothing
  // itself. Four calls into the library are four page faults in a new child.
  if (typeid(*buffer) == typeid(__gnu_cxx::stdio_sync_filebuf<Char>)) return;
  try {
    stream.flush();
  } catch (...) {
    // A stream that was told to throw.
  }
}

// fflush(nullptr) takes the lock of every stream, and a thread that waits for input keeps
// its stream's. That stream has no output; one that another thread writes to is in hand.
void FlushFreeStreams() {
  _IO_list_lock();
  for (FILE* at = _IO_iter_begin(); at != _IO_iter_end(); at = _IO_iter_next(at)) {
    FILE* const stream = _IO_iter_file(at);
    if (ftrylockfile(stream) != 0) continue;
    if (__fwriting(stream) != 0 && __fpending(stream) != 0) fflush_unlocked(stream);
    funlockfile(stream);
  }
  _IO_list_unlock();
}

}  // namespace

void FlushOutput() {
  Flush(std::cout);
  Flush(std::clog);
  Flush(std::wcout);
  Flush(std::wclog);
  if (__libc_single_threaded) {
    fflush(nullptr);
  } else {
    fflush(stdout);
    fflush(stderr);
    FlushFreeStreams();
  }
}

}  // namespace mp::internal
