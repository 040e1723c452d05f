// Messages with their length before them.

#include "mp/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstddef>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "mp/os_pipe.h"
#include "tests/support/status_matchers.h"

namespace mp {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

// What is read of these bytes, and then the end.
absl::StatusOr<std::string> FrameIn(std::string_view bytes, const FrameOptions& options = {}) {
  auto [reading, writing] = *OsPipe();
  EXPECT_THAT(writing.WriteAll(bytes), IsOk());
  writing.Close();
  return ReadFrame(reading, options);
}

TEST(FrameTest, MessagesArriveOneByOne) {
  for (const std::endian order : {std::endian::little, std::endian::big}) {
    auto [reading, writing] = *OsPipe();
    const FrameOptions options = {.order = order};
    ASSERT_THAT(WriteFrame(writing, "one", options), IsOk());
    ASSERT_THAT(WriteFrame(writing, "", options), IsOk());
    ASSERT_THAT(WriteFrame(writing, std::string_view("\0\n", 2), options), IsOk());
    EXPECT_EQ(*ReadFrame(reading, options), "one");
    EXPECT_EQ(*ReadFrame(reading, options), "");
    EXPECT_EQ(*ReadFrame(reading, options), std::string_view("\0\n", 2));
    writing.Close();
    EXPECT_THAT(ReadFrame(reading, options), StatusIs(StatusCode::kOutOfRange));
  }
}

TEST(FrameTest, TheLengthIsFourBytesInTheOrderAskedFor) {
  const std::string message(0x0102, 'm');
  auto [reading, writing] = *OsPipe();
  ASSERT_THAT(WriteFrame(writing, message), IsOk());
  EXPECT_EQ(*reading.Read(), std::string("\x02\x01\0\0", 4) + message);
  ASSERT_THAT(WriteFrame(writing, message, {.order = std::endian::big}), IsOk());
  EXPECT_EQ(*reading.Read(), std::string("\0\0\x01\x02", 4) + message);
  EXPECT_EQ(*FrameIn(std::string("\0\0\x01\x02", 4) + message, {.order = std::endian::big}),
            message);
}

TEST(FrameTest, ALargeMessageArrivesWhole) {
  auto [reading, writing] = *OsPipe();
  std::string message;
  for (int i = 0; message.size() < (size_t{3} << 20); ++i) message += std::to_string(i) + " ";
  std::thread writer([&message, writing = std::move(writing)] {
    EXPECT_THAT(WriteFrame(writing, message), IsOk());
  });
  EXPECT_EQ(*ReadFrame(reading), message);
  writer.join();
}

TEST(FrameTest, ATornFrameIsNoEnd) {
  EXPECT_THAT(FrameIn(""), StatusIs(StatusCode::kOutOfRange));
  EXPECT_THAT(FrameIn(std::string("\5\0\0", 3)),
              StatusIs(StatusCode::kDataLoss, HasSubstr("3 of 4")));
  EXPECT_THAT(FrameIn(std::string("\5\0\0\0", 4)),
              StatusIs(StatusCode::kDataLoss, HasSubstr("0 of 5")));
  EXPECT_THAT(FrameIn(std::string("\5\0\0\0hell", 8)),
              StatusIs(StatusCode::kDataLoss, HasSubstr("4 of 5")));
  // It may say that it is as long as it wants to.
  const FrameOptions no_limit = {.max_size = ~size_t{0}};
  EXPECT_THAT(FrameIn("\xff\xff\xff\xffhell", no_limit), StatusIs(StatusCode::kDataLoss));
}

TEST(FrameTest, NoFrameIsLongerThanTheLimit) {
  const FrameOptions options = {.max_size = 4};
  EXPECT_EQ(*FrameIn(std::string("\4\0\0\0hell", 8), options), "hell");
  EXPECT_THAT(FrameIn(std::string("\5\0\0\0hello", 9), options),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("5 bytes; the limit is 4")));
  auto [reading, writing] = *OsPipe();
  EXPECT_THAT(WriteFrame(writing, "hello", options), StatusIs(StatusCode::kInvalidArgument));
  ASSERT_THAT(WriteFrame(writing, "hell", options), IsOk());
  EXPECT_EQ(*ReadFrame(reading), "hell");
}

TEST(FrameTest, NobodyReads) {
  auto [reading, writing] = *OsPipe();
  reading.Close();
  EXPECT_THAT(WriteFrame(writing, "x"), StatusIs(StatusCode::kUnavailable));
  EXPECT_THAT(ReadFrame(Fd()), StatusIs(StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace mp
