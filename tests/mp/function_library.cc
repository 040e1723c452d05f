// A library for library_target_test, which the program loads when it runs.

extern "C" int MpTestTwice(int number) { return 2 * number; }
