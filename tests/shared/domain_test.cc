// Each test makes its domains in children: a process has one at most, and this one none.

#include "shared/domain.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shared/heap.h"
#include "shared/internal/domain_file.h"
#include "shared/internal/memory_limit.h"
#include "tests/shared/test_heap.h"
#include "tests/support/child.h"
#include "tests/support/fork.h"
#include "tests/support/gate.h"
#include "tests/support/inherited.h"
#include "tests/support/settings.h"

namespace mp::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// The domain of this process, or the test ends.
Domain& Get() {
  const absl::StatusOr<Domain*> domain = Domain::Get();
  if (!domain.ok()) {
    ADD_FAILURE() << domain.status();
    _exit(1);
  }
  return **domain;
}

void ExpectInChild(const std::function<void()>& body) {
  Child child(body);
  EXPECT_EQ(child.Finish(), 0);
}

std::vector<int> DomainDescriptors() {
  std::vector<int> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = std::filesystem::read_symlink(entry.path(), error).string();
    if (target.starts_with("/memfd:mp-domain")) {
      found.push_back(std::stoi(entry.path().filename().string()));
    }
  }
  return found;
}

struct Id {
  uint64_t words[2];
  friend bool operator==(const Id&, const Id&) = default;
};
Id IdOf(const Domain& domain) { return {{domain.header().id[0], domain.header().id[1]}}; }

// ---- What it is ----------------------------------------------------------------

TEST(DomainTest, ThisTestHasNoneUntilItIsAsked) {
  EXPECT_EQ(Domain::Current(), nullptr);
  ExpectInChild([] {
    EXPECT_EQ(Domain::Current(), nullptr);
    Domain& domain = Get();
    EXPECT_EQ(Domain::Current(), &domain);
    EXPECT_EQ(&Get(), &domain);
  });
}

TEST(DomainTest, LiesInTheWindowWithItsHeader) {
  ExpectInChild([] {
    const Domain& domain = Get();
    const auto base = reinterpret_cast<uint64_t>(&domain);
    EXPECT_GE(base, 0x550000000000u);
    EXPECT_LE(base + domain.header().size, 0x555500000000u);
    EXPECT_EQ(domain.header().base, base);
    EXPECT_EQ(domain.header().size, size_t{64} << 30);
    EXPECT_NE(IdOf(domain), (Id{{0, 0}}));
    ASSERT_THAT(DomainDescriptors(), SizeIs(1));
    const absl::StatusOr<internal::DomainHeader> header =
        internal::ReadDomainHeader(DomainDescriptors()[0]);
    ASSERT_TRUE(header.ok()) << header.status();
    EXPECT_EQ(memcmp(&*header, &domain.header(), sizeof(*header)), 0);
  });
}

TEST(DomainTest, ContainsItsBlocksAndNothingElse) {
  ExpectInChild([] {
    Domain& domain = Get();
    int local = 0;
    EXPECT_TRUE(domain.Contains(*domain.Allocate(100)));
    EXPECT_TRUE(domain.Contains(&domain));
    EXPECT_FALSE(domain.Contains(reinterpret_cast<char*>(&domain) - 1));
    EXPECT_FALSE(domain.Contains(reinterpret_cast<char*>(&domain) + domain.header().size));
    EXPECT_FALSE(domain.Contains(&local));
    EXPECT_FALSE(domain.Contains(nullptr));
  });
}

TEST(DomainTest, CommitsLessThanAMebibyteAtCreation) {
  ExpectInChild([] {
    Domain& domain = Get();
    struct stat file;
    ASSERT_EQ(fstat(DomainDescriptors()[0], &file), 0);
    EXPECT_LT(static_cast<size_t>(file.st_blocks) * 512, kMiB);
    EXPECT_EQ(domain.heap().Stats().committed, 0u);
    EXPECT_EQ(domain.heap().Check(), absl::OkStatus());
  });
}

