#include "examples/01_wordcount/inputs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace wordcount {
namespace {

namespace fs = std::filesystem;

using FileId = std::pair<dev_t, ino_t>;

class Finder {
 public:
  void Find(const std::string& path) {
    struct stat info;
    if (stat(path.c_str(), &info) != 0) {
      Skip(path, std::strerror(errno));
    } else if (S_ISREG(info.st_mode)) {
      inputs_.files.push_back(path);
    } else if (S_ISDIR(info.st_mode)) {
      FindIn(path, {info.st_dev, info.st_ino});
    } else {
      Skip(path, "neither a file nor a folder");
    }
  }

  Inputs Take() { return std::move(inputs_); }

 private:
  void FindIn(const std::string& folder, FileId id) {
    if (std::find(above_.begin(), above_.end(), id) != above_.end()) {
      return Skip(folder, "a link to a folder that it is in");
    }
    std::error_code error;
    std::vector<std::string> names;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      names.push_back(it->path().filename());
    }
    if (error) return Skip(folder, error.message());

    std::sort(names.begin(), names.end());
    above_.push_back(id);
    for (const std::string& name : names) {
      Find(absl::StrCat(folder, absl::EndsWith(folder, "/") ? "" : "/", name));
    }
    above_.pop_back();
  }

  void Skip(const std::string& path, const std::string& why) {
    inputs_.skipped.push_back(absl::StrCat(path, ": ", why));
  }

  Inputs inputs_;
  std::vector<FileId> above_;  // the folders that we are in
};

}  // namespace

Inputs FindInputs(const std::vector<std::string>& paths) {
  Finder finder;
  for (const std::string& path : paths) finder.Find(path);
  return finder.Take();
}

std::vector<std::string> DefaultPaths() {
  constexpr const char* kLicenses = "/usr/share/common-licenses";
  std::error_code error;
  if (fs::is_directory(kLicenses, error)) return {kLicenses};

  // The source tree, as `bazel run` names it, or the copy that Bazel puts beside a program.
  std::vector<fs::path> roots;
  if (const char* tree = std::getenv("BUILD_WORKSPACE_DIRECTORY")) roots.emplace_back(tree);
  fs::path runfiles = fs::read_symlink("/proc/self/exe", error);
  runfiles += ".runfiles";
  roots.push_back(runfiles / "mp");
  roots.push_back(runfiles / "_main");
  for (const fs::path& root : roots) {
    std::vector<std::string> paths;
    for (const char* name : {"README.md", "docs"}) {
      if (fs::exists(root / name, error)) paths.push_back(root / name);
    }
    if (!paths.empty()) return paths;
  }
  return {};
}

void EnterCallersFolder() {
  const char* folder = std::getenv("BUILD_WORKING_DIRECTORY");
  if (folder != nullptr && chdir(folder) != 0) {
    std::fprintf(stderr, "wordcount: %s: %s\n", folder, std::strerror(errno));
  }
}

}  // namespace wordcount
