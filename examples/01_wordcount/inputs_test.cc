#include "examples/01_wordcount/inputs.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace wordcount {
namespace {

namespace fs = std::filesystem;

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class InputsTest : public ::testing::Test {
 protected:
  InputsTest() {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }

  void Write(const std::string& name) const {
    fs::create_directories(fs::path(Path(name)).parent_path());
    std::ofstream(Path(name)) << name;
  }
  void Link(const std::string& to, const std::string& name) const {
    fs::create_symlink(to, Path(name));
  }
  std::string Path(const std::string& name) const { return root_ + "/" + name; }

  const std::string root_ = ::testing::TempDir() + "/inputs_test";
};

TEST_F(InputsTest, FoldersAreWalkedInOrder) {
  for (const char* name : {"b", "a/z", "a/b/c", "C", ".hidden"}) Write(name);
  const Inputs inputs = FindInputs({root_});
  EXPECT_THAT(inputs.files,
              ElementsAre(Path(".hidden"), Path("C"), Path("a/b/c"), Path("a/z"), Path("b")));
  EXPECT_THAT(inputs.skipped, IsEmpty());
}

TEST_F(InputsTest, PathsAreTakenAsGiven) {
  for (const char* name : {"a", "b"}) Write(name);
  EXPECT_THAT(FindInputs({Path("b"), Path("a"), root_ + "/", Path("b")}).files,
              ElementsAre(Path("b"), Path("a"), Path("a"), Path("b"), Path("b")));
}

TEST_F(InputsTest, LinksAreFollowed) {
  Write("folder/file");
  Link("folder/file", "link_to_file");
  Link("folder", "link_to_folder");
  EXPECT_THAT(FindInputs({root_}).files,
              ElementsAre(Path("folder/file"), Path("link_to_file"), Path("link_to_folder/file")));
}

TEST_F(InputsTest, LinksToWhatTheyAreInAreNot) {
  Write("a/file");
  Link("..", "a/up");
  Link(".", "a/self");
  const Inputs inputs = FindInputs({root_});
  EXPECT_THAT(inputs.files, ElementsAre(Path("a/file")));
  EXPECT_THAT(inputs.skipped, ElementsAre(HasSubstr("a/self: "), HasSubstr("a/up: ")));
}

TEST_F(InputsTest, WhatIsNoFileIsSkippedAndNamed) {
  Link("nowhere", "dangling");
  Link("round", "round");
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  const Inputs inputs = FindInputs({root_, Path("missing")});
  EXPECT_THAT(inputs.files, IsEmpty());
  EXPECT_THAT(inputs.skipped, ElementsAre(Path("dangling") + ": No such file or directory",
                                          Path("pipe") + ": neither a file nor a folder",
                                          HasSubstr("/round: Too many levels"),
                                          Path("missing") + ": No such file or directory"));
}

TEST_F(InputsTest, AnEmptyFolderHasNoFiles) {
  const Inputs inputs = FindInputs({root_});
  EXPECT_THAT(inputs.files, IsEmpty());
  EXPECT_THAT(inputs.skipped, IsEmpty());
}

TEST_F(InputsTest, DefaultPathsExist) {
  for (const std::string& path : DefaultPaths()) EXPECT_TRUE(fs::exists(path)) << path;
}

}  // namespace
}  // namespace wordcount
