#include "mp/internal/loan_block.h"

#include <cstddef>

#include "absl/status/statusor.h"
#include "shared/domain.h"

namespace mp::internal {

LoanBlock::LoanBlock(const MessageRings::Block& block)
    : place_(block.address),
      size_(block.size),
      kind_(block.kind),
      process_(Domain::Current()->ThisProcess().identity()) {}

LoanBlock::~LoanBlock() {
  if (process_ != 0 && !IsInert()) MessageRings::FreeBlock(block());
}

bool LoanBlock::IsInert() const {
  return process_ != 0 && process_ != Domain::Current()->ThisProcessIfAny();
}

absl::StatusOr<LoanBlock> LoanBlock::Make(size_t size, size_t alignment, MessageHead::Kind kind) {
  const absl::StatusOr<void*> block = Domain::Current()->Allocate(size, alignment);
  if (!block.ok()) return block.status();
  return LoanBlock({*block, size, kind});
}

}  // namespace mp::internal
