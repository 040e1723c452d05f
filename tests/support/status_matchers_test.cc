#include "tests/support/status_matchers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace mp::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr absl::StatusCode kAborted = absl::StatusCode::kAborted;
constexpr absl::StatusCode kOutOfRange = absl::StatusCode::kOutOfRange;

template <class Matcher, class Value>
std::string Explain(const Matcher& matcher, const Value& value) {
  ::testing::StringMatchResultListener listener;
  ::testing::ExplainMatchResult(matcher, value, &listener);
  return listener.str();
}

TEST(StatusMatchersTest, OkIsOk) {
  EXPECT_THAT(absl::OkStatus(), IsOk());
  EXPECT_THAT(absl::StatusOr<int>(7), IsOk());
  EXPECT_THAT(absl::AbortedError("broken"), Not(IsOk()));
  EXPECT_THAT(absl::StatusOr<int>(absl::AbortedError("broken")), Not(IsOk()));
}

TEST(StatusMatchersTest, TakesWhatCannotBeCopied) {
  EXPECT_THAT(absl::StatusOr<std::unique_ptr<int>>(nullptr), IsOk());
}

TEST(StatusMatchersTest, CodeDecides) {
  EXPECT_THAT(absl::AbortedError("broken"), StatusIs(kAborted));
  EXPECT_THAT(absl::AbortedError("broken"), Not(StatusIs(kOutOfRange)));
  EXPECT_THAT(absl::StatusOr<int>(absl::AbortedError("broken")), StatusIs(kAborted));
  EXPECT_THAT(absl::StatusOr<int>(7), StatusIs(absl::StatusCode::kOk));
}

TEST(StatusMatchersTest, MessageDecidesToo) {
  EXPECT_THAT(absl::AbortedError("broken"), StatusIs(kAborted, "broken"));
  EXPECT_THAT(absl::AbortedError("broken"), StatusIs(kAborted, HasSubstr("rok")));
  EXPECT_THAT(absl::AbortedError("broken"), Not(StatusIs(kAborted, "whole")));
  EXPECT_THAT(absl::AbortedError("broken"), Not(StatusIs(kOutOfRange, "broken")));
}

TEST(StatusMatchersTest, SaysWhatItGot) {
  EXPECT_THAT(Explain(IsOk(), absl::AbortedError("broken")), HasSubstr("broken"));
  EXPECT_THAT(Explain(StatusIs(kOutOfRange), absl::AbortedError("broken")), HasSubstr("ABORTED"));
  EXPECT_THAT(::testing::DescribeMatcher<absl::Status>(StatusIs(kAborted, "whole")),
              HasSubstr("ABORTED"));
}

}  // namespace
}  // namespace mp::testing