TEST(DomainTest, MemoryThatIsFreedGoesBackToTheKernel) {
  ExpectInChild([] {
    Domain& domain = Get();
    struct stat file;
    const int fd = DomainDescriptors()[0];
    constexpr size_t kSize = 64 * kMiB;
    void* block = *domain.Allocate(kSize);
    ASSERT_EQ(fstat(fd, &file), 0);
    EXPECT_GE(static_cast<size_t>(file.st_blocks) * 512, kSize);
    domain.Free(block);
    ASSERT_EQ(fstat(fd, &file), 0);
    EXPECT_LT(static_cast<size_t>(file.st_blocks) * 512, 2 * kMiB);
  });
}

TEST(DomainTest, IsForThisUserOnlyAndSealed) {
  ExpectInChild([] {
    Get();
    ASSERT_THAT(DomainDescriptors(), SizeIs(1));
    const int fd = DomainDescriptors()[0];
    struct stat file;
    ASSERT_EQ(fstat(fd, &file), 0);
    EXPECT_EQ(file.st_mode & 0777, 0600u);
    EXPECT_NE(ftruncate(fd, 0), 0);
    EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    EXPECT_EQ(fcntl(fd, F_GET_SEALS) & kSeals, kSeals);
  });
}

TEST(DomainTest, IsNotDumped) {
  ExpectInChild([] {
    Get();
    std::ifstream maps("/proc/self/smaps");
    bool inside = false;
    std::string flags;
    for (std::string line; std::getline(maps, line);) {
      if (line.find("/memfd:mp-domain") != std::string::npos) inside = true;
      if (inside && line.starts_with("VmFlags:")) {
        flags = line + " ";
        inside = false;
      }
    }
    EXPECT_THAT(flags, HasSubstr(" dd "));
  });
}

// ---- Who shares it -------------------------------------------------------------

TEST(DomainTest, ThreadsThatRaceGetOne) {
  for (int round = 0; round < 5; ++round) {
    ExpectInChild([] {
      constexpr int kThreads = 8;
      std::atomic<int> ready = 0;
      std::vector<Domain*> domains(kThreads);
      std::vector<uint64_t> processes(kThreads);
      std::vector<std::thread> threads;
      for (int i = 0; i < kThreads; ++i) {
        threads.emplace_back([&, i] {
          ++ready;
          while (ready < kThreads) std::this_thread::yield();
          domains[i] = &Get();
          processes[i] = domains[i]->ThisProcess().identity();
        });
      }
      for (std::thread& thread : threads) thread.join();
      EXPECT_EQ(std::set<Domain*>(domains.begin(), domains.end()).size(), 1u);
      EXPECT_EQ(std::set<uint64_t>(processes.begin(), processes.end()).size(), 1u);
      EXPECT_THAT(DomainDescriptors(), SizeIs(1));
    });
  }
}

TEST(DomainTest, ForksThatRaceWithItsMakingAreMembersOrFamiliesOfTheirOwn) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's allocator may stay locked in a fork's child";
  constexpr int kForks = 10;
  Inherited<std::atomic<int>> members;
  Inherited<std::atomic<int>> strangers;
  for (int round = 0; round < 5; ++round) {
    ExpectInChild([&] {
      std::atomic<int> forks = 0;
      std::vector<std::thread> threads;
      for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&, i] {
          while (forks < i) std::this_thread::yield();
          Get();
        });
      }
      Inherited<std::array<Id, kForks>> ids;
      std::vector<pid_t> children;
      for (int i = 0; i < kForks; ++i) {
        children.push_back(ForkMortal([&, i] {
          // Neither hangs in a lock that was taken when it was forked, nor finds half
          // of a domain.
          Domain& domain = Get();
          const absl::StatusOr<void*> block = domain.Allocate(1000);
          if (!block.ok()) _exit(2);
          domain.Free(*block);
          if (!domain.heap().Check().ok()) _exit(3);
          (*ids)[i] = IdOf(domain);
        }));
        ++forks;
      }
      for (const pid_t child : children) {
        int status = 0;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        EXPECT_EQ(status, 0);
      }
      for (std::thread& thread : threads) thread.join();
      for (const Id& id : *ids) {
        if (id == IdOf(Get())) {
          ++*members;
        } else {
          ++*strangers;
          int with_this_id = 0;
          for (const Id& other : *ids) with_this_id += other == id;
          EXPECT_EQ(with_this_id, 1) << "two families have one id";
        }
      }
    });
  }
  EXPECT_EQ(*members + *strangers, 5 * kForks);
}

