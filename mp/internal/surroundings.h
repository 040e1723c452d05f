// Surroundings: what a program has from who starts it, and a child of the fork server would have
// from the server, as that was when it began: its output and its environment.
//
//   const OpenOutput open = OpenOutput::Now();                       // who asks for the child
//   EncodeSurroundings(open, encoder);
//   target = DecodeSurroundings(decoder, std::move(target));         // the server
//   target->Run();                                                   // the child

#ifndef MP_MP_INTERNAL_SURROUNDINGS_H_
#define MP_MP_INTERNAL_SURROUNDINGS_H_

#include <memory>

#include "mp/codec.h"
#include "mp/internal/target.h"

namespace mp::internal {

// Which of standard output and error are open. To be asked first of all: what is opened in between
// could get the number of one that is not.
struct OpenOutput {
  bool out;
  bool err;

  static OpenOutput Now();
};

// Those of this process: standard output and error, or that they are closed, and the environment.
void EncodeSurroundings(const OpenOutput& open, Encoder& encoder);

// `target`, which first takes them over when it is run.
std::shared_ptr<StoredTarget> DecodeSurroundings(Decoder& decoder,
                                                 std::shared_ptr<StoredTarget> target);

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_SURROUNDINGS_H_
