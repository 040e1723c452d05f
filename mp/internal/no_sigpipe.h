// NoSigpipe: while it lives, a write to what nobody reads any more is an error to this thread,
// EPIPE, and not a signal that ends the process, whatever the program does about signals.
//
// The signal is kept from coming, and taken back before it could; one that was already on its way
// for another reason stays.

#ifndef MP_MP_INTERNAL_NO_SIGPIPE_H_
#define MP_MP_INTERNAL_NO_SIGPIPE_H_

#include <signal.h>

namespace mp::internal {

class NoSigpipe {
 public:
  NoSigpipe();
  ~NoSigpipe();
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

  // After each EPIPE.
  void TakeBack() const;

 private:
  sigset_t blocked_;  // by this thread, before
  bool was_pending_;
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_NO_SIGPIPE_H_
