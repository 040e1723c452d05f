#include "mp/internal/surroundings.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "mp/codec.h"
#include "mp/fd.h"
#include "mp/internal/decoder_access.h"
#include "mp/internal/encoder_access.h"
#include "mp/internal/target.h"
#include "shared/internal/spawn_marker.h"

namespace mp::internal {
namespace {

struct Surroundings {
  Fd out;  // none: it is closed
  Fd err;
  std::string variables;  // each with a NUL at its end
};

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

void EncodeStandard(int number, bool is_open, Encoder& encoder) {
  encoder.Put(is_open);
  // Not a copy: who is short of descriptors can still ask.
  if (is_open) EncoderAccess::PutDescriptor(encoder, number, nullptr);
}

Fd DecodeStandard(Decoder& decoder) {
  return decoder.Get<bool>() ? Fd(DecoderAccess::GetDescriptor(decoder)) : Fd();
}

void Replace(int number, const Fd& by) {
  if (by.has_value()) {
    dup2(by.get(), number);
  } else {
    close(number);
  }
}

// `variables` stays where it is.
void ReplaceEnvironment(std::string& variables) {
  std::vector<char*> pointers;
  size_t at = 0;
  for (size_t end; (end = variables.find('\0', at)) != std::string::npos; at = end + 1) {
    pointers.push_back(variables.data() + at);
  }
  pointers.push_back(nullptr);
  static auto& kept = *new std::vector<char*>(std::move(pointers));
  environ = kept.data();
}

class TargetInSurroundings final : public StoredTarget {
 public:
  TargetInSurroundings(Surroundings surroundings, std::shared_ptr<StoredTarget> target)
      : surroundings_(std::move(surroundings)), target_(std::move(target)) {}

  absl::StatusOr<int> Run() override {
    Replace(STDOUT_FILENO, std::exchange(surroundings_.out, Fd()));
    Replace(STDERR_FILENO, std::exchange(surroundings_.err, Fd()));
    static auto& variables = *new std::string(std::move(surroundings_.variables));
    ReplaceEnvironment(variables);
    return target_->Run();
  }

  void Encode(Encoder& encoder) const override { target_->Encode(encoder); }

 private:
  Surroundings surroundings_;
  const std::shared_ptr<StoredTarget> target_;
};

}  // namespace

OpenOutput OpenOutput::Now() {
  return {.out = IsOpen(STDOUT_FILENO), .err = IsOpen(STDERR_FILENO)};
}

void EncodeSurroundings(const OpenOutput& open, Encoder& encoder) {
  EncodeStandard(STDOUT_FILENO, open.out, encoder);
  EncodeStandard(STDERR_FILENO, open.err, encoder);
  std::string variables;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    if (!SpawnMarker::IsVariable(*variable)) variables.append(*variable).push_back('\0');
  }
  encoder.Put(variables);
}

std::shared_ptr<StoredTarget> DecodeSurroundings(Decoder& decoder,
                                                 std::shared_ptr<StoredTarget> target) {
  Surroundings surroundings;
  surroundings.out = DecodeStandard(decoder);
  surroundings.err = DecodeStandard(decoder);
  surroundings.variables = decoder.Get<std::string>();
  return std::make_shared<TargetInSurroundings>(std::move(surroundings), std::move(target));
}

}  // namespace mp::internal
