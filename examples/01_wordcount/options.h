// Options: the command line.

#ifndef MP_EXAMPLES_01_WORDCOUNT_OPTIONS_H_
#define MP_EXAMPLES_01_WORDCOUNT_OPTIONS_H_

#include <cstddef>
#include <string>
#include <vector>

namespace wordcount {

struct Options {
  size_t workers;
  size_t top;  // 0: all
  size_t kill;
  std::vector<std::string> paths;
};

// Ends the program, with a message and exit code 2, if a value is not good.
Options ParseOptions(int argc, char** argv);

}  // namespace wordcount

#endif  // MP_EXAMPLES_01_WORDCOUNT_OPTIONS_H_
