// LoanBlock: the memory of a Loan (mp/loan.h): a block of the domain that is this process's, or,
// of a short message that was got, memory of this process.

#ifndef MP_MP_INTERNAL_LOAN_BLOCK_H_
#define MP_MP_INTERNAL_LOAN_BLOCK_H_

#include <cstddef>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "mp/internal/message_rings.h"
#include "mp/internal/queue_ring.h"
#include "shared/internal/process_table.h"

namespace mp::internal {

class LoanBlock {
 public:
  LoanBlock() = default;
  // Takes over a block that is this process's.
  explicit LoanBlock(const MessageRings::Block& block);
  // `owner` keeps what is at `place`.
  LoanBlock(std::shared_ptr<void> owner, void* place, size_t size)
      : place_(place), size_(size), owner_(std::move(owner)) {}
  LoanBlock(LoanBlock&& other) noexcept { Swap(other); }
  LoanBlock& operator=(LoanBlock&& other) noexcept {
    LoanBlock taken(std::move(other));
    Swap(taken);
    return *this;
  }
  ~LoanBlock();

  // Not zeroed. kResourceExhausted: no memory.
  static absl::StatusOr<LoanBlock> Make(size_t size, size_t alignment, MessageHead::Kind kind);

  void* place() const { return place_; }
  size_t size() const { return size_; }
  // Whether it is a block, of this process.
  bool IsBlock() const { return process_ != 0; }
  // Whether the process that made it was forked from, and this is what the child has.
  bool IsInert() const;
  MessageRings::Block block() const { return {place_, size_, kind_}; }
  // The block is another's now.
  void Forget() {
    process_ = 0;
    *this = LoanBlock();
  }

 private:
  void Swap(LoanBlock& other) noexcept {
    std::swap(place_, other.place_);
    std::swap(size_, other.size_);
    std::swap(kind_, other.kind_);
    std::swap(process_, other.process_);
    owner_.swap(other.owner_);
  }

  void* place_ = nullptr;
  size_t size_ = 0;  // in bytes
  MessageHead::Kind kind_ = MessageHead::Kind::kBlock;
  ProcessId process_ = 0;        // whose block it is; 0: it is none
  std::shared_ptr<void> owner_;  // of what is no block
};

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_LOAN_BLOCK_H_
