// Snapshots of a domain through its file, of one that was overwritten, and what they cost.

#include "shared/internal/snapshot.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/allocator.h"
#include "shared/domain.h"
#include "shared/inspect.h"
#include "shared/internal/atomic.h"
#include "shared/internal/domain_file.h"
#include "shared/internal/domain_memory.h"
#include "shared/internal/domain_of.h"
#include "shared/internal/object.h"
#include "shared/internal/page_heap.h"
#include "shared/internal/process_table.h"
#include "shared/internal/proof_of_death.h"
#include "shared/internal/slab.h"
#include "shared/owner.h"
#include "shared/raw_array.h"
#include "shared/raw_value.h"
#include "shared/shared.h"
#include "tests/support/child.h"
#include "tests/support/settings.h"

namespace mp::internal {
namespace {

using ::mp::testing::Child;
using ::mp::testing::Seed;
using ::mp::testing::Steps;
using ::mp::testing::Stress;
using Numbers = std::vector<int, Allocator<int>>;

constexpr size_t kReserve = size_t{4} << 20;
constexpr size_t kPage = 4096;

// Small, so that all of it can be copied.
Domain& SmallDomain() {
  if (Domain::Current() == nullptr) {
    EXPECT_EQ(ConfigureDomain({.reserve = kReserve}), absl::OkStatus());
  }
  return **Domain::Get();
}

// The file of this process's domain, opened as from outside.
class File {
 public:
  File() : fd_(OpenDomainOf(getpid()).value_or(-1)) { EXPECT_GE(fd_, 0); }
  ~File() { close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int fd() const { return fd_; }
  DomainHeader Header() const { return *ReadDomainHeader(fd_); }
  Snapshot Take(std::optional<Evidence> evidence = Evidence::kThorough) const {
    return TakeSnapshot(DomainMemory::OfFile(fd_, Header()), evidence);
  }
  blkcnt_t Blocks() const {
    struct stat file;
    EXPECT_EQ(fstat(fd_, &file), 0);
    return file.st_blocks;
  }

 private:
  int fd_;
};

// Something of everything.
struct Family {
  Family() {
    for (int i = 0; i < 50; ++i) {
      values.emplace_back(i, RawValueOptions{.name = "value " + std::to_string(i)});
      numbers.emplace_back(static_cast<size_t>(i * 100));
    }
    for (int i = 0; i < 10; ++i) arrays.emplace_back(size_t{20'000});
    arrays.erase(arrays.begin() + 3, arrays.begin() + 6);
  }
  std::vector<RawValue<int>> values;
  std::vector<Shared<Numbers>> numbers;
  std::vector<RawArray<char>> arrays;
};

bool Same(const ObjectInfo& a, const ObjectInfo& b) {
  return a.type == b.type && a.name == b.name && a.address == b.address &&
         a.maker_pid == b.maker_pid && a.maker == b.maker && a.bytes == b.bytes &&
         a.handles == b.handles && a.stakes == b.stakes && a.holders == b.holders &&
         a.acquired_by == b.acquired_by && a.sleepers == b.sleepers;
}

TEST(SnapshotTest, TheFileSaysWhatTheMemorySays) {
  SmallDomain();
  const Family family;
  const File file;
  const Snapshot snapshot = file.Take();
  const std::vector<ObjectInfo> objects = ListObjects();
  ASSERT_EQ(snapshot.objects.size(), objects.size());
  EXPECT_EQ(objects.size(), 107u);
  for (size_t i = 0; i < objects.size(); ++i) EXPECT_TRUE(Same(snapshot.objects[i], objects[i]));
  const DomainStats stats = Stats();
  EXPECT_EQ(snapshot.in_use, stats.in_use);
  EXPECT_EQ(snapshot.commit_limit, stats.commit_limit);
  EXPECT_GE(snapshot.committed, snapshot.in_use);
  EXPECT_LT(snapshot.committed, stats.committed);
  EXPECT_EQ(snapshot.blocks, (*Domain::Get())->heap().Stats().blocks);
}

TEST(SnapshotTest, TellsOfProcesses) {
  Domain& domain = SmallDomain();
  domain.TellName("first", /*daemon=*/false);
  Child child([&](Steps& step) {
    domain.TellName("second", /*daemon=*/true);
    step("told");
  });
  ASSERT_TRUE(child.RunTo("told"));
  const File file;
  Snapshot snapshot = file.Take();
  ASSERT_EQ(snapshot.processes.size(), 2u);
  const ProcessTable::Entry* self = snapshot.Find(domain.ThisProcess().identity());
  ASSERT_NE(self, nullptr);
  EXPECT_EQ(self->pid, getpid());
  EXPECT_EQ(self->name, "first");
  EXPECT_EQ(self->kind, ProcessTable::Kind::kLive);
  const ProcessTable::Entry& other = snapshot.processes[self == snapshot.processes.data() ? 1 : 0];
  EXPECT_EQ(other.pid, child.pid());
  EXPECT_EQ(other.parent, self->id);
  EXPECT_EQ(other.name, "second");
  EXPECT_EQ(other.flags & ProcessTable::kDaemon, ProcessTable::kDaemon);
  EXPECT_EQ(snapshot.Find(other.id), &other);
  EXPECT_EQ(snapshot.Find(0), nullptr);

  const ProcessId id = other.id;
  child.Kill();
  EXPECT_EQ(file.Take(Evidence::kQuick).Find(id)->kind, ProcessTable::Kind::kDead);
  EXPECT_EQ(file.Take(std::nullopt).Find(id)->kind, ProcessTable::Kind::kLive)
      << "as far as the domain knows";
  domain.Bury(id);
  EXPECT_EQ(file.Take().Find(id), nullptr);
}

TEST(SnapshotTest, ALookFromOutsideGivesNoMemoryToPagesThatHaveNone) {
  Domain& domain = SmallDomain();
  const Family family;
  // Holes in the pages and in their table.
  void* const block = *domain.Allocate(kReserve / 8);
  domain.Free(block);
  const File file;
  const blkcnt_t before = file.Blocks();
  EXPECT_FALSE(file.Take().objects.empty());
  EXPECT_EQ(file.Blocks(), before);
  EXPECT_FALSE(ListObjects().empty());
  EXPECT_EQ(file.Blocks(), before) << "through the mapping";
}

TEST(DomainMemoryTest, ReadsNothingThatLiesOutside) {
  Domain& domain = SmallDomain();
  const File file;
  const uint64_t base = domain.header().base;
  char bytes[16];
  for (const DomainMemory& memory : {DomainMemory::OfFile(file.fd(), domain.header()),
                                     DomainMemory::At(&domain, domain.header())}) {
    EXPECT_TRUE(memory.Read(base, bytes, sizeof(bytes)));
    EXPECT_EQ(std::memcmp(bytes, &domain, sizeof(bytes)), 0);
    EXPECT_TRUE(memory.Read(base + 3, bytes, 5));
    EXPECT_EQ(std::memcmp(bytes, reinterpret_cast<const char*>(&domain) + 3, 5), 0);
    EXPECT_TRUE(memory.Read(base + kReserve - 16, bytes, 16));
    EXPECT_FALSE(memory.Read(base + kReserve - 15, bytes, 16));
    EXPECT_FALSE(memory.Read(base + kReserve, bytes, 1));
    EXPECT_FALSE(memory.Read(base - 1, bytes, 1));
    EXPECT_FALSE(memory.Read(base - 1, bytes, 2));
    EXPECT_FALSE(memory.Read(0, bytes, 1));
    EXPECT_FALSE(memory.Read(~uint64_t{0}, bytes, 16));
    EXPECT_FALSE(memory.Read(base, bytes, ~size_t{0}));
    EXPECT_FALSE(memory.Read(base + 1, bytes, ~size_t{0}));
  }
}

TEST(DomainMemoryTest, ReadingAFileGivesItNoMemory) {
  const int fd = memfd_create("holes", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(fd, kReserve), 0);
  ASSERT_EQ(pwrite(fd, "here", 4, kReserve / 2), 4);
  DomainHeader header = {};
  header.base = 0x550000000000;
  header.size = kReserve;
  const DomainMemory memory = DomainMemory::OfFile(fd, header);
  for (size_t at = 0; at < kReserve; at += kPage) {
    uint64_t word;
    EXPECT_TRUE(memory.Read(header.base + at, &word, sizeof(word)));
    EXPECT_EQ(word != 0, at == kReserve / 2);
  }
  struct stat file;
  ASSERT_EQ(fstat(fd, &file), 0);
  EXPECT_EQ(file.st_blocks, static_cast<blkcnt_t>(kPage / 512));
  close(fd);
}

// A copy of a domain, between pages that nobody may touch.
class DomainCopy {
 public:
  explicit DomainCopy(const Domain& domain) : domain_(domain) {
    void* const mapped = mmap(nullptr, kReserve + 2 * kPage, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) abort();
    bytes_ = static_cast<std::byte*>(mapped) + kPage;
    mprotect(mapped, kPage, PROT_NONE);
    mprotect(bytes_ + kReserve, kPage, PROT_NONE);
    Restore();
  }
  ~DomainCopy() { munmap(bytes_ - kPage, kReserve + 2 * kPage); }
  DomainCopy(const DomainCopy&) = delete;
  DomainCopy& operator=(const DomainCopy&) = delete;

  void Restore() { std::memcpy(bytes_, &domain_, kReserve); }
  const DomainHeader& header() const { return domain_.header(); }
  std::byte* bytes() { return bytes_; }
  // Where it has what stands at `address` of the domain.
  std::byte* At(uint64_t address) { return bytes_ + (address - header().base); }
  Word& WordAt(uint64_t address) { return *reinterpret_cast<Word*>(At(address)); }
  Snapshot Take(std::optional<Evidence> evidence = std::nullopt) const {
    return TakeSnapshot(DomainMemory::At(bytes_, header()), evidence);
  }

 private:
  const Domain& domain_;
  std::byte* bytes_;
};

// A commit is applied word by word: at times a span has ended and the next has not begun.
TEST(SnapshotTest, SpansWithoutABeginningHideNoObject) {
  Domain& domain = SmallDomain();
  const Family family;
  DomainCopy copy(domain);
  const PageHeap::Place heap = domain.heap().GetPlace();
  const Snapshot whole = copy.Take();
  int tried = 0;
  for (uint32_t page = 1; page <= heap.high_water; ++page) {
    const uint64_t entry = heap.table + page * sizeof(PageHeap::Entry);
    const PageHeap::Span span = PageHeap::SpanAt(page, copy.WordAt(entry), 0);
    const uint64_t begin = heap.pages + page * kPage;
    if (span.kind == PageHeap::Kind::kNone ||
        std::any_of(whole.objects.begin(), whole.objects.end(), [&](const ObjectInfo& object) {
          return object.address - begin < span.length * kPage;
        })) {
      continue;
    }
    copy.WordAt(entry) = 0;
    EXPECT_EQ(copy.Take().objects.size(), whole.objects.size()) << page;
    // And what stands where nothing was ever written is not believed.
    for (uint32_t past = static_cast<uint32_t>(heap.high_water) + 1; past < heap.page_count;
         ++past) {
      copy.WordAt(heap.table + past * sizeof(PageHeap::Entry)) = PageHeap::UsedTag(1);
    }
    EXPECT_LE(copy.Take().in_use, whole.in_use) << page;
    copy.Restore();
    ++tried;
  }
  EXPECT_GT(tried, 10);
}

// An object is dropped, and the memory of its name has come to be another's, between the
// look at its cell and the look at its name: whose page is not there until somebody looks.
struct Meanwhile {
  std::byte* page = nullptr;
  Word* word = nullptr;
  uint64_t value = 0;
  int times = 0;
};
Meanwhile meanwhile;

void OnLook(int /*signal*/, siginfo_t* info, void* /*context*/) {
  const auto* address = static_cast<std::byte*>(info->si_addr);
  if (address < meanwhile.page || address >= meanwhile.page + kPage) _exit(100);
  mprotect(meanwhile.page, kPage, PROT_READ | PROT_WRITE);
  std::memset(meanwhile.page, '!', 10);
  *meanwhile.word = meanwhile.value;
  ++meanwhile.times;
}

TEST(SnapshotTest, AnObjectThatIsDroppedMeanwhileIsNotToldOf) {
  Domain& domain = SmallDomain();
  // A name that has its pages to itself.
  const RawValue<int> value(0, {.name = std::string(10'000, 'n')});
  const uint64_t cell = reinterpret_cast<uint64_t>(domain.heap().Find(value.Raw()).address);
  const uint64_t name = reinterpret_cast<const ObjectHeader*>(cell)->name;
  DomainCopy copy(domain);
  // Where the word stands that says whose the cell is: early in its slab.
  const PageHeap::Place heap = domain.heap().GetPlace();
  auto page = static_cast<uint32_t>((cell - heap.pages) / kPage);
  const auto begins_slab = [&] {
    const uint64_t tag = copy.WordAt(heap.table + page * sizeof(PageHeap::Entry));
    return PageHeap::SpanAt(page, tag, 0).kind == PageHeap::Kind::kSlab;
  };
  while (!begins_slab()) --page;
  uint64_t owner = heap.pages + page * kPage;
  while (copy.WordAt(owner) != Owner::Object(reinterpret_cast<void*>(cell)).word()) {
    owner += sizeof(Word);
  }
  struct sigaction on_look = {};
  on_look.sa_sigaction = &OnLook;
  on_look.sa_flags = SA_SIGINFO;
  struct sigaction before;
  ASSERT_EQ(sigaction(SIGSEGV, &on_look, &before), 0);
  const uint64_t state = copy.WordAt(cell);
  const struct {
    uint64_t word;
    uint64_t value;
    size_t told_of;
  } cases[] = {
      {cell, state, 1},  // nothing changes
      {owner, domain.ThisProcess().word(), 0},
      {owner, 0, 0},
      {cell, state + (1 << ObjectHeader::kTypeBits), 0},  // another object has the cell
      {cell, 0, 0},
  };
  for (const auto& [word, new_value, told_of] : cases) {
    copy.Restore();
    meanwhile = {.page = copy.At(name), .word = &copy.WordAt(word), .value = new_value};
    ASSERT_EQ(mprotect(meanwhile.page, kPage, PROT_NONE), 0);
    EXPECT_EQ(copy.Take().objects.size(), told_of);
    EXPECT_EQ(meanwhile.times, 1);
  }
  sigaction(SIGSEGV, &before, nullptr);
}

class Overwritten {
 public:
  Overwritten(const Domain& domain, uint64_t seed)
      : domain_(domain), header_(domain.header()), copy_(domain), random_(seed) {
    bytes_ = copy_.bytes();
    file_ = memfd_create("overwritten", MFD_CLOEXEC);
    EXPECT_EQ(ftruncate(file_, kReserve), 0);
  }
  ~Overwritten() { close(file_); }
  Overwritten(const Overwritten&) = delete;
  Overwritten& operator=(const Overwritten&) = delete;

  // As it was, with `kind` of damage.
  void Damage(int kind) {
    copy_.Restore();
    switch (kind % 5) {
      case 0:  // all of it
        Randomize(0, kReserve);
        break;
      case 1:  // pieces
        for (int i = 0; i < 20; ++i) Randomize(At(kReserve), At(kPage));
        break;
      case 2:  // words that could be true, where there are some
        for (int i = 0; i < 20'000; ++i) SetWord(At(kReserve));
        break;
      case 3:  // the same, where most is decided: the header, the heap, the page table
        for (int i = 0; i < 200; ++i) SetWord(At(kPage));
        for (int i = 0; i < 2000; ++i) SetWord(HeapOffset() + At(32 * kPage));
        break;
      default: {  // one word, everywhere
        const uint64_t word = Plausible();
        for (size_t at = sizeof(DomainHeader); at < kReserve; at += sizeof(word)) {
          std::memcpy(bytes_ + at, &word, sizeof(word));
        }
        // Often so that the way to it is left.
        if (random_() % 2 == 0) std::memcpy(bytes_, &domain_, HeapOffset() + kPage);
      }
    }
    EXPECT_EQ(pwrite(file_, bytes_, kReserve, 0), static_cast<ssize_t>(kReserve));
  }

  void ExpectALook(std::optional<Evidence> evidence) const {
    const Snapshot snapshot = copy_.Take(evidence);
    EXPECT_LE(snapshot.objects.size(), kReserve / 32);
    EXPECT_LE(snapshot.processes.size(), size_t{ProcessTable::kMostSlots});
    for (const ObjectInfo& object : snapshot.objects) {
      EXPECT_TRUE(object.address >= header_.base && object.address < header_.base + kReserve);
      EXPECT_LE(object.name.size(), Snapshot::kLongestName);
      EXPECT_FALSE(object.type.empty());
    }
    EXPECT_TRUE(std::is_sorted(
        snapshot.objects.begin(), snapshot.objects.end(),
        [](const ObjectInfo& a, const ObjectInfo& b) { return a.address <= b.address; }));
    const Snapshot of_file = TakeSnapshot(DomainMemory::OfFile(file_, header_), evidence);
    EXPECT_EQ(of_file.objects.size(), snapshot.objects.size());
    EXPECT_EQ(of_file.processes.size(), snapshot.processes.size());
    EXPECT_EQ(of_file.in_use, snapshot.in_use);
    seen_ += snapshot.objects.size();
  }
  // How many objects all looks have shown: that the damage did not hide everything.
  size_t seen() const { return seen_; }

 private:
  size_t HeapOffset() const {
    return reinterpret_cast<uint64_t>(&const_cast<Domain&>(domain_).heap()) - header_.base;
  }
  size_t At(size_t size) { return random_() % size; }
  void Randomize(size_t begin, size_t size) {
    for (size_t at = begin; at < std::min(begin + size, kReserve); ++at) {
      bytes_[at] = static_cast<std::byte>(random_());
    }
  }
  void SetWord(size_t at) {
    const uint64_t word = Plausible();
    std::memcpy(bytes_ + at / sizeof(word) * sizeof(word), &word, sizeof(word));
  }
  uint64_t Plausible() {
    const uint64_t address = header_.base + At(kReserve);
    switch (random_() % 9) {
      case 0:
        return At(kReserve / kPage + 2);
      case 1:
        return address;
      case 2:
        return header_.base + kReserve - At(64);
      case 3:
        return PageHeap::SlabTag(random_() % 4 == 0 ? static_cast<uint32_t>(random_()) : 16);
      case 4:
        return PageHeap::UsedTag(static_cast<uint32_t>(random_() % 2 == 0 ? random_() : At(40)));
      case 5:
        return Owner::Object(reinterpret_cast<const void*>(address / 16 * 16)).word();
      case 6:
        return ~uint64_t{0} - At(4096);
      case 7:
        return random_() << (random_() % 64);
      default: {
        uint64_t other;
        std::memcpy(&other, bytes_ + At(kReserve - sizeof(other)) / 8 * 8, sizeof(other));
        return other;
      }
    }
  }

  const Domain& domain_;
  const DomainHeader header_;
  DomainCopy copy_;
  std::mt19937_64 random_;
  std::byte* bytes_;
  int file_;
  mutable size_t seen_ = 0;
};

TEST(SnapshotTest, OverwrittenDomainsAreLookedAtWithoutACrash) {
  const Domain& domain = SmallDomain();
  const Family family;
  const uint64_t seed = Seed(20'260'713);
  SCOPED_TRACE("MP_SEED=" + std::to_string(seed));
  Overwritten overwritten(domain, seed);
  const int rounds = Stress() ? 5000 : 100;
  for (int i = 0; i < rounds && !::testing::Test::HasFailure(); ++i) {
    overwritten.Damage(i);
    overwritten.ExpectALook(std::nullopt);
    // Of pids that are none, too; in the end each would be asked of /proc.
    if (i % 20 < 5) overwritten.ExpectALook(Evidence::kQuick);
  }
  EXPECT_GT(overwritten.seen(), static_cast<size_t>(rounds) / 2);
}

}  // namespace
}  // namespace mp::internal
