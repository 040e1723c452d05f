// How the domain of a process is found from outside.

#include "shared/internal/domain_of.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "shared/domain.h"
#include "shared/internal/domain_file.h"
#include "tests/support/child.h"
#include "tests/support/fork.h"
#include "tests/support/status_matchers.h"

namespace mp::internal {
namespace {

using ::mp::testing::Child;
using ::mp::testing::ForkMortal;
using ::mp::testing::KillAndReap;
using ::mp::testing::StatusIs;
using ::mp::testing::Steps;
using ::testing::HasSubstr;

// The random number of the domain of `pid`; 0 and a failure: none is found.
uint64_t IdOf(pid_t pid) {
  const absl::StatusOr<int> fd = OpenDomainOf(pid);
  EXPECT_TRUE(fd.ok()) << fd.status();
  if (!fd.ok()) return 0;
  EXPECT_EQ(fcntl(*fd, F_GETFL) & O_ACCMODE, O_RDONLY);
  const absl::StatusOr<DomainHeader> header = ReadDomainHeader(*fd);
  EXPECT_TRUE(header.ok()) << header.status();
  close(*fd);
  return header.ok() ? header->id[0] : 0;
}

uint64_t OwnId() { return (*Domain::Get())->header().id[0]; }

// All that lead to a domain.
void CloseDescriptorsOfDomain() {
  for (int fd = 3; fd < 1000; ++fd) {
    char name[100] = {};
    const std::string path = absl::StrCat("/proc/self/fd/", fd);
    if (readlink(path.c_str(), name, sizeof(name) - 1) > 0 &&
        std::string(name) == "/memfd:mp-domain (deleted)") {
      close(fd);
    }
  }
}

// First: its child is forked before there is a domain.
TEST(DomainOfTest, AProcessThatHasNoneIsToldFrom) {
  ASSERT_EQ(Domain::Current(), nullptr);
  Child child([](Steps& step) {
    step("without");
    EXPECT_NE(OwnId(), 0u);
    step("with its own");
  });
  ASSERT_TRUE(child.RunTo("without"));
  EXPECT_THAT(OpenDomainOf(child.pid()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("has no domain")));
  ASSERT_TRUE(child.RunTo("with its own"));
  const uint64_t id = IdOf(child.pid());
  EXPECT_NE(id, 0u);
  EXPECT_NE(id, OwnId());
}

TEST(DomainOfTest, AllProcessesOfAFamilyHaveTheSame) {
  EXPECT_EQ(IdOf(getpid()), OwnId());
  Child child([](Steps& step) { step("there"); });
  ASSERT_TRUE(child.RunTo("there"));
  child.Stop();
  EXPECT_EQ(IdOf(child.pid()), OwnId());
  child.Continue();
}

TEST(DomainOfTest, AFileThatIsOnlyOpenIsNotTakenForIt) {
  const uint64_t mine = OwnId();
  // With a lower number than the domain's.
  Child child([](Steps& step) {
    const int other = memfd_create("mp-domain", 0);
    const int low = 3;
    dup2(other, low);
    step("has it");
  });
  ASSERT_TRUE(child.RunTo("has it"));
  EXPECT_EQ(IdOf(child.pid()), mine);
}

// What root may do beyond others, for good.
void DropCapabilities() {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const __user_cap_data_struct none[2] = {};
  EXPECT_EQ(syscall(SYS_capset, &header, none), 0);
}

TEST(DomainOfTest, AProcessMayHaveClosedItsDescriptor) {
  const uint64_t mine = OwnId();
  Child child([](Steps& step) {
    DropCapabilities();
    CloseDescriptorsOfDomain();
    step("closed");
  });
  ASSERT_TRUE(child.RunTo("closed"));
  const absl::StatusOr<int> fd = OpenDomainOf(child.pid());
  if (fd.ok()) {
    close(*fd);
    EXPECT_EQ(IdOf(child.pid()), mine) << "by the right of root";
  }
  Child other([&] {
    DropCapabilities();
    EXPECT_THAT(OpenDomainOf(child.pid()), StatusIs(absl::StatusCode::kPermissionDenied,
                                                    HasSubstr("has closed the descriptor")));
  });
  EXPECT_EQ(other.Finish(), 0);
}

TEST(DomainOfTest, AProcessThatIsNotThereIsToldFrom) {
  const pid_t gone = ForkMortal([] {});
  KillAndReap(gone);
  EXPECT_THAT(OpenDomainOf(gone),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no such process")));
}

TEST(DomainOfTest, AProcessThatNobodyHasReapedHasNone) {
  (void)Domain::Get();
  const pid_t pid = ForkMortal([] {});
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  EXPECT_THAT(OpenDomainOf(pid), StatusIs(absl::StatusCode::kNotFound));
  KillAndReap(pid);
}

TEST(DomainOfTest, AProcessThatMayNotBeLookedAtIsToldFrom) {
  (void)Domain::Get();
  Child child([](Steps& step) {
    EXPECT_EQ(prctl(PR_SET_DUMPABLE, 0), 0);  // to others, as if it were another user's
    step("protected");
  });
  ASSERT_TRUE(child.RunTo("protected"));
  Child other([&] {
    DropCapabilities();
    EXPECT_THAT(OpenDomainOf(child.pid()),
                StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("not permitted")));
  });
  EXPECT_EQ(other.Finish(), 0);
}

}  // namespace
}  // namespace mp::internal
