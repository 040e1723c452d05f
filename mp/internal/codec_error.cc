#include "mp/internal/codec_error.h"

#include <cxxabi.h>

#include <exception>
#include <new>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace mp::internal {

absl::Status Guarded(absl::StatusCode thrown, absl::FunctionRef<void()> run) {
  try {
    run();
    return absl::OkStatus();
  } catch (const CodecError& error) {
    return error.status;
  } catch (const abi::__forced_unwind&) {
    throw;  // the thread is cancelled, which is nobody's to stop
  } catch (const std::bad_alloc& error) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory: ", error.what()));
  } catch (const std::exception& error) {
    return absl::Status(thrown, absl::StrCat("threw: ", error.what()));
  } catch (...) {
    return absl::Status(thrown, "threw what is no std::exception");
  }
}

}  // namespace mp::internal
