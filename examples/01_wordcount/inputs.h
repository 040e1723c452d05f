// Inputs: from the paths on the command line to the files to read.

#ifndef MP_EXAMPLES_01_WORDCOUNT_INPUTS_H_
#define MP_EXAMPLES_01_WORDCOUNT_INPUTS_H_

#include <string>
#include <vector>

namespace wordcount {

struct Inputs {
  std::vector<std::string> files;
  std::vector<std::string> skipped;  // "path: why"
};

// Files as they are, and all files in and below folders, sorted by name. Links are followed
// to files and folders, but not to a folder that the link is in: the files are those of
// `find -L PATH -type f`. What is neither file nor folder (a device, a pipe) is skipped.
Inputs FindInputs(const std::vector<std::string>& paths);

// What to read when nothing is named: texts that every Debian has or, without them, the
// project's documents. Empty: there are none.
std::vector<std::string> DefaultPaths();

// `bazel run` starts programs in a folder of its own; relative paths mean the caller's.
void EnterCallersFolder();

}  // namespace wordcount

#endif  // MP_EXAMPLES_01_WORDCOUNT_INPUTS_H_