TEST(DomainTest, AChildIsAMember) {
  ExpectInChild([] {
    Domain& domain = Get();
    auto* number = static_cast<std::atomic<int>*>(*domain.Allocate(sizeof(std::atomic<int>)));
    number->store(1);
    int* from_child = nullptr;
    Inherited<int*> made;
    Child child([&] {
      EXPECT_EQ(&Get(), &domain);
      number->store(2);
      *made = static_cast<int*>(*Get().Allocate(sizeof(int)));
      **made = 42;
      return 0;
    });
    EXPECT_EQ(child.Finish(), 0);
    EXPECT_EQ(number->load(), 2);
    from_child = *made;
    EXPECT_EQ(*from_child, 42);
    EXPECT_NE(domain.heap().Find(from_child).owner, domain.ThisProcess());
    domain.Free(from_child);
    domain.Free(number);
    EXPECT_EQ(domain.heap().Stats().blocks, 0u);
  });
}

TEST(DomainTest, ProcessesForkedBeforeThereIsOneAreFamiliesOfTheirOwn) {
  Inherited<std::array<Id, 2>> ids;
  Inherited<Gate> both;
  std::vector<std::unique_ptr<Child>> siblings;
  for (int i = 0; i < 2; ++i) {
    siblings.push_back(std::make_unique<Child>([&, i](Steps& step) {
      Domain& domain = Get();
      (*ids)[i] = IdOf(domain);
      auto* number = static_cast<int*>(*domain.Allocate(sizeof(int)));
      *number = i;
      step("made");
      EXPECT_EQ(*number, i) << "another family wrote here";
    }));
  }
  for (auto& sibling : siblings) ASSERT_TRUE(sibling->RunTo("made"));
  for (auto& sibling : siblings) EXPECT_EQ(sibling->Finish(), 0);
  EXPECT_NE((*ids)[0], (*ids)[1]);
}

TEST(DomainTest, EachProcessIsAnotherOwner) {
  ExpectInChild([] {
    Domain& domain = Get();
    std::set<uint64_t> owners = {domain.ThisProcess().identity()};
    EXPECT_EQ(domain.ThisProcess().kind(), Owner::Kind::kProcess);
    Inherited<std::array<uint64_t, 2>> seen;
    for (int i = 0; i < 3; ++i) {
      Child child([&] {
        (*seen)[0] = Get().ThisProcess().identity();
        const uint32_t generation = internal::ForkGeneration();
        Child grandchild([&] {
          (*seen)[1] = Get().ThisProcess().identity();
          EXPECT_EQ(internal::ForkGeneration(), generation + 1);
        });
        return grandchild.Finish();
      });
      EXPECT_EQ(child.Finish(), 0);
      EXPECT_TRUE(owners.insert((*seen)[0]).second) << "an id was given away twice";
      EXPECT_TRUE(owners.insert((*seen)[1]).second) << "an id was given away twice";
    }
    EXPECT_TRUE(owners.contains(domain.ThisProcess().identity()));
  });
}

TEST(DomainTest, OutlivesTheProcessThatMadeIt) {
  // What a child that lives on sees after its parent was killed.
  Inherited<std::atomic<int>> result;
  Inherited<Gate> gone;
  Inherited<pid_t> orphan;
  Child maker([&](Steps& step) {
    auto* number = static_cast<int*>(*Get().Allocate(sizeof(int)));
    *number = 17;
    const pid_t pid = fork();  // not mortal: it has to outlive its parent
    if (pid == 0) {
      gone->Wait();
      const bool good =
          *number == 17 && Get().heap().Check().ok() && Get().Allocate(100 * kKiB).ok();
      result->store(good ? 1 : 2);
      _exit(0);
    }
    *orphan = pid;
    step("forked");
  });
  ASSERT_TRUE(maker.RunTo("forked"));
  maker.Kill();
  gone->Open();
  while (*result == 0 && kill(*orphan, 0) == 0) std::this_thread::yield();
  EXPECT_EQ(*result, 1);
}

