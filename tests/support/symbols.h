// tests/support/symbols.h
//
// NameOfAddress: which function an instruction of this program belongs to.

#ifndef MP_TESTS_SUPPORT_SYMBOLS_H_
#define MP_TESTS_SUPPORT_SYMBOLS_H_

#include <cstdint>
#include <string>

namespace mp::testing {

// "pthread_mutex_lock+0x1f"; static functions too, as long as the file has its
// symbol table. Without a symbol "libc.so.6+0x8f3a1", without a file the
// number.
std::string NameOfAddress(uintptr_t address);

}  // namespace mp::testing

#endif  // MP_TESTS_SUPPORT_SYMBOLS_H_
