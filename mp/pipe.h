// Pipe: two Connections that lead to one another. Python's multiprocessing.Pipe.
//
//   auto [receiving, sending] = mp::Pipe(/*duplex=*/false);
//   mp::Process child([sending = sending] { mp::OrDie(sending.Send(42)); });
//   mp::OrDie(child.Start());
//   sending.Close();
//   int answer = mp::OrDie(receiving.Recv<int>());
//
// See mp/connection.h for what it does.

#ifndef MP_MP_PIPE_H_
#define MP_MP_PIPE_H_

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "mp/connection.h"  // IWYU pragma: export

namespace mp {

struct PipeOptions {
  // Both ends send and receive; else the first receives, and the second sends.
  bool duplex = true;
  // Who sends waits while there would be more than so many bytes in its direction: messages, with 8
  // to 23 bytes more each. A longer message passes when nothing else is there.
  size_t capacity = size_t{1} << 20;
  std::string name = {};  // for messages and listings
};

// Ends the process, with a line that says why, where CreatePipe() would fail.
std::pair<Connection, Connection> Pipe(bool duplex = true);
// kResourceExhausted: no memory, or no descriptors; see Domain::Get() for more.
absl::StatusOr<std::pair<Connection, Connection>> CreatePipe(const PipeOptions& options = {});

}  // namespace mp

#endif  // MP_MP_PIPE_H_
