// Codec beside cereal's own binary archive, through a stringstream, as a user would have it. Each
// encodes a value, copies the bytes to where the message is to be, and decodes it.

#include <algorithm>
#include <cereal/archives/binary.hpp>
#include <cereal/types/map.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/vector.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "benchmark/benchmark.h"
#include "mp/codec.h"

namespace mp {
namespace {

using Words = std::map<std::string, std::vector<int>>;

struct Record {
  uint64_t numbers[6];
  double weight;
  int kind;
  bool on;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(numbers, weight, kind, on);
  }
};
static_assert(kFixedSize<Record> == 64);

Words SomeWords() {
  Words words;
  for (int i = 0; i < 1000; ++i) {
    words["a word, number " + std::to_string(i)] = std::vector<int>(static_cast<size_t>(i % 20), i);
  }
  return words;
}

// Where a queue would have its messages.
class Memory {
 public:
  char* OfSize(size_t size) {
    if (size > size_) {
      memory_ = std::make_unique<char[]>(size);
      size_ = size;
    }
    return memory_.get();
  }

 private:
  std::unique_ptr<char[]> memory_;
  size_t size_ = 0;
};

// As a queue does it.
class Mp {
 public:
  template <class T>
  std::string_view Encode(const T& value) {
    Encoder encoder;
    if (!mp::Encode(value, encoder).ok()) std::abort();
    char* const place = memory_.OfSize(encoder.size());
    encoder.CopyTo(place);
    return {place, encoder.size()};
  }
  template <class T>
  T Decode(std::string_view bytes) {
    Decoder decoder(bytes);
    absl::StatusOr<T> value = mp::Decode<T>(decoder);
    if (!value.ok()) std::abort();
    return *std::move(value);
  }

 private:
  Memory memory_;
};

// What a ring does with what has a fixed size.
class Fixed {
 public:
  template <class T>
  std::string_view Encode(const T& value) {
    char* const place = memory_.OfSize(kFixedSize<T>);
    std::memcpy(place, &value, kFixedSize<T>);
    return {place, kFixedSize<T>};
  }
  template <class T>
  T Decode(std::string_view bytes) {
    T value;
    std::memcpy(&value, bytes.data(), kFixedSize<T>);
    if (!BytesAreValue(value)) std::abort();
    return value;
  }

 private:
  Memory memory_;
};

class Cereal {
 public:
  template <class T>
  std::string_view Encode(const T& value) {
    std::ostringstream out;
    cereal::BinaryOutputArchive archive(out);
    archive(value);
    const std::string bytes = std::move(out).str();
    char* const place = memory_.OfSize(bytes.size());
    std::copy(bytes.begin(), bytes.end(), place);
    return {place, bytes.size()};
  }
  template <class T>
  T Decode(std::string_view bytes) {
    std::istringstream in{std::string(bytes)};
    cereal::BinaryInputArchive archive(in);
    T value;
    archive(value);
    return value;
  }

 private:
  Memory memory_;
};

template <class How, class T>
void RoundTrip(benchmark::State& state, const T& value) {
  How how;
  size_t size = 0;
  for (auto _ : state) {
    const std::string_view bytes = how.Encode(value);
    benchmark::ClobberMemory();
    size = bytes.size();
    const T again = how.template Decode<T>(bytes);
    benchmark::DoNotOptimize(&again);
    benchmark::ClobberMemory();
  }
  state.counters["bytes"] = static_cast<double>(size);
}
template <class How, class T>
void EncodeOnly(benchmark::State& state, const T& value) {
  How how;
  for (auto _ : state) {
    benchmark::DoNotOptimize(how.Encode(value).data());
    benchmark::ClobberMemory();
  }
}

template <class How>
void BM_CodecMap(benchmark::State& state) {
  RoundTrip<How>(state, SomeWords());
}
template <class How>
void BM_CodecMapEncode(benchmark::State& state) {
  EncodeOnly<How>(state, SomeWords());
}
template <class How>
void BM_CodecStruct(benchmark::State& state) {
  RoundTrip<How>(state, Record{{1, 2, 3, 4, 5, 6}, 0.5, 7, true});
}
template <class How>
void BM_CodecMebibyteOfDoubles(benchmark::State& state) {
  RoundTrip<How>(state, std::vector<double>((size_t{1} << 20) / sizeof(double), 0.5));
}
template <class How>
void BM_CodecMebibyteOfDoublesEncode(benchmark::State& state) {
  EncodeOnly<How>(state, std::vector<double>((size_t{1} << 20) / sizeof(double), 0.5));
}
// The least that any way can take: one copy there, one into a new vector.
void BM_CodecMebibyteOfDoublesCopied(benchmark::State& state) {
  const std::vector<double> value((size_t{1} << 20) / sizeof(double), 0.5);
  std::vector<double> place(value.size());
  for (auto _ : state) {
    std::memcpy(place.data(), value.data(), value.size() * sizeof(double));
    benchmark::ClobberMemory();
    const std::vector<double> again(place.begin(), place.end());
    benchmark::DoNotOptimize(again.data());
    benchmark::ClobberMemory();
  }
}

BENCHMARK_TEMPLATE(BM_CodecMap, Mp);
BENCHMARK_TEMPLATE(BM_CodecMap, Cereal);
BENCHMARK_TEMPLATE(BM_CodecMapEncode, Mp);
BENCHMARK_TEMPLATE(BM_CodecMapEncode, Cereal);
BENCHMARK_TEMPLATE(BM_CodecStruct, Fixed);
BENCHMARK_TEMPLATE(BM_CodecStruct, Mp);
BENCHMARK_TEMPLATE(BM_CodecStruct, Cereal);
BENCHMARK_TEMPLATE(BM_CodecMebibyteOfDoubles, Mp);
BENCHMARK_TEMPLATE(BM_CodecMebibyteOfDoubles, Cereal);
BENCHMARK(BM_CodecMebibyteOfDoublesCopied);
BENCHMARK_TEMPLATE(BM_CodecMebibyteOfDoublesEncode, Mp);
BENCHMARK_TEMPLATE(BM_CodecMebibyteOfDoublesEncode, Cereal);

}  // namespace
}  // namespace mp
