// A domain that is made before main(), and used after it.

#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/domain.h"
#include "tests/support/child.h"

namespace mp::testing {
namespace {

bool main_runs = false;

// As a global mp::Lock does.
class Global {
 public:
  Global() : before_main_(!main_runs), domain_(Domain::Get()) {
    if (domain_.ok()) number_ = static_cast<int*>(*(*domain_)->Allocate(sizeof(int)));
    if (number_ != nullptr) *number_ = 5;
  }
  ~Global() {
    // After main() the domain still works.
    const bool good = number_ != nullptr && *number_ == 5 && (*domain_)->heap().Check().ok();
    if (good) (*domain_)->Free(number_);
    if (!good || (*domain_)->heap().Stats().blocks != 0) {
      fprintf(stderr, "the domain did not outlive main()\n");
      abort();
    }
  }

  bool before_main() const { return before_main_; }
  const absl::StatusOr<Domain*>& domain() const { return domain_; }
  int* number() const { return number_; }

 private:
  const bool before_main_;
  const absl::StatusOr<Domain*> domain_;
  int* number_ = nullptr;
};

// Before the initializers of other files, whatever the linker's order.
[[gnu::init_priority(200)]] Global global;

TEST(DomainBeforeMainTest, AGlobalMadeTheDomain) {
  EXPECT_TRUE(global.before_main());
  ASSERT_TRUE(global.domain().ok()) << global.domain().status();
  EXPECT_EQ(Domain::Current(), *global.domain());
  EXPECT_EQ(*global.number(), 5);
  EXPECT_EQ((*global.domain())->heap().Check(), absl::OkStatus());
  EXPECT_EQ(ConfigureDomain({}).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(DomainBeforeMainTest, ChildrenAreMembers) {
  Child child([] {
    EXPECT_EQ(*Domain::Get(), *global.domain());
    EXPECT_EQ(*global.number(), 5);
    EXPECT_NE((*global.domain())->heap().Find(global.number()).owner,
              (*global.domain())->ThisProcess());
  });
  EXPECT_EQ(child.Finish(), 0);
}

}  // namespace
}  // namespace mp::testing

int main(int argc, char** argv) {
  mp::testing::main_runs = true;
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
