#include "tests/support/symbols.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string_view>

namespace mp::testing {
namespace {

// Where an address was loaded from.
struct Module {
  uintptr_t address = 0;
  std::string path;
  uintptr_t offset = 0;  // address, as the file counts
  bool found = false;
};

int FindModule(dl_phdr_info* info, size_t, void* data) {
  Module& module = *static_cast<Module*>(data);
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info->dlpi_phdr[i];
    const uintptr_t start = info->dlpi_addr + segment.p_vaddr;
    if (segment.p_type != PT_LOAD || module.address < start ||
        module.address >= start + segment.p_memsz) {
      continue;
    }
    module.path = *info->dlpi_name == '\0' ? "/proc/self/exe" : info->dlpi_name;
    module.offset = module.address - info->dlpi_addr;
    module.found = true;
    return 1;
  }
  return 0;
}

// A file, mapped for reading.
class MappedFile {
 public:
  explicit MappedFile(const char* path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat stat = {};
    if (fd >= 0 && fstat(fd, &stat) == 0 && stat.st_size > 0) {
      size_ = static_cast<size_t>(stat.st_size);
      void* data = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
      data_ = data == MAP_FAILED ? nullptr : static_cast<const char*>(data);
    }
    if (fd >= 0) close(fd);
  }
  ~MappedFile() {
    if (data_ != nullptr) munmap(const_cast<char*>(data_), size_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  // `count` objects at `offset`, or null if they are not all in the file.
  template <class T>
  const T* At(size_t offset, size_t count) const {
    if (data_ == nullptr || offset > size_ || count > (size_ - offset) / sizeof(T)) {
      return nullptr;
    }
    return reinterpret_cast<const T*>(data_ + offset);
  }

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
};

void Erase(std::string& text, std::string_view part) {
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos;) {
    text.erase(at, part.size());
  }
}

// Of what wraps a lambda, the lambda.
std::string Unwrapped(const std::string& name) {
  constexpr std::string_view kWrapper = "std::_Function_handler<", kEnd = ">::_M_invoke(";
  const size_t comma = name.find("), ");
  const size_t end = name.rfind(kEnd);
  if (!name.starts_with(kWrapper) || comma >= end || end == std::string::npos) return name;
  return name.substr(comma + 3, end - comma - 3);
}

std::string Demangled(const char* name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> plain(
      abi::__cxa_demangle(name, nullptr, nullptr, &status), free);
  if (status != 0) return name;
  std::string text = plain.get();
  Erase(text, "(anonymous namespace)::");
  Erase(text, "mp::testing::");
  return Unwrapped(text);
}

std::string WithOffset(const std::string& name, uintptr_t offset) {
  char text[32];
  snprintf(text, sizeof(text), "+0x%zx", static_cast<size_t>(offset));
  return name + text;
}

// The function of `table` (a section of symbols) that contains the address.
std::string FindIn(const MappedFile& file, const ElfW(Shdr) & table, const ElfW(Shdr) & strings,
                   uintptr_t offset) {
  const size_t count = table.sh_size / sizeof(ElfW(Sym));
  const auto* symbols = file.At<ElfW(Sym)>(table.sh_offset, count);
  const char* names = file.At<char>(strings.sh_offset, strings.sh_size);
  if (symbols == nullptr || names == nullptr) return "";
  for (size_t i = 0; i < count; ++i) {
    const ElfW(Sym)& symbol = symbols[i];
    if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC && symbol.st_shndx != SHN_UNDEF &&
        offset >= symbol.st_value && offset < symbol.st_value + symbol.st_size &&
        symbol.st_name < strings.sh_size) {
      return WithOffset(Demangled(names + symbol.st_name), offset - symbol.st_value);
    }
  }
  return "";
}

// The full table if the file has one, else that of what it exports.
std::string FindInFile(const Module& module) {
  const MappedFile file(module.path.c_str());
  const auto* header = file.At<ElfW(Ehdr)>(0, 1);
  if (header == nullptr || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return "";
  const auto* sections = file.At<ElfW(Shdr)>(header->e_shoff, header->e_shnum);
  if (sections == nullptr) return "";
  for (const unsigned type : {SHT_SYMTAB, SHT_DYNSYM}) {
    for (int i = 0; i < header->e_shnum; ++i) {
      if (sections[i].sh_type != type || sections[i].sh_link >= header->e_shnum) {
        continue;
      }
      std::string name = FindIn(file, sections[i], sections[sections[i].sh_link], module.offset);
      if (!name.empty()) return name;
    }
  }
  return "";
}

}  // namespace

std::string NameOfAddress(uintptr_t address) {
  Module module;
  module.address = address;
  dl_iterate_phdr(FindModule, &module);
  if (!module.found) return WithOffset("", address);
  std::string name = FindInFile(module);
  if (!name.empty()) return name;
  const std::string_view path = module.path;
  return WithOffset(std::string(path.substr(path.rfind('/') + 1)), module.offset);
}

}  // namespace mp::testing
