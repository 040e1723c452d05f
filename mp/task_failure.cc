#include "mp/task_failure.h"

#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "mp/codec.h"

namespace mp {
namespace {

constexpr std::string_view kUrl = "mp.TaskFailure";

}  // namespace

std::optional<TaskFailure> GetTaskFailure(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kUrl);
  if (!payload.has_value()) return std::nullopt;
  const std::string bytes(*payload);
  const absl::StatusOr<TaskFailure> failure = DecodeFromString<TaskFailure>(bytes);
  if (!failure.ok()) return std::nullopt;
  return *failure;
}

namespace internal {

void SetTaskFailure(absl::Status& status, const TaskFailure& failure) {
  const absl::StatusOr<std::string> bytes = EncodeToString(failure);
  if (bytes.ok()) status.SetPayload(kUrl, absl::Cord(*bytes));
}

void ClearTaskFailure(absl::Status& status) { status.ErasePayload(kUrl); }

std::string DescribeEnd(int exitcode) {
  if (exitcode >= 0) return absl::StrCat("ended with exit code ", exitcode);
  return absl::StrCat("was killed by signal ", -exitcode, " (", strsignal(-exitcode), ")");
}

}  // namespace internal
}  // namespace mp
