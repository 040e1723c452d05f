#include "mp/internal/task_code.h"

#include <cxxabi.h>

#include <exception>
#include <memory>
#include <new>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "mp/internal/codec_error.h"
#include "mp/internal/part.h"

namespace mp::internal {
namespace {

constinit bool memory_is_limited = false;

}  // namespace

void LimitMemoryOfTasks() { memory_is_limited = true; }

std::unique_ptr<TaskCode> DecodeTaskCode(Decoder& decoder) {
  const auto decode = DecodePart<TaskCodeDecoder>(decoder);
  if (decode == nullptr) decoder.Fail("a task without code");
  return decode(decoder);
}

TaskError Attempt(absl::FunctionRef<absl::Status()> run) {
  using How = TaskError::How;
  auto threw = [](absl::Status status, How how = How::kThrew) {
    return TaskError{0, how, std::move(status)};
  };
  try {
    return {.status = run()};
  } catch (const CodecError&) {
    throw;  // what was put is in pieces: all of it is
  } catch (const abi::__forced_unwind&) {
    throw;  // the thread ends, and with it the worker
  } catch (const std::bad_alloc& exception) {
    if (!memory_is_limited) return threw(absl::InternalError(exception.what()));
    return threw(absl::ResourceExhaustedError(exception.what()), How::kHadNoMemory);
  } catch (const std::exception& exception) {
    return threw(absl::InternalError(exception.what()));
  } catch (...) {
    return threw(absl::InternalError("it threw what is no std::exception"));
  }
}

}  // namespace mp::internal
