#include "shared/internal/domain_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/support/settings.h"

namespace mp::internal {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kWindowBegin = 0x550000000000;
constexpr uint64_t kWindowEnd = 0x555500000000;
constexpr size_t kSize = size_t{1} << 20;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

class File {
 public:
  explicit File(size_t size = kSize, int seals = kSeals)
      : fd_(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
    EXPECT_EQ(ftruncate(fd_, static_cast<off_t>(size)), 0);
    EXPECT_EQ(fcntl(fd_, F_ADD_SEALS, seals), 0);
  }
  ~File() { close(fd_); }
  int fd() const { return fd_; }

  File& Write(const DomainHeader& header) {
    EXPECT_EQ(pwrite(fd_, &header, sizeof(header), 0), static_cast<ssize_t>(sizeof(header)));
    return *this;
  }

 private:
  int fd_;
};

DomainHeader Good() {
  DomainHeader header = {};
  header.magic = DomainHeader::kMagic;
  header.layout = DomainHeader::kLayout;
  header.base = kWindowBegin;
  header.size = kSize;
  header.id[0] = 1;
  return header;
}

void ExpectRefused(int fd, const std::string& words) {
  const absl::StatusOr<DomainHeader> header = ReadDomainHeader(fd);
  EXPECT_EQ(header.status().code(), absl::StatusCode::kDataLoss) << words;
  EXPECT_THAT(std::string(header.status().message()), HasSubstr(words));
}

// ---- Making one ----------------------------------------------------------------

TEST(DomainFileTest, LiesInTheWindowSealedForItsOwnerOnly) {
  const absl::StatusOr<DomainMapping> made = MakeDomainFile(kSize, 4096);
  ASSERT_TRUE(made.ok()) << made.status();
  const auto base = reinterpret_cast<uint64_t>(made->base);
  EXPECT_GE(base, kWindowBegin);
  EXPECT_LE(base + made->size, kWindowEnd);
  EXPECT_EQ(made->size, kSize);
  struct stat file;
  ASSERT_EQ(fstat(made->fd, &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0600u);
  EXPECT_EQ(file.st_size, static_cast<off_t>(kSize));
  EXPECT_EQ(file.st_blocks, 0) << "nothing is committed yet";
  EXPECT_EQ(fcntl(made->fd, F_GET_SEALS) & kSeals, kSeals);
  EXPECT_NE(fcntl(made->fd, F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(ftruncate(made->fd, 0), 0);
  EXPECT_NE(ftruncate(made->fd, 2 * kSize), 0);
  munmap(made->base, made->size);
  close(made->fd);
}

TEST(DomainFileTest, TakesAnotherBaseWhereTheFirstIsTaken) {
  std::vector<DomainMapping> all;
  uint64_t last = 0;
  for (int i = 0; i < 16; ++i) {
    const absl::StatusOr<DomainMapping> made = MakeDomainFile(kSize, 4096);
    ASSERT_TRUE(made.ok()) << made.status();
    const auto base = reinterpret_cast<uint64_t>(made->base);
    EXPECT_GT(base, last);
    EXPECT_LE(base + kSize, kWindowEnd);
    last = base;
    all.push_back(*made);
  }
  const absl::StatusOr<DomainMapping> one_more = MakeDomainFile(kSize, 4096);
  EXPECT_EQ(one_more.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(one_more.status().message()), HasSubstr("mmap"));
  for (const DomainMapping& mapping : all) {
    munmap(mapping.base, mapping.size);
    close(mapping.fd);
  }
}

TEST(DomainFileTest, TheLargestReserveFillsTheWindow) {
  if (testing::kSanitized) GTEST_SKIP() << "a sanitizer may have memory of its own there";
  const absl::StatusOr<DomainMapping> made = MakeDomainFile(LargestReserve(), 4096);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(reinterpret_cast<uint64_t>(made->base), kWindowBegin);
  EXPECT_EQ(made->size, kWindowEnd - kWindowBegin);
  munmap(made->base, made->size);
  close(made->fd);
}

// ---- Reading one that somebody hands us -----------------------------------------

TEST(DomainFileTest, ReadsAHeaderThatIsGood) {
  File file;
  file.Write(Good());
  const absl::StatusOr<DomainHeader> header = ReadDomainHeader(file.fd());
  ASSERT_TRUE(header.ok()) << header.status();
  const DomainHeader good = Good();
  EXPECT_EQ(memcmp(&*header, &good, sizeof(good)), 0);
}

TEST(DomainFileTest, RefusesADescriptorThatIsClosed) {
  const int fd = dup(0);
  close(fd);
  ExpectRefused(fd, "no such descriptor");
  ExpectRefused(-1, "no such descriptor");
}

TEST(DomainFileTest, RefusesWhatIsNoMemfd) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  ExpectRefused(pipe_ends[0], "not sealed");
  close(pipe_ends[0]);
  close(pipe_ends[1]);
  const int plain = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  ExpectRefused(plain, "not sealed");
  close(plain);
}

TEST(DomainFileTest, RefusesAFileThatSomebodyCouldShrinkOrGrow) {
  for (const int seals :
       {0, F_SEAL_SHRINK | F_SEAL_GROW, F_SEAL_SHRINK | F_SEAL_SEAL, F_SEAL_GROW | F_SEAL_SEAL}) {
    File file(kSize, seals);
    file.Write(Good());
    ExpectRefused(file.fd(), "not sealed");
  }
}

TEST(DomainFileTest, RefusesAFileThatIsTooShort) {
  for (const size_t size : {size_t{0}, size_t{1}, sizeof(DomainHeader) - 1}) {
    const File file(size);
    ExpectRefused(file.fd(), "shorter than its header");
  }
}

TEST(DomainFileTest, RefusesAFileOfZeros) { ExpectRefused(File().fd(), "another magic number"); }

TEST(DomainFileTest, RefusesAnotherVersion) {
  for (const uint64_t layout : {DomainHeader::kLayout - 1, DomainHeader::kLayout + 1}) {
    DomainHeader header = Good();
    header.layout = layout;
    File file;
    ExpectRefused(file.Write(header).fd(), "another version");
  }
}

TEST(DomainFileTest, RefusesASizeThatIsNotTheFiles) {
  for (const uint64_t size : {uint64_t{0}, kSize - 4096, kSize + 4096, ~uint64_t{0}}) {
    DomainHeader header = Good();
    header.size = size;
    File file;
    ExpectRefused(file.Write(header).fd(), "another size");
  }
}

TEST(DomainFileTest, RefusesABaseOutsideOfTheWindow) {
  for (const uint64_t base : {uint64_t{0}, uint64_t{4096}, kWindowBegin - 4096, kWindowBegin + 1,
                              kWindowEnd - kSize + 4096, kWindowEnd, ~uint64_t{0} - 4095}) {
    DomainHeader header = Good();
    header.base = base;
    File file;
    ExpectRefused(file.Write(header).fd(), "outside the window");
  }
  DomainHeader header = Good();
  header.base = kWindowEnd - kSize;
  File file;
  EXPECT_TRUE(ReadDomainHeader(file.Write(header).fd()).ok());
}

TEST(DomainFileTest, RefusesRandomBytes) {
  std::mt19937_64 random(testing::Seed(1));
  for (int i = 0; i < 200; ++i) {
    DomainHeader header;
    for (size_t at = 0; at < sizeof(header); at += 8) {
      const uint64_t word = random();
      memcpy(reinterpret_cast<char*>(&header) + at, &word, 8);
    }
    File file;
    EXPECT_EQ(ReadDomainHeader(file.Write(header).fd()).status().code(),
              absl::StatusCode::kDataLoss);
  }
}

TEST(DomainFileTest, NeverTakesAHeaderWithOneBitOfItsFixedPartWrong) {
  // The id may be anything; a base a few pages further on is as good as the first.
  for (size_t bit = 0; bit < 8 * offsetof(DomainHeader, id); ++bit) {
    DomainHeader header = Good();
    reinterpret_cast<unsigned char*>(&header)[bit / 8] ^=
        static_cast<unsigned char>(1 << (bit % 8));
    const bool other_base = header.base != Good().base && header.base % 4096 == 0 &&
                            header.base >= kWindowBegin && header.base <= kWindowEnd - kSize;
    File file;
    EXPECT_EQ(ReadDomainHeader(file.Write(header).fd()).ok(), other_base) << "bit " << bit;
  }
}

}  // namespace
}  // namespace mp::internal
