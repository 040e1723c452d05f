#include "mp/internal/command_line.h"

#include <unistd.h>

#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "mp/popen_options.h"

namespace mp::internal {
namespace {

// Where programs are that are looked for without a PATH, as by execvp(3).
constexpr std::string_view kDefaultPath = "/bin:/usr/bin";

using Environment = std::map<std::string, std::string>;

bool HasZeroByte(std::string_view text) { return text.find('\0') != text.npos; }

absl::Status Bad(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("Start(): ", what));
}

absl::Status Check(const std::vector<std::string>& args, const PopenOptions& options) {
  if (args.empty()) return Bad("there is no args[0]: the name of the program");
  if (args[0].empty() && options.executable.empty()) return Bad("args[0] is empty");
  for (const std::string& arg : args) {
    if (HasZeroByte(arg)) return Bad("an argument has a zero byte");
  }
  if (HasZeroByte(options.executable)) return Bad("the name of the program has a zero byte");
  if (HasZeroByte(options.cwd)) return Bad("cwd has a zero byte");
  return absl::OkStatus();
}

absl::Status Check(const Environment& environment) {
  for (const auto& [name, value] : environment) {
    if (name.empty() || name.find('=') != name.npos) {
      return Bad(absl::StrCat("\"", name, "\" is no name for the environment"));
    }
    if (HasZeroByte(name) || HasZeroByte(value)) {
      return Bad(absl::StrCat("\"", name, "\" in the environment has a zero byte"));
    }
  }
  return absl::OkStatus();
}

Environment OfThisProcess() {
  Environment all;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view line = *entry;
    const size_t end = line.find('=');
    // The first of two is the one that getenv(3) finds.
    if (end != line.npos) all.emplace(line.substr(0, end), line.substr(end + 1));
  }
  return all;
}

std::vector<std::string> PathsOf(const std::string& program, std::string_view folders) {
  if (program.find('/') != program.npos) return {program};
  std::vector<std::string> paths;
  for (const std::string_view folder : absl::StrSplit(folders, ':')) {
    // An empty one is the working directory.
    paths.push_back(folder.empty() ? absl::StrCat("./", program)
                                   : absl::StrCat(folder, "/", program));
  }
  return paths;
}

std::vector<char*> PointersTo(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

absl::StatusOr<CommandLine> CommandLine::Of(const std::vector<std::string>& args,
                                            const PopenOptions& options) {
  if (absl::Status status = Check(args, options); !status.ok()) return status;
  CommandLine line;
  line.args_ = args;
  line.arg_pointers_ = PointersTo(line.args_);

  std::string folders(kDefaultPath);
  if (options.env.has_value() || !options.add_env.empty()) {
    Environment environment = options.env.has_value() ? *options.env : OfThisProcess();
    for (const auto& [name, value] : options.add_env) environment[name] = value;
    if (absl::Status status = Check(environment); !status.ok()) return status;
    if (const auto path = environment.find("PATH"); path != environment.end()) {
      folders = path->second;
    }
    for (const auto& [name, value] : environment) {
      line.env_.push_back(absl::StrCat(name, "=", value));
    }
    line.env_pointers_ = PointersTo(line.env_);
  } else if (const char* const path = std::getenv("PATH"); path != nullptr) {
    folders = path;
  }

  line.paths_ = PathsOf(options.executable.empty() ? args[0] : options.executable, folders);
  for (const std::string& path : line.paths_) line.path_pointers_.push_back(path.c_str());
  return line;
}

}  // namespace mp::internal
