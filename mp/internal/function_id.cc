#include "mp/internal/function_id.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"

namespace mp::internal {
namespace {

constexpr std::string_view kOwner("GNU\0", 4);  // of a build id; its NUL counts

constexpr size_t Padded(size_t size) { return (size + 3) / 4 * 4; }

// The build id in a segment of notes; "": there is none.
std::string BuildIdIn(std::string_view notes) {
  while (notes.size() >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) head;
    std::memcpy(&head, notes.data(), sizeof(head));
    notes.remove_prefix(sizeof(head));
    const size_t name = Padded(head.n_namesz);
    const size_t size = Padded(head.n_descsz);
    if (name > notes.size() || size > notes.size() - name) break;
    if (head.n_type == NT_GNU_BUILD_ID && notes.substr(0, head.n_namesz) == kOwner) {
      return std::string(notes.substr(name, head.n_descsz));
    }
    notes.remove_prefix(name + size);
  }
  return "";
}

// Without a build id: what is where in the file.
std::string HeadersId(absl::Span<const ElfW(Phdr)> headers) {
  std::string id;
  for (const ElfW(Phdr) & header : headers) {
    absl::StrAppend(&id, header.p_type, ":", header.p_offset, ":", header.p_vaddr, ":",
                    header.p_filesz, ";");
  }
  return id;
}

std::string IdOf(const dl_phdr_info& file) {
  const absl::Span<const ElfW(Phdr)> headers(file.dlpi_phdr, file.dlpi_phnum);
  for (const ElfW(Phdr) & header : headers) {
    if (header.p_type != PT_NOTE) continue;
    std::string id =
        BuildIdIn({reinterpret_cast<const char*>(file.dlpi_addr + header.p_vaddr), header.p_memsz});
    if (!id.empty()) return id;
  }
  return HeadersId(headers);
}

// Whether code of the file is, or would be, at that distance from where it is loaded.
bool HasCodeAt(const dl_phdr_info& file, uint64_t offset) {
  const absl::Span<const ElfW(Phdr)> headers(file.dlpi_phdr, file.dlpi_phnum);
  return std::any_of(headers.begin(), headers.end(), [offset](const ElfW(Phdr) & header) {
    return header.p_type == PT_LOAD && (header.p_flags & PF_X) != 0 && offset >= header.p_vaddr &&
           offset - header.p_vaddr < header.p_memsz;
  });
}

using Visitor = absl::FunctionRef<bool(const dl_phdr_info& file)>;

// Until `visit` says that it has found what it looks for.
bool AnyFile(Visitor visit) {
  return dl_iterate_phdr(
             [](dl_phdr_info* file, size_t /*size*/, void* visitor) {
               return (*static_cast<Visitor*>(visitor))(*file) ? 1 : 0;
             },
             &visit) != 0;
}

std::optional<uint64_t> FindLoaded(const FunctionId& id) {
  std::optional<uint64_t> address;
  AnyFile([&](const dl_phdr_info& file) {
    if (!HasCodeAt(file, id.offset) || IdOf(file) != id.file) return false;
    address = file.dlpi_addr + id.offset;
    return true;
  });
  return address;
}

// Of a library that was loaded as `name`, perhaps from another folder than this process is in now,
// and which has code at `address`.
std::string PathOf(const std::string& name, uint64_t address) {
  if (name.empty() || name[0] == '/') return name;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uint64_t first;
    uint64_t end;
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64, &first, &end) != 2) continue;
    const size_t path = line.find('/');
    if (first <= address && address < end && path != std::string::npos) return line.substr(path);
  }
  return name;
}

std::string Describe(const FunctionId& id) {
  return absl::StrCat("the function at ", absl::Hex(id.offset), " of ",
                      id.path.empty() ? "the program" : id.path, " (build id ",
                      absl::BytesToHexString(id.file), ")");
}

}  // namespace

absl::StatusOr<FunctionId> FunctionId::Of(const void* function) {
  const auto address = reinterpret_cast<uint64_t>(function);
  FunctionId id;
  const bool found = AnyFile([&](const dl_phdr_info& file) {
    if (address < file.dlpi_addr || !HasCodeAt(file, address - file.dlpi_addr)) return false;
    id = {.file = IdOf(file), .path = file.dlpi_name, .offset = address - file.dlpi_addr};
    return true;
  });
  if (found) {
    id.path = PathOf(id.path, address);
    return id;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the function at ", absl::Hex(address),
                   " is in no file of this program; another process could not find it"));
}

absl::StatusOr<const void*> FunctionId::Find() const {
  std::optional<uint64_t> address = FindLoaded(*this);
  // It stays loaded: what it has made may be anywhere.
  if (!address.has_value() && !path.empty() && dlopen(path.c_str(), RTLD_NOW) != nullptr) {
    address = FindLoaded(*this);
  }
  if (address.has_value()) return reinterpret_cast<const void*>(*address);
  return absl::InvalidArgumentError(
      absl::StrCat(Describe(*this), " is not here: is this another build of the program?"));
}

absl::Status FunctionId::CheckIsThisProgram(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  auto read = [&file](uint64_t offset, void* to, size_t size) {
    return file.seekg(static_cast<std::streamoff>(offset)) &&
           file.read(static_cast<char*>(to), static_cast<std::streamsize>(size));
  };
  absl::Status another =
      absl::InvalidArgumentError(absl::StrCat(path, " is not this program, built alike"));
  ElfW(Ehdr) head;
  if (!read(0, &head, sizeof(head)) || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
      head.e_phentsize != sizeof(ElfW(Phdr))) {
    return another;
  }
  std::vector<ElfW(Phdr)> headers(head.e_phnum);
  if (!read(head.e_phoff, headers.data(), headers.size() * sizeof(headers[0]))) return another;
  std::string id;
  for (const ElfW(Phdr) & header : headers) {
    constexpr size_t kMostNotes = 1 << 16;
    if (header.p_type != PT_NOTE || header.p_filesz > kMostNotes) continue;
    std::string notes(header.p_filesz, '\0');
    if (read(header.p_offset, notes.data(), notes.size())) id = BuildIdIn(notes);
    if (!id.empty()) break;
  }
  if (id.empty()) id = HeadersId(headers);
  // The first file is the program.
  std::string own;
  AnyFile([&own](const dl_phdr_info& program) {
    own = IdOf(program);
    return true;
  });
  return id == own ? absl::OkStatus() : another;
}

}  // namespace mp::internal
