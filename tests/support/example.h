// tests/support/example.h
//
// What an example prints, and what its README says that it does.
//
//   EXPECT_EQ(OutputOf("examples/00_hello/00_hello"), LastBlockOf("examples/00_hello/README.md"));

#ifndef MP_TESTS_SUPPORT_EXAMPLE_H_
#define MP_TESTS_SUPPORT_EXAMPLE_H_

#include <gtest/gtest.h>
#include <stdio.h>

#include <fstream>
#include <string>

namespace mp::testing {

// Of a command without arguments, which has to succeed.
inline std::string OutputOf(const std::string& command) {
  std::string output;
  FILE* const program = popen(command.c_str(), "r");
  EXPECT_NE(program, nullptr);
  if (program == nullptr) return output;
  for (int c; (c = getc(program)) != EOF;) output.push_back(static_cast<char>(c));
  EXPECT_EQ(pclose(program), 0);
  return output;
}

// The last lines that are indented by four, without that.
inline std::string LastBlockOf(const std::string& path) {
  std::ifstream file(path);
  std::string block;
  bool in_block = false;
  for (std::string line; std::getline(file, line);) {
    const bool indented = line.starts_with("    ");
    if (indented && !in_block) block.clear();
    if (indented) block += line.substr(4) + "\n";
    in_block = indented;
  }
  EXPECT_NE(block, "");
  return block;
}

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_EXAMPLE_H_
