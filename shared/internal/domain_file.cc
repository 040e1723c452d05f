#include "shared/internal/domain_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace mp::internal {
namespace {

// The window: below every executable that the kernel places at random, and allowed by
// the address, leak and thread sanitizers of gcc 12 and clang 14 on. Another
// architecture is another entry.
#if defined(__x86_64__)
constexpr uint64_t kWindowBegin = 0x550000000000;
constexpr uint64_t kWindowEnd = 0x555500000000;
#else
#error "mp: no window of addresses is known for this architecture"
#endif

constexpr uint64_t kPage = 4096;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

absl::Status Failed(const char* call, uint64_t size) {
  return absl::ResourceExhaustedError(
      absl::StrCat("domain: ", call, ": ", size, " bytes: ", std::strerror(errno)));
}

uint64_t AddressSpaceInUse() {
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * kPage;
}

// What RLIMIT_FSIZE and RLIMIT_AS leave of `reserve`.
uint64_t CappedByLimits(uint64_t reserve) {
  rlimit limit;
  // Past it ftruncate does not fail but raises SIGXFSZ.
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    reserve = std::min<uint64_t>(reserve, limit.rlim_cur);
  }
  // Counts what is mapped, with memory or without: half of what is left is the user's.
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    const uint64_t in_use = AddressSpaceInUse();
    reserve =
        std::min<uint64_t>(reserve, limit.rlim_cur > in_use ? (limit.rlim_cur - in_use) / 2 : 0);
  }
  return reserve / kPage * kPage;
}

// Out of the way of the standard streams, which a program may have closed.
int AboveStandardStreams(int fd) {
  if (fd > STDERR_FILENO) return fd;
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int error = errno;
  close(fd);
  errno = error;
  return moved;
}

// At `base` or nowhere.
void* MapAt(int fd, uint64_t base, uint64_t size) {
  void* wanted = reinterpret_cast<void*>(base);
  void* mapped = mmap(wanted, size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, fd, 0);
  if (mapped == wanted || mapped == MAP_FAILED) return mapped;
  // A kernel before 4.17 takes the address as a hint.
  munmap(mapped, size);
  errno = EEXIST;
  return MAP_FAILED;
}

void* MapInWindow(int fd, uint64_t size) {
  // Steps of a sixteenth of the window; further bases only where the first is taken.
  constexpr uint64_t kStep = (kWindowEnd - kWindowBegin) / 16 / kPage * kPage;
  for (uint64_t base = kWindowBegin; base + size <= kWindowEnd; base += kStep) {
    void* mapped = MapAt(fd, base, size);
    if (mapped != MAP_FAILED || errno != EEXIST) return mapped;
  }
  errno = EEXIST;
  return MAP_FAILED;
}

}  // namespace

size_t LargestReserve() { return kWindowEnd - kWindowBegin; }

absl::StatusOr<DomainMapping> MakeDomainFile(size_t reserve, size_t least) {
  const uint64_t size = CappedByLimits(reserve);
  if (size < least) {
    return absl::ResourceExhaustedError(
        absl::StrCat("domain: the limits of this process (ulimit -f, ulimit -v) leave ", size,
                     " bytes; it takes ", least));
  }
  // Never to be executed: from Linux 6.3 on that can be said, and some systems insist.
  constexpr unsigned int kNoExecSeal = 8;
  constexpr unsigned int kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int fd = memfd_create("mp-domain", kFlags | kNoExecSeal);
  if (fd < 0 && errno == EINVAL) fd = memfd_create("mp-domain", kFlags);
  if (fd >= 0) fd = AboveStandardStreams(fd);
  if (fd < 0) return Failed("memfd_create", size);
  void* base = MAP_FAILED;
  const char* call = "fchmod";
  struct stat file = {};
  // A memfd is born readable by everybody who can see /proc/PID/fd.
  bool done = fchmod(fd, 0600) == 0 && fstat(fd, &file) == 0;
  if (done) {
    call = "ftruncate";
    done = ftruncate(fd, static_cast<off_t>(size)) == 0;
  }
  if (done) {
    call = "seal";
    done = fcntl(fd, F_ADD_SEALS, kSeals) == 0;
  }
  if (done) {
    call = "mmap";
    base = MapInWindow(fd, size);
    done = base != MAP_FAILED;
  }
  if (!done) {
    absl::Status status = Failed(call, size);
    close(fd);
    return status;
  }
  // A crashing process would write all of it into its core; a hint, so never an error.
  madvise(base, size, MADV_DONTDUMP);
  return DomainMapping{base, size, file.st_ino, fd};
}

absl::StatusOr<DomainMapping> MapDomainFile(int fd, const DomainHeader& header) {
  void* const base = MapAt(fd, header.base, header.size);
  if (base == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("domain: mmap: ", header.size, " bytes at ", absl::Hex(header.base),
                     ", where the family has them: ", std::strerror(errno),
                     "; see ulimit -v, or what else this program maps there"));
  }
  madvise(base, header.size, MADV_DONTDUMP);
  return DomainMapping{base, header.size, header.inode, fd};
}

absl::StatusOr<int> ReopenDomainFile(const DomainHeader& header) {
  const std::string path = absl::StrCat("/proc/self/map_files/", absl::Hex(header.base), "-",
                                        absl::Hex(header.base + header.size));
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("domain: the program closed the descriptor of its shared memory, which a "
                     "process that is spawned gets, and another is not to be had: ",
                     path, ": ", std::strerror(errno), "; leave it open, or use fork"));
  }
  return AboveStandardStreams(fd);
}

absl::StatusOr<DomainHeader> ReadDomainHeader(int fd) {
  auto wrong = [](const char* what) {
    return absl::DataLossError(absl::StrCat("domain: not a domain: ", what));
  };
  struct stat file;
  if (fstat(fd, &file) != 0) return wrong("no such descriptor");
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) return wrong("not sealed");
  DomainHeader header;
  if (pread(fd, &header, sizeof(header), 0) != static_cast<ssize_t>(sizeof(header))) {
    return wrong("shorter than its header");
  }
  if (header.magic != DomainHeader::kMagic) return wrong("another magic number");
  if (header.layout != DomainHeader::kLayout) return wrong("another version of this library");
  if (header.size != static_cast<uint64_t>(file.st_size)) return wrong("another size");
  if (header.base % kPage != 0 || header.base < kWindowBegin || header.base >= kWindowEnd ||
      header.size > kWindowEnd - header.base) {
    return wrong("outside the window of addresses");
  }
  return header;
}

}  // namespace mp::internal
