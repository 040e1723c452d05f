// tests/support/status_matchers.h
//
// IsOk and StatusIs: GoogleMock matchers for absl::Status and absl::StatusOr.
//
//   EXPECT_THAT(queue.TryPut(1), IsOk());
//   EXPECT_THAT(queue.TryGet(), StatusIs(absl::StatusCode::kDeadlineExceeded));
//   EXPECT_THAT(X::Create(options),
//   StatusIs(absl::StatusCode::kInvalidArgument,
//                                            HasSubstr("negative")));

#ifndef MP_TESTS_SUPPORT_STATUS_MATCHERS_H_
#define MP_TESTS_SUPPORT_STATUS_MATCHERS_H_

#include <gmock/gmock.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mp::testing {
namespace internal {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }

template <class T>
const absl::Status& StatusOf(const absl::StatusOr<T>& value) {
  return value.status();
}

}  // namespace internal

MATCHER(IsOk, negation ? "is not OK" : "is OK") {
  const absl::Status& status = internal::StatusOf(arg);
  *result_listener << "whose status is " << status.ToString();
  return status.ok();
}

MATCHER_P(StatusIs, code,
          std::string(negation ? "has not" : "has") + " the code " +
              absl::StatusCodeToString(code)) {
  const absl::Status& status = internal::StatusOf(arg);
  *result_listener << "whose status is " << status.ToString();
  return status.code() == code;
}

// `message`: a matcher for strings, or a string.
MATCHER_P2(StatusIs, code, message,
           std::string(negation ? "has not" : "has") + " the code " +
               absl::StatusCodeToString(code) + " and a message that " +
               ::testing::DescribeMatcher<std::string>(message)) {
  const absl::Status& status = internal::StatusOf(arg);
  *result_listener << "whose status is " << status.ToString() << " ";
  const std::string said(status.message());
  return status.code() == code && ::testing::ExplainMatchResult(message, said, result_listener);
}

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_STATUS_MATCHERS_H_
