// WaitSource: what Wait() (mp/wait.h) can wait for, if it is more than a descriptor.
//
//   int fd = *source.BeginWait();
//   while (!*source.IsReady()) ...              // poll(2) until fd is readable
//   source.EndWait();

#ifndef MP_MP_INTERNAL_WAIT_SOURCE_H_
#define MP_MP_INTERNAL_WAIT_SOURCE_H_

#include <memory>

#include "absl/status/statusor.h"

namespace mp::internal {

class WaitSource {
 public:
  virtual ~WaitSource() = default;

  // Another one, of one wait, where what there is of that does not serve several at once; nullptr:
  // this one serves all.
  virtual std::unique_ptr<WaitSource> ForOneWait() const { return nullptr; }
  // A descriptor that is readable where it is ready, or sometimes in vain, until EndWait(). Where
  // this fails there is nothing to end.
  virtual absl::StatusOr<int> BeginWait() = 0;
  virtual void EndWait() = 0;
  // Does not wait. Where it is not, the descriptor will be readable when it may have become so.
  // kFailedPrecondition: it is closed meanwhile; then EndLife::Bell() was readable.
  virtual absl::StatusOr<bool> IsReady() = 0;
  // Whether it may also become so when nobody is there to make the descriptor readable: so it is to
  // be looked at now and then.
  virtual bool MayComeUncalled() const { return false; }

 protected:
  WaitSource() = default;
  WaitSource(const WaitSource&) = default;
  WaitSource& operator=(const WaitSource&) = default;
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_WAIT_SOURCE_H_