// ---- Its descriptor ------------------------------------------------------------

TEST(DomainTest, GoesOnWhenTheProgramClosesAllDescriptors) {
  // Not a Child: that one needs a descriptor itself.
  const pid_t pid = ForkMortal([] {
    Domain& domain = Get();
    void* before = *domain.Allocate(100 * kKiB);
    Fill(before, 100 * kKiB, 1);
    if (close_range(3, ~0U, 0) != 0) _exit(10);
    if (!DomainDescriptors().empty()) _exit(11);
    for (int round = 0; round < 3; ++round) {
      std::vector<void*> blocks;
      for (const size_t size : {size_t{10}, size_t{8000}, 100 * kKiB, 32 * kMiB}) {
        const absl::StatusOr<void*> block = domain.Allocate(size);
        if (!block.ok()) _exit(12);
        Fill(*block, size, size);
        if (!IsFilled(*block, size, size)) _exit(13);
        blocks.push_back(*block);
      }
      for (void* block : blocks) domain.Free(block);
      // Shrinks, too.
      if (ResidentPages(blocks[3], 32 * kMiB) != 0) _exit(14);
    }
    if (!IsFilled(before, 100 * kKiB, 1)) _exit(15);
    if (!domain.heap().Check().ok()) _exit(16);
  });
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(WIFEXITED(status));
}

TEST(DomainTest, LeavesTheStandardStreamsAlone) {
  const pid_t pid = ForkMortal([] {
    for (const int fd : {0, 1, 2}) close(fd);
    const absl::StatusOr<Domain*> domain = Domain::Get();
    if (!domain.ok()) _exit(10);
    for (const int fd : {0, 1, 2}) {
      if (fcntl(fd, F_GETFD) != -1) _exit(11);
    }
    if (!(*domain)->Allocate(kMiB).ok()) _exit(12);
  });
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(WIFEXITED(status));
}

// ---- Options -------------------------------------------------------------------

TEST(DomainTest, TheReserveIsAnOption) {
  ExpectInChild([] {
    ASSERT_EQ(ConfigureDomain({.reserve = 256 * kMiB}), absl::OkStatus());
    EXPECT_EQ(Get().header().size, 256 * kMiB);
    EXPECT_FALSE(Get().Allocate(256 * kMiB).ok());
    EXPECT_TRUE(Get().Allocate(200 * kMiB).ok());
  });
}

TEST(DomainTest, TheLeastReserveIsEnoughForAFewBlocks) {
  ExpectInChild([] {
    ASSERT_EQ(ConfigureDomain({.reserve = Domain::kLeastReserve}), absl::OkStatus());
    Domain& domain = Get();
    EXPECT_TRUE(domain.Allocate(1).ok());
    EXPECT_TRUE(domain.Allocate(300 * kKiB).ok());
    EXPECT_EQ(domain.heap().Check(), absl::OkStatus());
  });
}

TEST(DomainTest, AReserveThatIsNoMultipleOfAPageIsRoundedDown) {
  ExpectInChild([] {
    ASSERT_EQ(ConfigureDomain({.reserve = 8 * kMiB + 1234}), absl::OkStatus());
    EXPECT_EQ(Get().header().size, 8 * kMiB);
    EXPECT_EQ(Get().heap().Check(), absl::OkStatus());
  });
}

TEST(DomainTest, TheCommitLimitIsAnOption) {
  ExpectInChild([] {
    ASSERT_EQ(ConfigureDomain({.commit_limit = 10 * kMiB}), absl::OkStatus());
    Domain& domain = Get();
    EXPECT_EQ(domain.heap().Stats().commit_limit, 10 * kMiB);
    const absl::Status status = domain.Allocate(11 * kMiB).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()), HasSubstr("MP_COMMIT_LIMIT"));
    EXPECT_TRUE(domain.Allocate(9 * kMiB).ok());
  });
}

