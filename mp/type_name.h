// TypeName and TypeHash: which type a message is of, and how to say so.
//
//   mp::TypeName<std::vector<int>>()   // "std::vector<int>"
//   mp::TypeHash<int>()                // never 0
//
// As the compiler writes the type, so the same in all programs of one compiler, and what two
// compilers say may differ: a hash is compared within a family of processes, which have one
// program, or programs built alike. Types of one name in unnamed namespaces of different files, and
// local types of such functions, are one to it.

#ifndef MP_MP_TYPE_NAME_H_
#define MP_MP_TYPE_NAME_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mp {
namespace internal {

template <class T>
constexpr std::string_view FunctionName() {
  // A pointer, since g++ explains every alias of the signature.
  constexpr const char* kName = __PRETTY_FUNCTION__;
  return kName;
}

// What stands in front of the type's name and behind it, whatever it is; an alias in the signature
// is explained behind it.
inline constexpr std::string_view kNameOfDouble = FunctionName<double>();
inline constexpr size_t kBeforeName = kNameOfDouble.find("T = double") + 4;
inline constexpr size_t kBehindName = kNameOfDouble.size() - kBeforeName - 6;

constexpr uint64_t HashOf(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash != 0 ? hash : 1;
}

}  // namespace internal

template <class T>
constexpr std::string_view TypeName() {
  std::string_view name = internal::FunctionName<T>();
  name.remove_prefix(internal::kBeforeName);
  name.remove_suffix(internal::kBehindName);
  return name;
}

template <class T>
constexpr uint64_t TypeHash() {
  constexpr uint64_t kHash = internal::HashOf(TypeName<T>());
  return kHash;
}

}  // namespace mp

#endif  // MP_MP_TYPE_NAME_H_
