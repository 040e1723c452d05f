#include "mp/internal/status_bytes.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "mp/decoder.h"
#include "mp/encoder.h"

namespace mp::internal {
namespace {

void PutText(std::string_view text, Encoder& encoder) {
  encoder.PutLength(text.size());
  encoder.PutBytes(text.data(), text.size());
}

std::string_view GetText(Decoder& decoder) { return decoder.View(decoder.GetLength()); }

}  // namespace

void PutStatus(const absl::Status& status, Encoder& encoder) {
  // As it was given, also if this Abseil does not know it.
  encoder.PutNumber(static_cast<uint32_t>(status.raw_code()));
  if (status.ok()) return;
  PutText(status.message(), encoder);
  std::vector<std::pair<std::string, std::string>> payloads;
  status.ForEachPayload([&payloads](std::string_view url, const absl::Cord& payload) {
    payloads.emplace_back(url, payload);
  });
  encoder.PutLength(payloads.size());
  for (const auto& [url, payload] : payloads) {
    PutText(url, encoder);
    PutText(payload, encoder);
  }
}

absl::Status GetStatus(Decoder& decoder) {
  const auto code = decoder.GetNumber();
  if (code == 0) return absl::OkStatus();
  if (code > UINT32_MAX) decoder.Fail("a status with a code of more than 32 bits");
  absl::Status status(static_cast<absl::StatusCode>(static_cast<int32_t>(code)), GetText(decoder));
  const size_t payloads = decoder.GetLength(2);
  for (size_t i = 0; i < payloads; ++i) {
    const std::string_view url = GetText(decoder);
    status.SetPayload(url, absl::Cord(GetText(decoder)));
  }
  return status;
}

}  // namespace mp::internal