TEST(DomainTest, TheCommitLimitIsAtMostThreeQuartersOfWhatThereIs) {
  ExpectInChild([] {
    ASSERT_EQ(ConfigureDomain({.commit_limit = ~size_t{0}}), absl::OkStatus());
    uint64_t memory = internal::MachineMemory();
    memory = std::min(memory, internal::CgroupMemoryLimit().value_or(memory));
    EXPECT_EQ(Get().heap().Stats().commit_limit, memory / 4 * 3 / 4096 * 4096);
  });
}

TEST(DomainTest, ReservesThatNoDomainCanHaveAreRefused) {
  ExpectInChild([] {
    for (const size_t reserve :
         {size_t{1}, Domain::kLeastReserve - 1, internal::LargestReserve() + 1, ~size_t{0}}) {
      EXPECT_EQ(ConfigureDomain({.reserve = reserve}).code(), absl::StatusCode::kInvalidArgument)
          << reserve;
    }
    EXPECT_EQ(Get().header().size, size_t{64} << 30) << "what was refused had an effect";
  });
}

TEST(DomainTest, OptionsThatComeTooLateAreRefused) {
  ExpectInChild([] {
    const Domain& domain = Get();
    EXPECT_EQ(ConfigureDomain({}).code(), absl::StatusCode::kFailedPrecondition);
    Child child([&] {
      EXPECT_EQ(ConfigureDomain({}).code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_EQ(&Get(), &domain);
    });
    EXPECT_EQ(child.Finish(), 0);
  });
}

TEST(DomainTest, TheEnvironmentSetsWhatTheOptionsLeaveOpen) {
  const struct {
    const char* text;
    size_t size;
  } kSizes[] = {{"4194304", 4 * kMiB},
                {"4096K", 4 * kMiB},
                {"16M", 16 * kMiB},
                {"1G", kGiB},
                {"", size_t{64} << 30}};
  for (const auto& [text, size] : kSizes) {
    ExpectInChild([&, text = text, size = size] {
      setenv("MP_RESERVE", text, 1);
      EXPECT_EQ(Get().header().size, size) << text;
    });
  }
  ExpectInChild([] {
    setenv("MP_COMMIT_LIMIT", "8M", 1);
    setenv("MP_RESERVE", "1G", 1);
    EXPECT_EQ(Get().heap().Stats().commit_limit, 8 * kMiB);
  });
  ExpectInChild([] {
    setenv("MP_RESERVE", "1G", 1);
    setenv("MP_COMMIT_LIMIT", "8M", 1);
    ASSERT_EQ(ConfigureDomain({.reserve = 2 * kGiB, .commit_limit = 12 * kMiB}), absl::OkStatus());
    EXPECT_EQ(Get().header().size, 2 * kGiB);
    EXPECT_EQ(Get().heap().Stats().commit_limit, 12 * kMiB);
  });
}

TEST(DomainTest, AnEnvironmentThatMakesNoSenseIsToldAndCanBeMended) {
  for (const char* variable : {"MP_RESERVE", "MP_COMMIT_LIMIT"}) {
    for (const char* text : {"x", "M", "-1", "0", "12Q", "1.5G", "G1", "1MB", "0x100000",
                             "99999999999999999999", "99999999999T"}) {
      ExpectInChild([&] {
        setenv(variable, text, 1);
        const absl::Status status = Domain::Get().status();
        EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
        EXPECT_THAT(std::string(status.message()), HasSubstr(std::string(variable) + "=" + text));
        EXPECT_EQ(Domain::Current(), nullptr);
        unsetenv(variable);
        EXPECT_EQ(Get().heap().Check(), absl::OkStatus());
      });
    }
  }
  // A size, but none that a domain can have.
  for (const char* text : {"1", "1000K", "341G", "16T"}) {
    ExpectInChild([&] {
      setenv("MP_RESERVE", text, 1);
      EXPECT_EQ(Domain::Get().status().code(), absl::StatusCode::kInvalidArgument) << text;
    });
  }
}

}  // namespace
}  // namespace mp::testing
