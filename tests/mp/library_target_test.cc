// Targets that are functions of libraries: of one that the program is linked with, and of one that
// it has loaded when it runs, which the child has not.

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <utility>

#include "absl/status/status.h"
#include "mp/process.h"
#include "mp/start_method.h"
#include "tests/mp/start_methods.h"

namespace mp {
namespace {

constexpr char kLibrary[] = "tests/mp/libfunction_library.so";

class LibraryTargetTest : public ::testing::TestWithParam<StartMethod> {
 protected:
  template <class... A>
  absl::Status Run(int code, A&&... a) {
    Process child({.start_method = GetParam()}, std::forward<A>(a)...);
    if (absl::Status started = child.Start(); !started.ok()) return started;
    child.Join();
    EXPECT_EQ(child.exitcode(), code);
    return absl::OkStatus();
  }
};

INSTANTIATE_TEST_SUITE_P(All, LibraryTargetTest, testing::AllStartMethods(),
                         testing::StartMethodName);

int IsLoaded() { return dlopen(kLibrary, RTLD_NOW | RTLD_NOLOAD) != nullptr ? 1 : 0; }

TEST_P(LibraryTargetTest, OfTheCLibrary) {
  EXPECT_EQ(Run(5, static_cast<int (*)(int)>(&std::abs), -5), absl::OkStatus());
}

TEST_P(LibraryTargetTest, OfOneThatTheChildHasToLoad) {
  // By a name that means nothing in another folder.
  void* const library = dlopen(kLibrary, RTLD_NOW);
  ASSERT_NE(library, nullptr) << dlerror();
  auto* const twice = reinterpret_cast<int (*)(int)>(dlsym(library, "MpTestTwice"));
  ASSERT_NE(twice, nullptr);
  EXPECT_EQ(Run(GetParam() == StartMethod::kFork ? 1 : 0, &IsLoaded), absl::OkStatus());
  EXPECT_EQ(Run(42, twice, 21), absl::OkStatus());
  EXPECT_EQ(Run(
                8, [](int (*f)(int), int n) { return f(n); }, twice, 4),
            absl::OkStatus());
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path("/");
  EXPECT_EQ(Run(10, twice, 5), absl::OkStatus());
  std::filesystem::current_path(before);
  EXPECT_EQ(dlclose(library), 0);
}

}  // namespace
}  // namespace mp
