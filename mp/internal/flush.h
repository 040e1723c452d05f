// FlushOutput: writes out what this process has buffered for its output streams.

#ifndef MP_MP_INTERNAL_FLUSH_H_
#define MP_MP_INTERNAL_FLUSH_H_

namespace mp::internal {

// stdio's streams, then std::cout, clog, wcout and wclog. What cannot be written is not
// told, and stays in the buffers. A stdio stream that another thread is in the middle of
// reading or writing is left to it, but for stdout and stderr.
void FlushOutput();

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_FLUSH_H_
